"""Ways whose frames go through Match Colors when they are made."""

from __future__ import annotations

from torch import Tensor

from diffusion_interpolation.method.colours.tracing import match_colours
from diffusion_interpolation.presets import MATCHED

from .corresponding import moved
from .ours import bisection
from .registry import Maker, Task, maker


def _matched(task: Task, make: Maker) -> Tensor:
    frames = make(task)
    frames[task.path.keyframes] = task.pictures.to(frames)
    return match_colours(frames, task.path.keyframes)


@maker("colours matched", rows="colours")
def colours_matched(task: Task) -> Tensor:
    """Make frames as this package makes them, and match their colours."""
    return _matched(task, bisection)


@maker("moved, colours matched", rows="colours", **MATCHED)
def moved_colours_matched(task: Task) -> Tensor:
    """Move along what the model's own features say, and match colours."""
    return _matched(task, moved)
