"""Trains the demo from nothing: `python -m diffusion_interpolation.demo.train --work DIR`.

Stages run in order, each goes on from its last checkpoint in DIR, and `export` writes the fp16
weights that the package carries. Every step draws its data from (seed, stage, step) alone, so a
resumed run equals an unbroken one. A stage ends after a number of steps, or with
`--seconds vae=165 unet=180` after a time: steps suit a CPU, where two cores need some ten hours,
and times suit a GPU. The weights in the package were trained on an H100 by
`--seconds clip=70 reader=85 vae=165 unet=180 controlnet=55 flow=165 student=55`, thirteen minutes
in all; `weights/training.json` has the seed and each stage's figures at its end.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from .training.batches import make_bank
from .training.export import export
from .training.flow_stages import train_flow, train_student
from .training.stages import (
    train_clip,
    train_controlnet,
    train_reader,
    train_tokenizer,
    train_unet,
    train_vae,
)
from .training.workshop import ORDER, Workshop

RUN = {
    "tokenizer": train_tokenizer,
    "clip": train_clip,
    "reader": train_reader,
    "vae": train_vae,
    "bank": make_bank,
    "unet": train_unet,
    "controlnet": train_controlnet,
    "flow": train_flow,
    "student": train_student,
    "export": export,
}


def _limit(text: str) -> tuple[str, float]:
    stage, _, seconds = text.partition("=")
    if stage not in ORDER:
        raise argparse.ArgumentTypeError(f"got {text}, needs STAGE=SECONDS with one of {ORDER}")
    return stage, float(seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument(
        "--stages", nargs="+", choices=ORDER, default=ORDER, help="which stages, in order"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of all step counts; 0.01 is a smoke test"
    )
    parser.add_argument("--batch", type=int, help="pictures in a batch of every stage")
    parser.add_argument(
        "--seconds", type=_limit, nargs="+", default=[], help="limits such as vae=180"
    )
    parser.add_argument("--begin", type=Path, help="exported weights to begin with")
    return parser


def main(argv: list[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    shop = Workshop(
        options.work,
        options.seed,
        options.device,
        options.scale,
        dict(options.seconds),
        options.begin,
        options.batch,
    )
    for stage in options.stages:
        torch.manual_seed(options.seed)
        RUN[stage](shop)


if __name__ == "__main__":
    main()
