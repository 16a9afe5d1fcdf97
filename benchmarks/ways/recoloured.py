"""Ways whose frames go through Match Colors when they are made."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from diffusion_interpolation.method.colours.tracing import match_colours
from diffusion_interpolation.method.matching.correspondence import Correspondence
from diffusion_interpolation.presets import MATCHED

from .corresponding import gaps_of, matched, moved
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


@maker("colours matched", rows="colours")
def colours_matched(task: Task) -> Tensor:
    """Make frames as this package makes them, and match their colours."""
    return _recoloured(task, bisection)


@maker("moved, colours matched", rows="colours", match_colors=False, **MATCHED)
def moved_colours_matched(task: Task) -> Tensor:
    """Move along what the model's own features say, and match colours."""
    return _recoloured(task, moved)


@maker("colours along the map", rows="colours")
def colours_along_map(task: Task) -> Tensor:
    """Make frames as this package makes them, and match their colours along the map."""
    return _recoloured(task, bisection, matched)
