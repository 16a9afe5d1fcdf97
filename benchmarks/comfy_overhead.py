"""Time in FrameBisector against time in networks: `python benchmarks/comfy_overhead.py`

Runs inside a real ComfyUI, found as tests find it, with the host's own interpreter: the embedded
demo, all options on. `networks` are the forward passes of denoiser, ControlNet, autoencoder and
reranker; `ratio` is the wall time against their sum.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from support.in_host import add_options, load_pack, run_inside
from support.report import parser, publish
from support.watch import watched

NETWORKS = {"demo": "unet", "demo-flow": "flow"}
"""PuppetDemo's names of the models that the command has."""


def main() -> None:
    words = parser(__doc__, list(NETWORKS))
    add_options(words)
    words.add_argument("--frames-per-gap", type=int, default=15)
    words.add_argument("--steps", type=int, default=50)
    words.add_argument("--repeat", type=int, default=3)
    options = words.parse_args()
    if options.inside:
        publish(rows(options), options.json)
    else:
        run_inside(__file__, options.host)


def rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a run; the first one is left out, it loads and warms up."""
    nodes = load_pack(options.host, options.device)
    with torch.inference_mode():
        inputs = demo_inputs(nodes, options)
        bisect = nodes["FrameBisector"].execute
        bisect(**inputs)
        return [measured(bisect, inputs, number) for number in range(options.repeat)]


def measured(bisect: Any, inputs: dict[str, Any], number: int) -> dict[str, Any]:
    # another seed each time: the node keeps what it has made
    seed = inputs["seed"] + 1 + number
    with watched() as watch:
        begun = time.perf_counter()
        bisect(**{**inputs, "seed": seed})
        wall = time.perf_counter() - begun
    return {
        "run": number,
        "wall s": wall,
        "networks s": watch.seconds,
        "passes": watch.passes,
        "ratio": wall / watch.seconds,
    }


def demo_inputs(nodes: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    network = NETWORKS[options.model]
    demo = nodes["PuppetDemo"].execute("a puppet", "a double exposure", network)
    model, clip, vae, control_net, reranker, keyframes, poses = demo.args
    positive, negative = (
        clip.encode_from_tokens_scheduled(clip.tokenize(text))
        for text in ("a puppet", "a double exposure")
    )
    return {
        "model": model,
        "vae": vae,
        "keyframes": keyframes,
        "positive": positive,
        "negative": negative,
        "frames_per_gap": options.frames_per_gap,
        "max_denoise": 0.55,
        "min_denoise": 0.30,
        "denoise_curve": "linear",
        "candidates": 8,
        "scheduler": "ddim_uniform",
        "steps": options.steps,
        "sampler_name": "euler",
        "cfg": 4.0,
        "blend": "slerp",
        "seed": options.seed,
        "reranker": reranker,
        "control_net": control_net,
        "poses": poses,
    }


if __name__ == "__main__":
    main()
