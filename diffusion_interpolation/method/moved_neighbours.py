"""Both neighbours of frames as latents, moved to where their things are at the frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..models.contract import Codec
from .candidate_sampler import Job, decode
from .correspondence import Correspondence
from .path import Path, Slot


@dataclass(frozen=True)
class MovedNeighbours:
    """Stands in for `neighbours` of a `CandidateSampler` that knows a correspondence of each gap.

    `pictures` are those of finished frames by number, `(3, h, w)` in 0..1; those that are missing
    are decoded. A gap without a correspondence has its latents as they are.
    """

    codec: Codec
    path: Path
    gaps: Sequence[Correspondence]
    pictures: Mapping[int, Tensor] = field(default_factory=dict)
    _moved: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False, repr=False)
    """The latents of neighbours, by neighbour and frame, of the depth that is being made."""

    def __call__(self, jobs: Sequence[Job], latents: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the clean latents `(n, c, h', w')` of the left and of the right neighbours."""
        slots = {slot.index: slot for slot, _ in jobs}
        wanted = [(end, slot) for slot in slots.values() for end in (slot.left, slot.right)]
        missing = [(end, slot) for end, slot in wanted if (end, slot.index) not in self._moved]
        # candidates of frames whose others were in an earlier batch
        kept = {(end, slot.index) for end, slot in wanted}
        for key in self._moved.keys() - kept:
            del self._moved[key]
        for (end, slot), moved in zip(missing, self._encoded(missing, latents), strict=True):
            self._moved[end, slot.index] = moved
        left = torch.stack([self._moved[slot.left, slot.index] for slot, _ in jobs])
        right = torch.stack([self._moved[slot.right, slot.index] for slot, _ in jobs])
        return left, right

    def _encoded(
        self, wanted: Sequence[tuple[int, Slot]], latents: Mapping[int, Tensor]
    ) -> list[Tensor]:
        """The latents of neighbours, each moved to its frame."""
        found = [latents[end] for end, _ in wanted]
        rows = [row for row, (_, slot) in enumerate(wanted) if len(self._gap(slot.position))]
        if rows:
            moved = [self._picture(*wanted[row], latents) for row in rows]
            encoded = self.codec.encode(torch.stack(moved))
            for row, latent in zip(rows, encoded.to(found[0]), strict=True):
                found[row] = latent
        return found

    def _picture(self, end: int, slot: Slot, latents: Mapping[int, Tensor]) -> Tensor:
        """The picture of a neighbour, moved to a frame."""
        picture = self.pictures.get(end)
        if picture is None:
            picture = decode(self.codec, latents[end][None])[0]
        gap = int(slot.position)
        start = self._position(end, gap) - gap
        return self._gap(slot.position).move(picture, start, slot.position - gap)

    def _gap(self, position: float) -> Correspondence:
        return self.gaps[int(position)]

    def _position(self, frame: int, gap: int) -> float:
        """Where a frame lies that is in a gap or at its ends, in keyframes."""
        first, last = self.path.keyframes[gap : gap + 2]
        return gap + (frame - first) / (last - first)
