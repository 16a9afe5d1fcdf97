"""The candidates of a frame, of which one is chosen (method, step 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ...models.contract import Schedule
from ...resize import resize
from ..frame_info import FrameInfo
from ..path import Slot
from .ranking import Terms, best, ranked

THUMBNAIL = 256
"""Pixels of the longer side of candidates that are shown beside a frame."""
MIN_STEPS = 2
"""Before and after candidates are ranked: samplers such as UniPC do nothing in a single step."""


def steps_before_ranking(steps: int, fraction: float) -> int:
    """How many of `steps` come before candidates are ranked, about a `fraction` below 1 of them.

    At least `MIN_STEPS` come before and `MIN_STEPS` after. With fewer than twice `MIN_STEPS` in
    all, all come before.
    """
    if steps < 2 * MIN_STEPS:
        return steps
    return min(max(MIN_STEPS, int(fraction * steps)), steps - MIN_STEPS)


@dataclass(frozen=True)
class Frame:
    """A finished frame, on the CPU.

    `latent` is `(c, h', w')`, and `picture` is `(3, h, w)` in 0..1. `thumbnails` are small pictures
    of all candidates, uint8 `(count, h, w, 3)`, or None if nobody asked for them. `embedding` is
    the scorer's embedding of the picture, or None if the candidates were not ranked.
    """

    info: FrameInfo
    latent: Tensor
    picture: Tensor
    thumbnails: Tensor | None = None
    embedding: Tensor | None = None


class Candidate(NamedTuple):
    """A candidate, on the CPU.

    `latent` is `(c, h', w')`, or None if it is not kept: another candidate was chosen, or a cache
    had no room for it. `terms` are the numbers that
    rank it, or None if the frame has only one candidate. `thumbnail` is a small picture, uint8
    `(h, w, 3)`, and `embedding` is the scorer's embedding of the picture. A `partial` candidate is
    denoised only as far as the ranking: its latent is still noisy, and its terms, thumbnail and
    embedding are those of the denoised prediction (x0).
    """

    latent: Tensor | None
    terms: Terms | None
    thumbnail: Tensor | None = None
    embedding: Tensor | None = None
    partial: bool = False

    def copy(self) -> Candidate:
        """Return a copy whose tensors do not keep the memory of the whole batch."""
        return Candidate(*(x.clone() if isinstance(x, Tensor) else x for x in self))


@dataclass
class Candidates:
    """Collects the candidates of a frame; when it is complete, it has a chosen candidate.

    `smoothness_weight` is the weight of similarity to the neighbouring frames.
    """

    slot: Slot
    numbers: range
    picked: int | None = None
    smoothness_weight: float = 0.0
    keys: Mapping[int, bytes] = field(default_factory=dict)
    """The key of each candidate in the cache, if there is a cache."""
    made: dict[int, Candidate] = field(default_factory=dict)
    _pictures: dict[int, Tensor] = field(default_factory=dict)
    """Pictures of candidates that can still be chosen. Others are looked up or made again."""

    def add(self, number: int, candidate: Candidate, picture: Tensor | None = None) -> None:
        """Add a candidate, and its picture `(3, h, w)` if the caller has it."""
        self.made[number] = candidate
        if picture is not None:
            self._pictures[number] = picture.clone()
        if self.complete:
            self._pictures = {n: p for n, p in self._pictures.items() if n == self.chosen}

    def settle(self, candidate: Candidate, picture: Tensor | None = None) -> None:
        """Replace the chosen candidate, which was partially denoised, by the finished one."""
        number = self.chosen
        # its terms stay those of the ranking, so that the same candidate stays chosen
        self.made[number] = candidate._replace(terms=self.made[number].terms)
        self._pictures = {} if picture is None else {number: picture.clone()}

    def keep_chosen_latent(self) -> None:
        """Let go of the latents of all candidates but the chosen one."""
        for number in self.made.keys() - {self.chosen}:
            self.made[number] = self.made[number]._replace(latent=None)

    @property
    def scores(self) -> tuple[float, ...]:
        """The score of each candidate in order; empty if there is only one candidate."""
        if len(self.numbers) == 1:
            return ()
        return tuple(
            ranked([self.made[number].terms for number in self.numbers], self.smoothness_weight)
        )

    @property
    def chosen(self) -> int:
        """The number of the picked candidate, or of the best one; the lowest number wins a tie."""
        return best(self.numbers.start, self.scores) if self.picked is None else self.picked

    @property
    def picture(self) -> Tensor | None:
        """The picture of the chosen candidate, or None if it must be made again."""
        return self._pictures.get(self.chosen)

    @property
    def missing(self) -> list[int]:
        return [number for number in self.numbers if number not in self.made]

    @property
    def complete(self) -> bool:
        return len(self.made) == len(self.numbers)

    @property
    def finished(self) -> bool:
        """Whether the chosen candidate is there, and denoised to a clean latent."""
        if not self.complete:
            return False
        chosen = self.made[self.chosen]
        return chosen.latent is not None and not chosen.partial

    def frame(self, picture: Tensor, schedule: Schedule) -> Frame:
        """Return the chosen candidate, with its picture and its steps, as a frame.

        Lets go of the picture, so that memory is free while other frames of the depth wait.
        """
        self._pictures = {}
        ordered, chosen = [self.made[number] for number in self.numbers], self.made[self.chosen]
        info = replace(
            FrameInfo.of(self.slot),
            first=self.numbers.start,
            count=len(self.numbers),
            scores=self.scores,
            candidate=self.chosen,
            picked=self.picked is not None,
            steps=len(schedule),
            start=schedule.points[0],
        )
        small = _stack([candidate.thumbnail for candidate in ordered])
        return Frame(info, chosen.latent, picture, small, chosen.embedding)


def _stack(thumbnails: list[Tensor | None]) -> Tensor | None:
    """Return all thumbnails as one tensor, or None if there are not several to compare."""
    if len(thumbnails) < 2 or thumbnails[0] is None:
        return None
    return torch.stack(thumbnails)


def thumbnails(pictures: Tensor, side: int) -> Tensor:
    """Shrink pictures `(n, 3, h, w)` in 0..1 to a longer side of `side`, uint8 `(n, h', w', 3)`."""
    scale = side / max(pictures.shape[2:])
    size = [max(1, round(length * scale)) for length in pictures.shape[2:]]
    small = resize(pictures, size, "bilinear")
    return (small.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).cpu()
