"""The paper's schemes on puppets, where the truth is known: `python benchmarks/schemes.py`

Pairs of held-out puppets. `default` is what the package does, `paper` the paper's own; the other
schemes of the paper run under the same prompt, poses, guidance, steps and levels as that, and
`cross-fade` mixes the pictures. `truth` is the puppets on the straight way themselves, drawn: a
measure by which they are not good is no measure of the others. Rows `..., N steps` evaluate the
network about as often as the default, rows `default, ...` change one thing of it. The distance `d`
of PPL, rPPD and PDV is the chord between embeddings of the demo's CLIP, or LPIPS with `--lpips`.
FID is over those embeddings: all frames in between against all inputs, as the paper has it, and
`to truth` against the frames that should be there. What should be there is not like the inputs: a
puppet half-way has half-way colours.

`realism` is the root mean squared error between a frame and the puppet that the demo's reader reads
in it, drawn again; `joints` (picture heights) and `colours` are how far the puppet is from the
straight way between the two. `evals` counts runs of the network on one latent, both halves of
guidance as one; learning is neither in them nor in the seconds. Means over pairs, with the half
width of their 95 % interval; for FID it is from resampled pairs, the same ones for all ways, so
that `less first` has the interval of the difference from the first row. With `--model demo-flow`
no frames have poses, because the flow transformer has no ControlNet.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path as File
from typing import Any, NamedTuple

import torch
from demo_model import SIZE, held_out
from distances import frechet_distance, lpips_distance
from other_schemes import SCHEMES, SchemeRun, cross_fade
from report import parser, publish
from torch import Tensor

from diffusion_interpolation.command.job import EMBEDDED, EMBEDDED_MODELS, Job, defaults_of
from diffusion_interpolation.demo import load_named, load_reader, reranker, world
from diffusion_interpolation.method.bisection import Bisection
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.method.inversion import invert
from diffusion_interpolation.method.path import Path
from diffusion_interpolation.models.contract import (
    Guidance,
    LatentDiffusionModel,
    Sampled,
    Schedule,
)
from diffusion_interpolation.pictures import to_image
from diffusion_interpolation.poses.motion import Motion
from diffusion_interpolation.scoring.metrics import Distance, feature_distance, measure_path
from diffusion_interpolation.settings import PAPER, FrameSettings, SamplingSettings

RESAMPLES = 200
EMBEDDED_DEFAULTS = defaults_of(EMBEDDED)
_COLOURS = (world.BODY, world.LEGS, world.BACK)
PAPER_CFG = 4.0
"""Guidance of all schemes of the paper. Its 7.5 to 10 are strong for Stable Diffusion; for the
embedded model 4 is."""
EQUAL_STEPS = {"paper": 7, "interpolate-denoise": 33, "DID": 41, "DID, separate noise": 41}
"""Steps with which they evaluate the network about as often as the default does."""
OTHER_WEIGHTS = (1, 2, 8)
"""Weights of similarity to the neighbours that are compared with the default's 4."""


class Way(NamedTuple):
    """How a path is made: by which of `MAKERS`, and under what."""

    scheme: str = "bisection"
    settings: FrameSettings = FrameSettings()
    steps: int = SamplingSettings.steps
    cfg: float = EMBEDDED_DEFAULTS["cfg"]
    motion: Motion = "swing"
    inversion_steps: int = 0
    posed: bool = True
    ranked: bool = True


def ways(args: Namespace) -> dict[str, Way]:
    """All that are compared, by their names in the table: this package's, the paper's, parts."""
    levels = {name: defaults_of(args.model)[name] for name in ("max_denoise", "min_denoise")}
    posed = args.poses and args.model == EMBEDDED
    ours = Way(
        settings=FrameSettings(**levels),
        inversion_steps=args.inversion_steps,
        posed=posed,
        ranked=args.reranking,
    )
    paper = ours._replace(
        settings=replace(PAPER, **levels), steps=args.steps, cfg=PAPER_CFG, motion="straight"
    )
    schemes = {name: paper._replace(scheme=name) for name in (*SCHEMES, "cross-fade", "truth")}
    changed = {
        "straight limbs": ours._replace(motion="straight"),
        "slerp": ours._replace(settings=FrameSettings(**levels, blend="slerp")),
        "ranked when finished": ours._replace(settings=FrameSettings(**levels, rank_fraction=1.0)),
        "prompt alone ranks": ours._replace(
            settings=FrameSettings(**levels, smoothness_weight=0.0)
        ),
        **{
            f"smoothness weight {w}": ours._replace(
                settings=FrameSettings(**levels, smoothness_weight=w)
            )
            for w in OTHER_WEIGHTS
        },
        "one candidate": ours._replace(ranked=False),
        "cfg 4": ours._replace(cfg=PAPER_CFG),
        "no poses": ours._replace(posed=False),
        "inversion": ours._replace(inversion_steps=100),
    }
    named = {"default": ours, "paper": paper, **schemes}
    return {
        **named,
        **{f"{name}, {n} steps": named[name]._replace(steps=n) for name, n in EQUAL_STEPS.items()},
        **{f"default, {name}": way for name, way in changed.items()},
    }


class Made(NamedTuple):
    """A path: its frames `(n, 3, h, w)` with both inputs, and what it took."""

    frames: Tensor
    evaluations: int
    seconds: float


class Counted:
    """A model that counts the latents its network is run on."""

    def __init__(self, model: LatentDiffusionModel) -> None:
        self._model, self.evaluations = model, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        self.evaluations += len(noisy) * len(schedule)
        return self._model.sample(noisy, schedule, guidance)


class Task(NamedTuple):
    """A path to be made between a `pair` of puppets, whose `pictures` are `(2, 3, h, w)`."""

    way: Way
    guide: Guide
    pair: Tensor
    pictures: Tensor


class Bench:
    """The networks, and paths between pairs of puppets."""

    def __init__(
        self,
        frames: int,
        seed: int,
        device: str,
        distance: Distance | None = None,
        model: str = EMBEDDED,
    ) -> None:
        self.name = model
        self.path, self.seed, self.device = Path((frames - 2,)), seed, device
        self.reader, self.clip = load_reader(device), reranker(device)
        self.distance = distance or feature_distance(self.clip.embed_pictures)
        self._models: dict[int, Counted] = {}

    def model(self, steps: int) -> Counted:
        """The embedded model with so many steps."""
        if steps not in self._models:
            self._models[steps] = Counted(load_named(self.name, steps=steps, device=self.device))
        return self._models[steps]

    def made(self, way: Way, pair: Tensor) -> Made:
        """The path between two puppets; what it took is without learning."""
        model, pictures = self.model(way.steps), world.render(pair, SIZE)
        guide = self._guide(way, pair, pictures)
        begun, before = time.perf_counter(), model.evaluations
        between = MAKERS[way.scheme](self, Task(way, guide, pair, pictures))
        frames = torch.cat([pictures[:1], between.cpu(), pictures[1:]])
        return Made(frames, model.evaluations - before, time.perf_counter() - begun)

    def _guide(self, way: Way, pair: Tensor, pictures: Tensor) -> Guide:
        model, words = self.model(way.steps), EMBEDDED_DEFAULTS
        texts = model.encode_text(words["prompt"]), model.encode_text([words["negative_prompt"]])
        if way.inversion_steps:
            settings = replace(
                Job.of(words).learning, steps=way.inversion_steps, cfg=way.cfg, seed=self.seed
            )
            learned = invert(model, pictures, *texts, settings)
            texts = learned.positive, learned.negative
        poses = world.poses(pair, SIZE) if way.posed else None
        return Guide(*texts, way.cfg, poses, (SIZE, SIZE), motion=way.motion)

    @torch.no_grad()
    def measured(self, made: Made, pair: Tensor) -> dict[str, float]:
        """The figures of one path."""
        path = measure_path(made.frames, self.distance)
        between = made.frames[1:-1]
        numbers = self.read(between)
        truth = self._truth(pair)
        off = (between - world.render(numbers, SIZE)).square().mean((1, 2, 3)).sqrt()
        joints = (world.joints(numbers) - world.joints(truth)).norm(dim=-1)
        colours = torch.cat([numbers[:, c] - truth[:, c] for c in _COLOURS])
        return {
            "realism": off.mean().item(),
            "joints": joints.mean().item(),
            "colours": colours.square().mean().sqrt().item(),
            "PPL": path.ppl,
            "rPPD": path.rppd,
            "PDV x 1000": 1000 * path.pdv,
            "step next to inputs": path.step_next_to_inputs,
            "evals": float(made.evaluations),
            "seconds": made.seconds,
        }

    def drawn(self, pair: Tensor) -> Tensor:
        """The puppets on the straight way between two, as pictures."""
        return world.render(self._truth(pair), SIZE)

    def _truth(self, pair: Tensor) -> Tensor:
        """The numbers of the puppets on the straight way between two."""
        share = torch.linspace(0, 1, self.path.frames)[1:-1, None]
        return pair[:1].lerp(pair[1:], share)

    @torch.no_grad()
    def read(self, pictures: Tensor) -> Tensor:
        """The numbers of the puppets in pictures, as the demo's reader has them."""
        return self.reader(pictures.to(self.device)).cpu()

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        return self.clip.embed_pictures(pictures).cpu()


def by_bisection(bench: Bench, task: Task) -> Tensor:
    """The frames in between as this package makes them."""
    model, settings = bench.model(task.way.steps), replace(task.way.settings, seed=bench.seed)
    words = EMBEDDED_DEFAULTS["prompt"], EMBEDDED_DEFAULTS["negative_prompt"]
    scorer = bench.clip.scorer(*words) if task.way.ranked else None
    bisection = Bisection(model, bench.path, task.guide, settings, scorer)
    made = bisection.frames(model.encode(task.pictures))
    return torch.stack(
        [frame.picture for frame in sorted(made, key=lambda frame: frame.info.index)]
    )


def by_scheme(bench: Bench, task: Task) -> Tensor:
    """The frames in between as one of the paper's other schemes makes them."""
    model, settings = bench.model(task.way.steps), replace(task.way.settings, seed=bench.seed)
    run = SchemeRun(model, bench.path, task.guide, settings)
    return model.decode(run.latents(task.way.scheme, model.encode(task.pictures))[1:-1])


MAKERS: dict[str, Callable[[Bench, Task], Tensor]] = {
    "bisection": by_bisection,
    "cross-fade": lambda bench, task: cross_fade(task.pictures, bench.path)[1:-1],
    "truth": lambda bench, task: bench.drawn(task.pair),
    **dict.fromkeys(SCHEMES, by_scheme),
}
"""The frames `(n, 3, h, w)` between both inputs, by the name of what makes them."""


def summary(values: list[float]) -> str:
    """Mean and half width of its 95 % interval."""
    found = torch.tensor(values, dtype=torch.float64)
    half = 1.96 * found.std().item() / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{found.mean():.4g} ± {half:.2g}"


class Fid(NamedTuple):
    """FID of all pairs' features, and of resampled sets of pairs `(RESAMPLES,)`."""

    value: float
    spread: Tensor

    @classmethod
    def of(cls, real: list[Tensor], made: list[Tensor], seed: int) -> Fid:
        """The same sets for the same seed and number of pairs."""

        def distance(pairs: list[int]) -> float:
            return frechet_distance(*(torch.cat([x[i] for i in pairs]) for x in (real, made)))

        count = len(real)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(count, (RESAMPLES, count), generator=generator).tolist()
        spread = torch.tensor([distance(pairs) for pairs in drawn], dtype=torch.float64)
        return cls(distance(list(range(count))), spread)

    def __str__(self) -> str:
        """The value, and half of what 95 % of the sets span."""
        low, high = middle(self.spread)
        return f"{self.value:.4g} ± {(high - low) / 2:.2g}"

    def less(self, first: Fid) -> str:
        """The difference, and from where to where it is in 95 % of the sets."""
        low, high = middle(self.spread - first.spread)
        return f"{self.value - first.value:+.4f} ({low:+.4f} to {high:+.4f})"


def middle(spread: Tensor) -> tuple[float, float]:
    """Where the middle 95 % of numbers begin and end."""
    low, high = spread.quantile(torch.tensor([0.025, 0.975], dtype=spread.dtype)).tolist()
    return low, high


def save_sheet(rows: list[Tensor], file: File) -> None:
    """A picture of several paths, one below the other, twice as large."""
    sheet = torch.cat([torch.cat(list(frames), dim=2) for frames in rows], dim=1)
    image = to_image(sheet)
    image.resize((2 * image.width, 2 * image.height), 0).save(file)


def main() -> None:
    words = parser(__doc__, EMBEDDED_MODELS)
    words.add_argument("--pairs", type=int, default=50)
    words.add_argument("--frames", type=int, default=17, help="of a path, the inputs among them")
    words.add_argument(
        "--steps", type=int, default=SamplingSettings.steps, help="of the paper's schemes"
    )
    words.add_argument("--inversion-steps", type=int, default=0)
    words.add_argument("--no-poses", dest="poses", action="store_false")
    words.add_argument("--no-reranking", dest="reranking", action="store_false")
    words.add_argument(
        "--lpips", type=File, metavar="FILE", help="torchvision's file of AlexNet, for LPIPS"
    )
    words.add_argument("--ways", nargs="+", metavar="NAME", help="some of the table's rows (all)")
    words.add_argument(
        "--sheet", type=File, help="write the first pair's frames here, as a picture"
    )
    args = words.parse_args()
    known = ways(args)
    if unknown := set(args.ways or ()) - set(known):
        words.error(f"--ways: got {min(unknown)!r}, needs some of {', '.join(known)}")
    distance = lpips_distance(args.lpips, args.device) if args.lpips else None
    bench = Bench(args.frames, args.seed, args.device, distance, args.model)
    pairs = held_out(2 * args.pairs, args.seed).split(2)
    rows, shown, first = [], [], None
    for name in args.ways or known:
        made = [bench.made(known[name], pair) for pair in pairs]
        found = fids(bench, made, pairs)
        first = first or found
        rows.append({"way": name, **told(found, first), **figures(bench, made, pairs)})
        shown.append(made[0].frames)
    if args.sheet:
        save_sheet(shown, args.sheet)
    publish(rows, args.json)


def fids(bench: Bench, made: list[Made], pairs: Sequence[Tensor]) -> dict[str, Fid]:
    """All frames in between against all inputs, and against the puppets that should be there."""
    inputs = [bench.features(one.frames[[0, -1]]) for one in made]
    between = [bench.features(one.frames[1:-1]) for one in made]
    truth = [bench.features(bench.drawn(pair)) for pair in pairs]
    return {
        "FID": Fid.of(inputs, between, bench.seed),
        "FID to truth": Fid.of(truth, between, bench.seed),
    }


def told(found: dict[str, Fid], first: dict[str, Fid]) -> dict[str, str]:
    """Each with its difference from the first row's."""
    less = {f"{name} less first": fid.less(first[name]) for name, fid in found.items()}
    return {name: str(fid) for name, fid in found.items()} | less


def figures(bench: Bench, made: list[Made], pairs: Sequence[Tensor]) -> dict[str, str]:
    """The other figures of one way over all pairs."""
    found = [bench.measured(one, pair) for one, pair in zip(made, pairs, strict=True)]
    return {key: summary([figure[key] for figure in found]) for key in found[0]}


if __name__ == "__main__":
    main()
