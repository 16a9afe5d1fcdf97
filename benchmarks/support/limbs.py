"""Which limbs of a puppet are in a picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffusion_interpolation.demo import world

from .puppets import SIZE

LIMBS = ((2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13))
POINTS = 9
"""Along a limb."""


def all_limbs(pictures: Tensor, numbers: Tensor) -> Tensor:
    """Return `(n,)` bools: whether all limbs of the puppets `numbers` are in the `pictures`.

    A limb is there if at least half of its points differ from the background by at least half of
    what they do in a new drawing of the puppet.
    """
    at = world.joints(numbers)
    along = torch.linspace(0, 1, POINTS, device=at.device)[:, None]
    points = [at[:, [a]].lerp(at[:, [b]], along) for a, b in LIMBS]
    # (n, 8, POINTS, 2), from picture heights to grid_sample's -1 to 1
    grid = 2 * torch.stack(points, dim=1) - 1
    seen, drawn = (
        nn.functional.grid_sample(p, grid, align_corners=False).movedim(1, -1)
        for p in (pictures, world.render(numbers, SIZE))
    )
    background = numbers[:, None, None, world.BACK]
    contrasts = [(colours - background).norm(dim=-1) for colours in (seen, drawn)]
    there = contrasts[0] >= contrasts[1] / 2
    return (there.float().mean(-1) >= 0.5).all(1)
