"""Puppets that no model has seen, and what they should be half-way."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_interpolation.demo import world
from diffusion_interpolation.demo.networks import SIZE

HELD_OUT = 987_654_321

__all__ = ["HELD_OUT", "SIZE", "held_out", "truth"]


def held_out(count: int, seed: int) -> Tensor:
    """Return puppets from a stream of numbers that no stage of the training draws from."""
    return world.sample(count, torch.Generator().manual_seed(HELD_OUT + seed))


def truth(pairs: Tensor, frames: int) -> Tensor:
    """Return the puppets `(P, frames - 2, numbers)` on the straight ways of `pairs` `(2 P, ...)`.

    The keyframes themselves are left out.
    """
    weights = torch.linspace(0, 1, frames, device=pairs.device)[1:-1, None]
    return pairs[::2, None].lerp(pairs[1::2, None], weights)
