"""Ways that run no network: mixed pictures, and the true puppets drawn."""

from __future__ import annotations

from support.puppets import truth
from torch import Tensor, cat

from diffusion_interpolation.demo import world

from .paper import cross_fade
from .registry import Task, maker


@maker("cross-fade", rows="schemes", posed=False)
def faded(task: Task) -> Tensor:
    """Mix the pictures of both keyframes."""
    return cross_fade(task.pictures, task.path)


@maker("truth", rows="schemes", posed=False)
def drawn(task: Task) -> Tensor:
    """Draw the puppets on the straight way between both, which is how good a path can be."""
    between = truth(task.pairs, task.path.between[0] + 2)
    ways = cat([task.pairs[::2, None], between, task.pairs[1::2, None]], 1)
    return world.render(ways.flatten(0, 1), task.pictures.shape[-1])
