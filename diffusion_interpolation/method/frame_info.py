"""What is known of a frame besides its pixels: for the front end, for files, and for pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .choice.ranking import best
from .path import Path, Slot


@dataclass(frozen=True)
class FrameInfo:
    """A frame of a path, without its picture and its latent.

    `index` counts all frames from 0. `position` is in keyframes: 0.5 is half-way from the first to
    the second. `depth` is 0 for a keyframe and 1 for a frame that is made from keyframes alone.
    `parents` are the numbers of the two frames that the frame is made from, the left one first; a
    keyframe has none.

    The other fields tell of a frame that is made. It has `count` candidates, of which the first has
    the number `first`. `scores` has one score for each candidate; it is empty if there is only one.
    Scores compare the candidates of one frame, not one frame with another. `candidate` is the
    number of the candidate that became the frame; it is None for a keyframe, and for a frame that
    is not made yet. `picked` says that a person, not the scores, chose the candidate. The
    frame took `steps` from the point `start` of its schedule: a sigma, or a timestep where the
    model is Stable Diffusion in diffusers.
    """

    index: int
    position: float
    depth: int = 0
    parents: tuple[int, ...] = ()
    first: int = 0
    count: int = 0
    scores: tuple[float, ...] = ()
    candidate: int | None = None
    picked: bool = False
    steps: int = 0
    start: float | None = None

    @classmethod
    def of(cls, slot: Slot) -> FrameInfo:
        """Return what is known of a frame before it is made."""
        return cls(slot.index, slot.position, slot.depth, (slot.left, slot.right))

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> FrameInfo:
        """Return what `to_json` gave. Raises `TypeError` for anything else."""
        known = {field.name: told[field.name] for field in fields(cls) if field.name in told}
        lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return cls(**known | lists)

    @property
    def best(self) -> int | None:
        """The candidate that the scores choose; None if the frame has no candidates."""
        return best(self.first, self.scores) if self.count else None

    @property
    def roll(self) -> int:
        """How often new noise was drawn for the candidates, as in `picks.py`."""
        return self.first // self.count if self.count else 0

    def to_json(self) -> dict[str, Any]:
        """Return all of this in the types of JSON."""
        return {
            **asdict(self),
            "parents": list(self.parents),
            "scores": list(self.scores),
            "best": self.best,
            "roll": self.roll,
        }


def planned(path: Path) -> list[FrameInfo]:
    """Return all frames of a path in order, as they are known before any is made."""
    keyframes = [FrameInfo(index, float(place)) for place, index in enumerate(path.keyframes)]
    frames = [FrameInfo.of(slot) for slots in path.slots() for slot in slots]
    return sorted(keyframes + frames, key=lambda info: info.index)


def evenly_spaced(count: int) -> list[FrameInfo]:
    """Return `count` frames that nothing is known of, at even positions from 0 to 1."""
    return [FrameInfo(index, index / max(1, count - 1)) for index in range(count)]
