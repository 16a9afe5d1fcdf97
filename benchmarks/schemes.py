"""The paper's schemes on puppets, where the truth is known: `python benchmarks/schemes.py`

Pairs of held-out puppets, all schemes under the same prompts, poses, steps and levels; `bisection`
is the paper's own with reranking, `cross-fade` mixes the pictures. The distance `d` of PPL, rPPD
and PDV is the chord between embeddings of the demo's CLIP, and FID is over those embeddings, all
inputs against all frames in between.

`realism` is the root mean squared error between a frame and the puppet that the demo's reader reads
in it, drawn again; `joints` (picture heights) and `colours` are how far the puppet is from the
straight way between the two. `evals` counts runs of the network on one latent, both halves of
guidance as one. Means over pairs, with the half width of their 95 % interval; for FID it is from
resampled pairs.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path as File
from typing import Any, NamedTuple

import torch
from demo_model import SIZE, held_out
from report import parser, publish
from torch import Tensor

from diffusion_interpolation.bisection import Bisection, Settings
from diffusion_interpolation.cli import EMBEDDED_DEFAULTS
from diffusion_interpolation.demo import load_model, load_reader, reranker, world
from diffusion_interpolation.guide import Guide
from diffusion_interpolation.inversion import InversionSettings, invert
from diffusion_interpolation.metrics import feature_distance, frechet_distance, measure_path
from diffusion_interpolation.path import Path
from diffusion_interpolation.pictures import to_image
from diffusion_interpolation.schemes import SCHEMES, SchemeRun, cross_fade

RESAMPLES = 200
NAMES = ("cross-fade", *SCHEMES, "bisection")


class Made(NamedTuple):
    """A path: its frames `(n, 3, h, w)` with both inputs, and what it took."""

    frames: Tensor
    evaluations: int
    seconds: float


class Counted:
    """A model that counts the latents its network is run on."""

    def __init__(self, model: Any) -> None:
        self._model, self.evaluations = model, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def denoise(
        self, noisy: Tensor, level: float, guidance: Any, until: float | None = None
    ) -> Tensor:
        self.evaluations += len(noisy) * len(self._model.timesteps(level, until))
        return self._model.denoise(noisy, level, guidance, until)


class Bench:
    """The networks, and paths between pairs of puppets by each scheme."""

    def __init__(self, args: Namespace) -> None:
        self.args = args
        self.model = Counted(load_model(steps=args.steps, device=args.device))
        self.reader, self.clip = load_reader(args.device), reranker(args.device)
        self.path = Path((args.frames - 2,))
        self.settings = Settings(candidates=args.candidates, seed=args.seed)

    def guide(self, pair: Tensor, posed: bool) -> Guide:
        """What paths of a pair are made under; `posed` with the poses of both."""
        prompt, negative = EMBEDDED_DEFAULTS["prompt"], EMBEDDED_DEFAULTS["negative"]
        positive, away = self.model.encode_text(prompt), self.model.encode_text([negative])
        cfg = EMBEDDED_DEFAULTS["cfg"]
        if self.args.inversion_steps:
            chosen = {k: EMBEDDED_DEFAULTS[k] for k in ("learning_rate", "draws", "augmentations")}
            settings = InversionSettings(
                steps=self.args.inversion_steps, cfg=cfg, seed=self.args.seed, **chosen
            )
            pictures = world.render(pair, SIZE)
            learned = invert(self.model, pictures, positive, away, settings)
            positive, away = learned.positive, learned.negative
        poses = world.poses(pair, SIZE) if posed else None
        return Guide(positive, away, cfg, poses, (SIZE, SIZE))

    def made(self, name: str, pair: Tensor, guide: Guide) -> Made:
        """The path of a pair by a scheme."""
        pictures = world.render(pair, SIZE)
        begun, before = time.perf_counter(), self.model.evaluations
        between = self._between(name, pictures, guide)
        frames = torch.cat([pictures[:1], between.cpu(), pictures[1:]])
        return Made(frames, self.model.evaluations - before, time.perf_counter() - begun)

    def _between(self, name: str, pictures: Tensor, guide: Guide) -> Tensor:
        if name == "cross-fade":
            return cross_fade(pictures, self.path)[1:-1]
        keyframes = self.model.encode(pictures)
        if name != "bisection":
            run = SchemeRun(self.model, self.path, guide, self.settings)
            return self.model.decode(run.latents(name, keyframes)[1:-1])
        words = EMBEDDED_DEFAULTS["prompt"], EMBEDDED_DEFAULTS["negative"]
        scorer = self.clip.scorer(*words) if self.args.reranking else None
        bisection = Bisection(self.model, self.path, guide, self.settings, scorer)
        frames = sorted(bisection.frames(keyframes), key=lambda frame: frame.index)
        return torch.stack([frame.picture for frame in frames])

    @torch.no_grad()
    def measured(self, made: Made, pair: Tensor) -> dict[str, float]:
        """The figures of one path."""
        path = measure_path(made.frames, feature_distance(self.clip.embed_pictures))
        between = made.frames[1:-1]
        numbers = self.read(between)
        share = torch.linspace(0, 1, len(made.frames))[1:-1, None]
        truth = pair[:1].lerp(pair[1:], share)
        off = (between - world.render(numbers, SIZE)).square().mean((1, 2, 3)).sqrt()
        joints = (world.joints(numbers) - world.joints(truth)).norm(dim=-1)
        colours = torch.cat([numbers[:, c] - truth[:, c] for c in (world.BODY, world.BACK)])
        return {
            "realism": off.mean().item(),
            "joints": joints.mean().item(),
            "colours": colours.square().mean().sqrt().item(),
            "PPL": path.ppl,
            "rPPD": path.rppd,
            "PDV x 1000": 1000 * path.pdv,
            "beside inputs": path.beside_inputs,
            "evals": float(made.evaluations),
            "seconds": made.seconds,
        }

    @torch.no_grad()
    def read(self, pictures: Tensor) -> Tensor:
        """The numbers of the puppets in pictures, as the demo's reader has them."""
        return self.reader(pictures.to(self.args.device)).cpu()

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        return self.clip.embed_pictures(pictures).cpu()


def summary(values: list[float]) -> str:
    """Mean and half width of its 95 % interval."""
    found = torch.tensor(values, dtype=torch.float64)
    half = 1.96 * found.std().item() / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{found.mean():.4g} ± {half:.2g}"


def fid(inputs: list[Tensor], made: list[Tensor], seed: int) -> str:
    """FID of all pairs' features, and half of what 95 % of resampled sets of pairs span."""

    def of(pairs: list[int]) -> float:
        return frechet_distance(*(torch.cat([x[i] for i in pairs]) for x in (inputs, made)))

    generator = torch.Generator().manual_seed(seed)
    count = len(inputs)
    drawn = torch.randint(count, (RESAMPLES, count), generator=generator).tolist()
    spread = torch.tensor([of(pairs) for pairs in drawn], dtype=torch.float64)
    low, high = spread.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return f"{of(list(range(count))):.4g} ± {(high - low) / 2:.2g}"


def save_sheet(rows: list[Tensor], file: File) -> None:
    """A picture of several paths, one below the other, twice as large."""
    sheet = torch.cat([torch.cat(list(frames), dim=2) for frames in rows], dim=1)
    image = to_image(sheet)
    image.resize((2 * image.width, 2 * image.height), 0).save(file)


def path_parser(doc: str) -> ArgumentParser:
    """Options of what makes paths between pairs of puppets."""
    words = parser(doc)
    words.add_argument("--pairs", type=int, default=50)
    words.add_argument("--frames", type=int, default=17, help="of a path, the inputs among them")
    words.add_argument("--steps", type=int, default=50)
    words.add_argument("--candidates", type=int, default=8)
    words.add_argument("--inversion-steps", type=int, default=0)
    words.add_argument("--no-reranking", dest="reranking", action="store_false")
    return words


def main() -> None:
    words = path_parser(__doc__)
    words.add_argument("--no-poses", dest="poses", action="store_false")
    words.add_argument("--schemes", nargs="+", choices=NAMES, default=list(NAMES))
    words.add_argument(
        "--sheet", type=File, help="write the first pair's frames here, as a picture"
    )
    args = words.parse_args()
    bench = Bench(args)
    pairs = held_out(2 * args.pairs, args.seed).split(2)
    guides = [bench.guide(pair, args.poses) for pair in pairs]
    inputs = [bench.features(world.render(pair, SIZE)) for pair in pairs]
    rows, shown = [], []
    for name in args.schemes:
        made = [bench.made(name, pair, g) for pair, g in zip(pairs, guides, strict=True)]
        rows.append(_row(bench, name, made, pairs, inputs))
        shown.append(made[0].frames)
    if args.sheet:
        save_sheet(shown, args.sheet)
    publish(rows, args.json)


def _row(
    bench: Bench, name: str, made: list[Made], pairs: tuple[Tensor, ...], inputs: list[Tensor]
) -> dict[str, object]:
    found = [bench.measured(one, pair) for one, pair in zip(made, pairs, strict=True)]
    between = [bench.features(one.frames[1:-1]) for one in made]
    figures = {key: summary([figure[key] for figure in found]) for key in found[0]}
    return {"scheme": name, "FID": fid(inputs, between, bench.args.seed), **figures}


if __name__ == "__main__":
    main()
