"""How should two prompts be mixed between keyframes? `python benchmarks/prompts.py`

Paths between pairs of held-out puppets, each puppet under its own caption. `embeddings` is a path
under interpolated embeddings of both captions; where the captions differ in length, the shorter one
is filled up with tokens that the model does not see. `predictions` is a path whose steps are
predicted under both captions, and the predictions are mixed. `one prompt` has "a puppet" for both
puppets. With `--model demo-flow` pairs of captions of the same length and pairs of captions of two
lengths are measured separately; the embedded UNet fills all captions up to one length.

The figures are those of `schemes.py`, without poses. `off the first` is the root mean squared
difference from the frames of the row `embeddings`. The table has means over pairs, with half the
width of their 95 % interval.
"""

from __future__ import annotations

from argparse import Namespace

import torch
from support.measures import Measures
from support.puppets import held_out
from support.report import parser, publish
from torch import Tensor
from ways import Bench, Way
from ways.registry import EMBEDDED_DEFAULTS, Made

from diffusion_interpolation.command.job import EMBEDDED, EMBEDDED_MODELS
from diffusion_interpolation.demo import world
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.models.prompts import KeyframePrompts, Prompts
from diffusion_interpolation.settings import SamplingSettings

FIGURES = ("realism", "joints", "colours", "limbs", "PPL", "step next to inputs")
MIXES = ("embeddings", "predictions", "one prompt")


class PromptBench(Bench):
    """Paths between puppets under their captions, mixed in one of `MIXES`."""

    mix, steps = MIXES[0], SamplingSettings.steps

    def _guide(self, way: Way, pairs: Tensor, pictures: Tensor) -> Guide:
        negative = self.model(way.steps).encode_text([EMBEDDED_DEFAULTS["negative_prompt"]])
        return Guide(self._positive(way, pairs), negative, way.cfg)

    def _positive(self, way: Way, pairs: Tensor) -> Prompts:
        encode, captions = self.model(way.steps).encode_text, world.captions(pairs)
        if self.mix == "one prompt":
            return encode(EMBEDDED_DEFAULTS["prompt"])
        if self.mix == "embeddings":
            return encode(captions)
        return KeyframePrompts(tuple(encode([caption]) for caption in captions))


def groups(args: Namespace) -> dict[str, list[Tensor]]:
    """Return pairs of puppets, by whether their captions have the same number of words."""
    pairs = held_out(100 * args.pairs, args.seed).split(2)
    if args.model == EMBEDDED:
        return {"one length": list(pairs[: args.pairs])}
    found: dict[str, list[Tensor]] = {"same length": [], "two lengths": []}
    for pair in pairs:
        lengths = {len(caption.split()) for caption in world.captions(pair)}
        found["same length" if len(lengths) == 1 else "two lengths"].append(pair)
    return {name: chosen[: args.pairs] for name, chosen in found.items()}


def measured(bench: PromptBench, measures: Measures, pairs: list[Tensor]) -> list[dict[str, str]]:
    """Return a row of figures for each of `MIXES`."""
    rows, first = [], []
    way = Way(steps=bench.steps, posed=False)
    for bench.mix in MIXES:
        made = [bench.made(way, pair) for pair in pairs]
        first = first or made
        found = [figures(measures, *case) for case in zip(made, first, pairs, strict=True)]
        rows.append({"prompts": bench.mix} | {key: told(found, key) for key in found[0]})
    return rows


def figures(measures: Measures, made: Made, first: Made, pair: Tensor) -> dict[str, float]:
    """Return the figures of one path, of which `first` is another."""
    frames = made.frames[0]
    known = measures.figures(frames, measures.features(frames), pair)
    off = (frames - first.frames[0]).square().mean().sqrt().item()
    return {key: known[key] for key in FIGURES} | {"seconds": made.seconds, "off the first": off}


def told(found: list[dict[str, float]], key: str) -> str:
    """Return the mean of a figure and half the width of its 95 % interval."""
    values = torch.tensor([figure[key] for figure in found], dtype=torch.float64)
    half = 1.96 * values.std().item() / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():.4g} ± {half:.2g}"


@torch.no_grad()
def main() -> None:
    words = parser(__doc__, EMBEDDED_MODELS)
    words.add_argument("--pairs", type=int, default=8, help="of each group")
    words.add_argument("--frames", type=int, default=9, help="of a path, the inputs among them")
    words.add_argument("--steps", type=int, default=SamplingSettings.steps)
    args = words.parse_args()
    bench = PromptBench(args.frames, args.seed, args.device, args.model)
    bench.steps, measures = args.steps, Measures(args.device)
    rows = [
        {"captions": name, **row}
        for name, pairs in groups(args).items()
        for row in measured(bench, measures, pairs)
    ]
    publish(rows, args.json)


if __name__ == "__main__":
    main()
