"""The candidates of a frame, of which one is chosen (method, step 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .path import Slot


@dataclass(frozen=True)
class Frame:
    """A finished frame, on the CPU.

    It has its latent `(c, h', w')`, its picture `(3, h, w)` in 0..1, and the number of the
    candidate it was. The candidates were those from `first` on, one for each of `scores` (empty
    without a scorer); `picked` where a person has chosen, not the scores. `thumbnails` are small
    pictures of all candidates, uint8 `(count, h, w, 3)`, where they were asked for. `embedding` is
    what the scorer saw in the picture.
    """

    index: int
    position: float
    depth: int
    latent: Tensor
    picture: Tensor
    candidate: int = 0
    scores: tuple[float, ...] = ()
    first: int = 0
    picked: bool = False
    thumbnails: Tensor | None = None
    embedding: Tensor | None = None


class Candidate(NamedTuple):
    """A candidate, on the CPU.

    It has its latent `(c, h', w')`, its score, and perhaps a small picture, uint8 `(h, w, 3)`, and
    what the scorer saw in it. One that has `begun` only was ranked on the way: its latent is still
    noisy, and the rest is what the model then thought it would be.
    """

    latent: Tensor
    score: float
    thumbnail: Tensor | None = None
    embedding: Tensor | None = None
    begun: bool = False

    def copy(self) -> Candidate:
        """One with tensors of its own, which do not hold the batch that they are a view of."""
        return Candidate(*(x.clone() if isinstance(x, Tensor) else x for x in self))


@dataclass
class Candidates:
    """The candidates of a frame as they come; only the picture of the one to choose is held."""

    slot: Slot
    numbers: range
    picked: int | None = None
    keys: Mapping[int, bytes] = field(default_factory=dict)
    """Where each is kept in a cache, if there is one."""
    made: dict[int, Candidate] = field(default_factory=dict)
    picture: Tensor | None = None
    """Of the one to choose; None where it must be looked up, or decoded again."""

    def add(self, number: int, candidate: Candidate, picture: Tensor | None = None) -> None:
        """Add a candidate, with its picture `(3, h, w)` where that is at hand."""
        self.made[number] = candidate
        if self.chosen == number:
            self.picture = None if picture is None else picture.clone()

    def settle(self, candidate: Candidate, picture: Tensor | None = None) -> None:
        """Put the finished one in the place of the chosen candidate, which had only begun."""
        self.made[self.chosen] = candidate
        self.picture = None if picture is None else picture.clone()

    @property
    def chosen(self) -> int:
        """The number of the picked candidate, or of the best one so far; of equals the lowest."""
        if self.picked is not None:
            return self.picked
        return max(self.made, key=lambda number: (self.made[number].score, -number))

    @property
    def missing(self) -> list[int]:
        return [number for number in self.numbers if number not in self.made]

    @property
    def complete(self) -> bool:
        return len(self.made) == len(self.numbers)

    def frame(self, picture: Tensor, scored: bool) -> Frame:
        """The chosen candidate, whose picture is `picture`, as a frame."""
        ordered, chosen = [self.made[number] for number in self.numbers], self.made[self.chosen]
        return Frame(
            self.slot.index,
            self.slot.position,
            self.slot.depth,
            chosen.latent,
            picture,
            candidate=self.chosen,
            scores=tuple(candidate.score for candidate in ordered) if scored else (),
            first=self.numbers.start,
            picked=self.picked is not None,
            thumbnails=_stack([candidate.thumbnail for candidate in ordered]),
            embedding=chosen.embedding,
        )


def _stack(thumbnails: list[Tensor | None]) -> Tensor | None:
    """All of them, where there are several, and so something to compare."""
    if len(thumbnails) < 2 or thumbnails[0] is None:
        return None
    return torch.stack(thumbnails)


def thumbnails(pictures: Tensor, side: int) -> Tensor:
    """Pictures `(n, 3, h, w)` in 0..1 with a longer side of `side`, uint8 `(n, h', w', 3)`."""
    scale = side / max(pictures.shape[2:])
    size = [max(1, round(length * scale)) for length in pictures.shape[2:]]
    small = F.interpolate(pictures, size, mode="bilinear", antialias=True)
    return (small.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).cpu()
