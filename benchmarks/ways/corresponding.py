"""This package's way with both neighbours moved along a correspondence before they are blended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from support.puppets import SIZE
from torch import Tensor

from diffusion_interpolation.demo import world
from diffusion_interpolation.method.matching.anchors import Anchors, none, pose_anchors
from diffusion_interpolation.method.matching.correspondence import (
    Correspondence,
    anchored,
    match_keyframes,
)
from diffusion_interpolation.method.matching.moved_neighbours import AlongMap
from diffusion_interpolation.presets import MATCHED

from .ours import work
from .registry import ROWS, Task, maker


def _moved(task: Task, of_pair: Callable[[Task], Correspondence]) -> Tensor:
    """Make frames along the correspondence of each pair."""
    gaps = gaps_of(task, of_pair)
    matched = gaps, task.pictures.cpu(), task.settings.match_colors
    return work(task, along=AlongMap.of(task.model, task.path, *matched))


def gaps_of(task: Task, of_pair: Callable[[Task], Correspondence]) -> list[Correspondence]:
    """Return the correspondences of all gaps; those between two pairs have no points."""
    nothing = anchored(none(), 1.0)
    pairs = [of_pair(task.at(pair)) for pair in range(len(task.pictures) // 2)]
    return [gap for one in pairs for gap in (one, nothing)][:-1]


def matched(task: Task, anchors: Sequence[Anchors] | None = None) -> Correspondence:
    """What the model's own features say of one pair."""
    [gap] = match_keyframes(task.model, task.guide.positive, task.pictures, anchors)
    return gap


def joints(task: Task) -> list[Anchors]:
    """The true joints of one pair, and points on the limbs between them."""
    return pose_anchors(world.poses(task.pairs.cpu(), SIZE), (SIZE, SIZE))


@maker("moved", rows="correspondence")
def moved(task: Task) -> Tensor:
    """Move along what the model's own features say."""
    return _moved(task, matched)


@maker("moved by joints", rows="correspondence")
def moved_by_joints(task: Task) -> Tensor:
    """Move along the true joints alone, which no features can find better."""
    return _moved(task, lambda pair: anchored(joints(pair)[0], 1.0))


@maker("moved, joints are anchors", rows="correspondence")
def moved_with_anchors(task: Task) -> Tensor:
    """Move along what features say, with the true joints as anchors."""
    return _moved(task, lambda pair: matched(pair, joints(pair)))


ROWS["correspondence"] |= {
    f"{name}, denoise 0.35 to 0.15": {"maker": name, **MATCHED} for name in ROWS["correspondence"]
}
ROWS["colours as made"] = {
    f"{name}, colours as made": {**way, "match_colors": False}
    for name, way in ROWS["correspondence"].items()
}
