"""The candidates of a frame, of which one is chosen (method, step 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from .path import Slot
from .ranking import Terms, ranked
from .resize import resize

MIN_STEPS = 2
"""Before and after candidates are ranked: samplers such as UniPC do nothing in a single step."""


def steps_before_ranking(steps: int, fraction: float) -> int:
    """How many of `steps` come before candidates are ranked, about a `fraction` in (0, 1] of them.

    `MIN_STEPS` at least are before and after; all of them are before where there are not so many.
    """
    if steps < 2 * MIN_STEPS:
        return steps
    return min(max(MIN_STEPS, int(fraction * steps)), steps - MIN_STEPS)


@dataclass(frozen=True)
class Frame:
    """A finished frame, on the CPU.

    It has its latent `(c, h', w')`, its picture `(3, h, w)` in 0..1, and the number of the
    candidate it was. The candidates were those from `first` on, one for each of `scores` (empty
    where there was one alone); scores compare the candidates of this frame, not those of several.
    `picked` where a person has chosen, not the scores. `thumbnails` are small pictures of all
    candidates, uint8 `(count, h, w, 3)`, where they were asked for. `embedding` is what the scorer
    saw in the picture; None where nothing was ranked.
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

    It has its latent `(c, h', w')` (None where a cache had no room for it), what it is ranked by
    (None where it is alone), and perhaps a small picture, uint8 `(h, w, 3)`, and what the scorer
    saw in it. A `partial` candidate is denoised only as far as the ranking: its latent is still
    noisy, and everything else is of the denoised prediction at that point.
    """

    latent: Tensor | None
    terms: Terms | None
    thumbnail: Tensor | None = None
    embedding: Tensor | None = None
    partial: bool = False

    def copy(self) -> Candidate:
        """One with tensors of its own, which do not hold the batch that they are a view of."""
        return Candidate(*(x.clone() if isinstance(x, Tensor) else x for x in self))


@dataclass
class Candidates:
    """The candidates of a frame as they come; once all are there, one of them is chosen.

    `closeness` is the weight of their similarity to the neighbouring frames.
    """

    slot: Slot
    numbers: range
    picked: int | None = None
    closeness: float = 0.0
    keys: Mapping[int, bytes] = field(default_factory=dict)
    """Where each is kept in a cache, if there is one."""
    made: dict[int, Candidate] = field(default_factory=dict)
    _pictures: dict[int, Tensor] = field(default_factory=dict)
    """Of those that may be chosen yet; a picture that is not here is looked up, or made again."""

    def add(self, number: int, candidate: Candidate, picture: Tensor | None = None) -> None:
        """Add a candidate, with its picture `(3, h, w)` where that is at hand."""
        self.made[number] = candidate
        if picture is not None:
            self._pictures[number] = picture.clone()
        if self.complete:
            self._pictures = {n: p for n, p in self._pictures.items() if n == self.chosen}

    def settle(self, candidate: Candidate, picture: Tensor | None = None) -> None:
        """Put the finished candidate in the place of the chosen one, which was partial."""
        number = self.chosen
        # it stays chosen, for what it was chosen for
        self.made[number] = candidate._replace(terms=self.made[number].terms)
        self._pictures = {} if picture is None else {number: picture.clone()}

    @property
    def scores(self) -> tuple[float, ...]:
        """A score for each of all candidates, in their order; none where there is one alone."""
        if len(self.numbers) == 1:
            return ()
        return tuple(ranked([self.made[number].terms for number in self.numbers], self.closeness))

    @property
    def chosen(self) -> int:
        """The number of the picked candidate, or of the best of all; of equals the lowest."""
        if self.picked is not None:
            return self.picked
        scores = self.scores or (0.0,)
        return self.numbers[scores.index(max(scores))]

    @property
    def picture(self) -> Tensor | None:
        """The picture of the chosen candidate, where it is at hand."""
        return self._pictures.get(self.chosen)

    @property
    def missing(self) -> list[int]:
        return [number for number in self.numbers if number not in self.made]

    @property
    def complete(self) -> bool:
        return len(self.made) == len(self.numbers)

    def frame(self, picture: Tensor) -> Frame:
        """The chosen candidate, whose picture is `picture`, as a frame."""
        ordered, chosen = [self.made[number] for number in self.numbers], self.made[self.chosen]
        return Frame(
            self.slot.index,
            self.slot.position,
            self.slot.depth,
            chosen.latent,
            picture,
            candidate=self.chosen,
            scores=self.scores,
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
    small = resize(pictures, size, "bilinear")
    return (small.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).cpu()
