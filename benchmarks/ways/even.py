"""This package's own way, made again at places between which all steps look equally large."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from diffusion_interpolation.method.path import Path, Slot

from .corresponding import moved, moved_with_anchors
from .diffmorpher import respaced
from .peers import places
from .registry import Maker, Task, maker


@dataclass(frozen=True)
class PlacedSlot(Slot):
    """A frame with a weight of its own between its neighbours."""

    share: float = 0.5

    @property
    def weight(self) -> float:
        return self.share


@dataclass(frozen=True)
class PlacedPath(Path):
    """A path whose frames lie at `positions`, in keyframes."""

    positions: tuple[float, ...] = ()

    def position(self, frame: int) -> float:
        return self.positions[frame]

    def slots(self) -> list[list[Slot]]:
        return [[self._placed(slot) for slot in slots] for slots in super().slots()]

    def _placed(self, slot: Slot) -> PlacedSlot:
        left, here, right = (self.positions[i] for i in (slot.left, slot.index, slot.right))
        share = (here - left) / (right - left) if right > left else 0.5
        return PlacedSlot(slot.index, here, slot.depth, slot.left, slot.right, share)


def evenly(task: Task, make: Maker) -> Tensor:
    """Make frames, find the places between which they would take equal steps, and make these."""
    frames = make(task)
    frames[task.path.keyframes] = task.pictures
    found = respaced(task, frames, places(task)).tolist()
    positions = [2 * pair + place for pair, each in enumerate(found) for place in each]
    return make(replace(task, path=PlacedPath(task.path.between, tuple(positions))))


@maker("moved, even speed", rows="even speed")
def moved_evenly(task: Task) -> Tensor:
    """Make frames of even speed along what the model's features say."""
    return evenly(task, moved)


@maker("moved, joints are anchors, even speed", rows="even speed")
def moved_with_anchors_evenly(task: Task) -> Tensor:
    """Make frames of even speed along the features and the true joints."""
    return evenly(task, moved_with_anchors)
