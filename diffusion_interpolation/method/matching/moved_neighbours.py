"""Both neighbours of frames as latents, moved to where their things are at the frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ...models.contract import LatentDiffusionModel
from ..choice.candidate_sampler import Job, Neighbours, neighbours
from ..choice.viewer import Viewer
from ..colours.mapped import Colours, ColoursAlong, as_made
from ..path import Path, Slot
from .correspondence import Correspondence, check_aspect


@dataclass(frozen=True)
class MovedNeighbours:
    """Gives a `Bisection` neighbours that are moved along the correspondence of each gap.

    `pictures` are those of keyframes by the number of the frame, `(3, h, w)` in 0..1; pictures that
    are missing are decoded, and get their `colours` before they are moved. A gap without points has
    its latents as they are.
    """

    model: LatentDiffusionModel
    path: Path
    gaps: Sequence[Correspondence]
    pictures: Mapping[int, Tensor] = field(default_factory=dict)
    colours: Colours = as_made
    _moved: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False, repr=False)
    """The latents of neighbours, by neighbour and frame, of the depth that is being made."""

    @classmethod
    def of(
        cls,
        model: LatentDiffusionModel,
        path: Path,
        gaps: Sequence[Correspondence],
        keyframes: Tensor,
        colours: Colours = as_made,
    ) -> MovedNeighbours:
        """Return the neighbours of a path between `keyframes` `(N, 3, h, w)` in 0..1.

        Raises `ValueError` for correspondences of another number of gaps, or of pictures of another
        aspect.
        """
        if len(gaps) != len(path.between):
            raise ValueError(
                f"correspondence: got maps of {len(gaps)} gaps, needs {len(path.between)}, one for "
                "each gap of the same keyframes; a loop has one more"
            )
        for gap in gaps:
            check_aspect(keyframes[0], gap.aspect)
        pictures = dict(zip(path.keyframes, keyframes, strict=True))
        return cls(model, path, gaps, pictures, colours)

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
            pictures = self._pictures({wanted[row][0] for row in rows}, latents)
            moved = [self._moved_picture(*wanted[row], pictures) for row in rows]
            encoded = self.model.encode(torch.stack(moved))
            for row, latent in zip(rows, encoded.to(found[0]), strict=True):
                found[row] = latent
        return found

    def _pictures(self, frames: set[int], latents: Mapping[int, Tensor]) -> Mapping[int, Tensor]:
        """Return the pictures of frames by number; those that are missing are decoded."""
        missing = sorted(frames - self.pictures.keys())
        if not missing:
            return self.pictures
        view = Viewer(self.model, self.path, self.colours)
        shown = view(torch.stack([latents[frame] for frame in missing]), missing)
        return {**self.pictures, **dict(zip(missing, shown, strict=True))}

    def _moved_picture(self, end: int, slot: Slot, pictures: Mapping[int, Tensor]) -> Tensor:
        """Return the picture of a neighbour, moved to a frame."""
        gap = int(slot.position)
        start = self.path.position(end) - gap
        picture = pictures[end].to(self.model.device)
        return self._gap(slot.position).move(picture, start, slot.position - gap)

    def _gap(self, position: float) -> Correspondence:
        return self.gaps[int(position)]


class AlongMap(NamedTuple):
    """What a `Bisection` does along the maps of its gaps; by default, nothing."""

    neighbours: Neighbours = neighbours
    colours: Colours = as_made

    @classmethod
    def of(
        cls,
        model: LatentDiffusionModel,
        path: Path,
        gaps: Sequence[Correspondence] | None,
        keyframes: Tensor,
        match_colors: bool,
    ) -> AlongMap:
        """Move neighbours, and with `match_colors` give frames the colours of the keyframes.

        Without `gaps` neither is done. Raises `ValueError` as `MovedNeighbours.of` does.
        """
        if gaps is None:
            return cls()
        colours = ColoursAlong(gaps, keyframes) if match_colors else as_made
        return cls(MovedNeighbours.of(model, path, gaps, keyframes, colours), colours)


NO_MAP = AlongMap()
"""Nothing is moved, and colours are as they are made."""
