"""What a correspondence before the blend gains: `python benchmarks/with_correspondence.py`

Paths between pairs of held-out puppets, made as the package makes them, with both neighbours of a
frame blended as they are (`as they are`), and moved to where their things are at the frame's
position (`moved`). `true map` moves along the puppets' own joints, a bound for what a better map
would gain. The figures are those of `benchmarks/schemes.py`. `map` is how far from its true place a
joint comes that is carried from one input to the other, in picture heights. With `--poses` frames
are held to poses, too, whose joints are then anchors of `moved with anchors`.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from demo_model import SIZE, held_out
from report import parser, publish
from schemes import MAKERS, Bench, Task, Way, fids, figures, save_sheet, summary, told
from torch import Tensor

from diffusion_interpolation.command.cli import EMBEDDED_DEFAULTS
from diffusion_interpolation.command.job import EMBEDDED_MODELS
from diffusion_interpolation.demo import world
from diffusion_interpolation.method.anchors import pose_anchors
from diffusion_interpolation.method.bisection import Bisection, Settings
from diffusion_interpolation.method.candidates import Frame
from diffusion_interpolation.method.correspondence import (
    Correspondence,
    anchored,
    correspondences,
    move,
)
from diffusion_interpolation.method.features import of_model
from diffusion_interpolation.method.rigid_warp import rigid_move
from diffusion_interpolation.models.contract import Sampled

AS_THEY_ARE = "as they are"


@dataclass(frozen=True)
class MovedBisection(Bisection):
    """A bisection that moves neighbours along the map of their gap before it blends them.

    `pictures` are those of all finished frames by number; at first, of the keyframes.
    """

    gaps: Sequence[Correspondence] = ()
    pictures: dict[int, Tensor] = field(default_factory=dict)

    def frames(
        self, keyframes: Tensor, finished: Mapping[int, Tensor] | None = None
    ) -> Iterator[Frame]:
        for frame in super().frames(keyframes, finished):
            self.pictures[frame.index] = frame.picture
            yield frame

    def _sample(self, batch: list[Any], latents: Mapping[int, Tensor]) -> Sampled:
        made = []
        for slot, jobs in groupby(batch, lambda job: job[0].slot):
            ends = [slot.left, slot.right]
            places = [number / self.path.keyframes[-1] for number in ends]
            pictures = torch.stack([self.pictures[number] for number in ends])
            moved = move(self.gaps, pictures, places, [slot.position] * 2)
            known = dict(zip(ends, self.model.encode(moved).cpu(), strict=True))
            made.append(super()._sample(list(jobs), known))
        return Sampled(*(torch.cat(parts) for parts in zip(*made, strict=True)))


def matched(bench: Bench, task: Task) -> list[Correspondence]:
    """The map that the model's own features give."""
    return correspondences(_features(bench, task), task.pictures)


def matched_with_anchors(bench: Bench, task: Task) -> list[Correspondence]:
    """The same, with the joints of the inputs' poses as anchors."""
    anchors = pose_anchors(world.poses(task.pair, SIZE), (SIZE, SIZE))
    return correspondences(_features(bench, task), task.pictures, anchors)


def anchors_alone(bench: Bench, task: Task) -> list[Correspondence]:
    """The true joints and points on the limbs between them."""
    anchors = pose_anchors(world.poses(task.pair, SIZE), (SIZE, SIZE))
    return [anchored(one, 1.0) for one in anchors]


MAPS: dict[str, Callable[[Bench, Task], list[Correspondence]]] = {
    "moved": matched,
    "true map": anchors_alone,
    "moved with anchors": matched_with_anchors,
}


def _features(bench: Bench, task: Task) -> Any:
    model = bench.model(task.way.steps)
    return of_model(model, model.encode_text(EMBEDDED_DEFAULTS["prompt"]))


def by_moving(bench: Bench, task: Task) -> Tensor:
    """The frames in between, made along the map that the way is named after."""
    model, settings = bench.model(task.way.steps), replace(task.way.settings, seed=bench.seed)
    words = EMBEDDED_DEFAULTS["prompt"], EMBEDDED_DEFAULTS["negative"]
    ends = dict(zip((0, bench.path.keyframes[-1]), task.pictures, strict=True))
    bisection = MovedBisection(
        model,
        bench.path,
        task.guide,
        settings,
        bench.clip.scorer(*words),
        gaps=MAPS[task.way.scheme](bench, task),
        pictures=ends,
    )
    made = bisection.frames(model.encode(task.pictures))
    return torch.stack([frame.picture for frame in sorted(made, key=lambda frame: frame.index)])


def map_error(name: str, bench: Bench, way: Way, pair: Tensor) -> float:
    """Mean distance of joints that are carried along a map from their true places, both ways."""
    first, second = world.joints(pair).float()
    carried = first, second
    if name != AS_THEY_ARE:
        [gap] = MAPS[name](bench, Task(way, None, pair, world.render(pair, SIZE)))
        carried = (
            rigid_move(first, gap.first, gap.second, gap.weights),
            rigid_move(second, gap.second, gap.first, gap.weights),
        )
    away = torch.stack([carried[0] - second, carried[1] - first])
    return away.norm(dim=-1).mean().item()


def rows(args: Namespace) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """The table row by row, each with the frames of the first pair."""
    bench = Bench(args.frames, args.seed, args.device, model=args.model)
    pairs, first = held_out(2 * args.pairs, args.seed).split(2), None
    for high, low in zip(args.denoise[::2], args.denoise[1::2], strict=True):
        settings = Settings(max_denoise=high, min_denoise=low)
        for name in args.ways:
            scheme = "bisection" if name == AS_THEY_ARE else name
            way = Way(scheme, settings, posed=args.poses)
            made = [bench.made(way, pair) for pair in pairs]
            found = fids(bench, made, pairs)
            first = first or found
            row = {"way": name, "denoise": f"{high:g} to {low:g}", **told(found, first)}
            errors = [map_error(name, bench, way, pair) for pair in pairs]
            row |= {"map": summary(errors), **figures(bench, made, pairs)}
            yield row, made[0].frames


def main() -> None:
    MAKERS.update(dict.fromkeys(MAPS, by_moving))
    words = parser(__doc__, EMBEDDED_MODELS)
    words.add_argument("--pairs", type=int, default=50)
    words.add_argument("--frames", type=int, default=17, help="of a path, the inputs among them")
    words.add_argument("--denoise", type=float, nargs="+", default=[0.55, 0.30, 0.35, 0.15])
    words.add_argument("--poses", action="store_true", help="hold frames to poses as well")
    known = [AS_THEY_ARE, *MAPS]
    words.add_argument("--ways", nargs="+", choices=known, default=known[:2])
    words.add_argument("--sheet", type=Path, help="write the first pair's frames here")
    args = words.parse_args()
    table, shown = zip(*rows(args), strict=True)
    if args.sheet:
        save_sheet(list(shown), args.sheet)
    publish(list(table), args.json)


if __name__ == "__main__":
    main()
