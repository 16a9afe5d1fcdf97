"""What a correspondence before the blend gains: `python benchmarks/with_correspondence.py`

Paths between pairs of held-out puppets, made as the package makes them (`blended as they are`), and
with both neighbours of a frame moved to where their things are at its position (`moved`). `true
map` moves along the puppets' own joints, a bound for what a better map would gain. The figures are
those of `benchmarks/schemes.py`; `map error` is how far from its true place a joint comes that is
carried from one input to the other, in picture heights. Without poses unless `--poses` is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple

import torch
from demo_model import SIZE, held_out
from report import parser, publish
from schemes import MAKERS, Bench, Made, Task, Way, fids, figures, save_sheet, summary, told
from torch import Tensor

from diffusion_interpolation.command.cli import EMBEDDED_DEFAULTS, defaults_of
from diffusion_interpolation.command.job import EMBEDDED, EMBEDDED_MODELS
from diffusion_interpolation.demo import world
from diffusion_interpolation.method.bisection import Bisection, Settings
from diffusion_interpolation.method.candidates import Frame
from diffusion_interpolation.method.correspondence import Correspondence, correspondences, move
from diffusion_interpolation.method.features import of_model
from diffusion_interpolation.method.rigid_warp import rigid_move
from diffusion_interpolation.models.contract import Sampled
from diffusion_interpolation.poses.pose import LIMBS

POINTS_OF_A_LIMB = 6
LEVELS = {EMBEDDED: ((0.55, 0.30), (0.35, 0.15)), "demo-flow": ((0.39, 0.22), (0.25, 0.12))}
"""Pairs of `denoise` of the first and of the last depth."""


@dataclass(frozen=True)
class MovedBisection(Bisection):
    """A bisection that blends neighbours after it has moved them along the map of their gap.

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
            places = [number / self.path.keyframes[-1] for number in (slot.left, slot.right)]
            ends = torch.stack([self.pictures[slot.left], self.pictures[slot.right]])
            moved = move(self.gaps, ends, places, [slot.position] * 2)
            moved = dict(zip((slot.left, slot.right), self.model.encode(moved).cpu(), strict=True))
            made.append(super()._sample(list(jobs), moved))
        return Sampled(*(torch.cat(parts) for parts in zip(*made, strict=True)))
