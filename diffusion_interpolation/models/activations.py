"""Activations of a network's blocks, read while it runs, as feature grids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..method.noise import draw_noise

FEATURE_DENOISE = 0.1
"""The denoise of latents whose features are read: timestep 100 of Stable Diffusion, in the range
of correspondence by diffusion features (DIFT, Tang et al. 2023)."""
MOST_CELLS = 32 * 32
"""Of a grid; a finer one is averaged down to about as many."""
DEPTH = 0.75
"""Of the transformer block whose tokens are read, as a fraction of all blocks."""


@contextmanager
def captured(modules: Sequence[nn.Module]) -> Iterator[list[Any]]:
    """Within, the outputs of `modules` are appended to the list, in the order they come."""
    outputs: list[Any] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs.append(output)

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def unet_levels(levels: Sequence[Any]) -> list[Any]:
    """The levels of a UNet's upward path, lowest first, whose outputs say best what is where.

    They are the second and the third of the three or four of Stable Diffusion 1, 2 and XL.
    """
    return list(levels[1:3])


def transformer_block(blocks: Sequence[nn.Module]) -> nn.Module:
    """The block of a transformer whose tokens say best what is where."""
    return blocks[round(DEPTH * (len(blocks) - 1))]


def token_grid(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Tokens `(n, rows * columns, c)`, row by row, as a grid `(n, c, rows, columns)`."""
    return tokens.transpose(1, 2).unflatten(2, (rows, columns))


def reduced(grid: Tensor) -> Tensor:
    """A grid `(n, c, rows, columns)` in float32, averaged down where it is finer than needed."""
    rows, columns = grid.shape[2:]
    if rows * columns <= MOST_CELLS:
        return grid.float()
    shrink = (MOST_CELLS / (rows * columns)) ** 0.5
    size = max(1, round(rows * shrink)), max(1, round(columns * shrink))
    return F.interpolate(grid.float(), size=size, mode="area")


def shared_noise(latents: Tensor, number: int) -> Tensor:
    """The noise of a draw: the same for all latents, so that it tells none of them apart."""
    noise = draw_noise(latents.shape[1:], 0, 0.0, number)
    return noise.to(latents).expand_as(latents)


def packed(grids: Sequence[Tensor]) -> Tensor:
    """Grids `(n, ...)` of several shapes as one tensor `(n, numbers)`."""
    return torch.cat([grid.flatten(1) for grid in grids], 1)


def unpacked(numbers: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The way back of `packed`, to grids of `shapes` without their first dimension."""
    parts = numbers.split([shape.numel() for shape in shapes], 1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]
