"""Ways whose frames go through Match Colors when they are made."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from diffusion_interpolation.method.colours.tracing import match_colours
from diffusion_interpolation.method.matching.correspondence import Correspondence
from diffusion_interpolation.presets import MATCHED

from .corresponding import gaps_of, joints, matched, moved, moved_with_anchors
from .ours import bisection
from .registry import Maker, Task, maker


def _recoloured(
    task: Task, make: Maker, of_pair: Callable[[Task], Correspondence] | None = None
) -> Tensor:
    """Make frames and match their colours, along the map of each pair or from frame to frame."""
    frames = make(task)
    frames[task.path.keyframes] = task.pictures.to(frames)
    gaps = None if of_pair is None else gaps_of(task, of_pair)
    return match_colours(frames, task.path.keyframes, gaps=gaps)


def _matched_with_joints(task: Task) -> Correspondence:
    return matched(task, joints(task))


@maker("colours matched", rows="colours")
def colours_matched(task: Task) -> Tensor:
    """Make frames as this package makes them, and match their colours."""
    return _recoloured(task, bisection)


@maker("moved, colours matched", rows="colours", **MATCHED)
def moved_colours_matched(task: Task) -> Tensor:
    """Move along what the model's own features say, and match colours."""
    return _recoloured(task, moved)


@maker("colours along the map", rows="colours")
def colours_along_map(task: Task) -> Tensor:
    """Make frames as this package makes them, and match their colours along the map."""
    return _recoloured(task, bisection, matched)


@maker("moved, colours along the map", rows="colours", **MATCHED)
def moved_colours_along_map(task: Task) -> Tensor:
    """Move along what the model's own features say, and match colours along it, too."""
    return _recoloured(task, moved, matched)


@maker("moved, joints are anchors, colours along the map", rows="colours", **MATCHED)
def anchored_colours_along_map(task: Task) -> Tensor:
    """Move along features and true joints, and match colours along the same map."""
    return _recoloured(task, moved_with_anchors, _matched_with_joints)
