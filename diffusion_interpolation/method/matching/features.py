"""Feature grids of pictures, by which things are recognised in two of them.

A model that makes pictures from noise has features that say what is where in a picture (DIFT, Tang
et al. 2023), and so has a vision transformer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.contract import Codec, PromptEmbeddings

FeatureExtractor = Callable[[Tensor, int], list[Tensor]]
"""Gives activations of some blocks, each `(n, c, rows, columns)`, for pictures `(n, 3, h, w)` in
0..1. They are means over so many noises, which are the same for all pictures."""

DRAWS = 4
"""Noises that features are averaged over."""
SIDE = 32
"""Rows or columns, whichever are more, that features should have."""
MOST_COPIES = 4
"""In each direction; more say little, because the autoencoder sees the same picture again."""


class FeatureModel(Codec, Protocol):
    """A model of pictures whose activations can be read."""

    def features(self, latents: Tensor, text: PromptEmbeddings, draws: int) -> list[Tensor]:
        """Activations of some blocks for clean latents `(n, c, h', w')`, as `FeatureExtractor`.

        `text` has a row for each latent, or one.
        """


def of_model(model: FeatureModel, text: PromptEmbeddings) -> FeatureExtractor:
    """The features of a model's activations under a `text` of one row."""

    def extract(pictures: Tensor, draws: int) -> list[Tensor]:
        return model.features(model.encode(pictures), text, draws)

    return extract


def picture_features(extract: FeatureExtractor, pictures: Tensor) -> list[Tensor]:
    """Activations on grids of about `SIDE` cells a side for pictures `(n, 3, h, w)`.

    Where the network's own grid is coarser, they are those of several copies of the pictures,
    shifted by parts of a cell and interleaved. All grids have the size of the finest.
    """
    grids = extract(pictures, DRAWS)
    finest = max((grid.shape[2:] for grid in grids), key=math.prod)
    copies = min(MOST_COPIES, round(SIDE / max(finest)))
    if copies > 1:
        grids = _interleaved(extract, pictures, finest, copies)
    size = max((grid.shape[2:] for grid in grids), key=math.prod)
    return [F.interpolate(grid, size=size, mode="bilinear") for grid in grids]


def _interleaved(
    extract: FeatureExtractor, pictures: Tensor, cells: torch.Size, copies: int
) -> list[Tensor]:
    """Activations of shifted copies, as grids that are `copies` times finer.

    The centres of the cells of all copies lie evenly spread; of pictures whose cells are no
    multiple of `copies` pixels, to half a pixel.
    """
    height, width = pictures.shape[2:]
    steps = [
        [round(side / count * (k - (copies - 1) / 2) / copies) for k in range(copies)]
        for side, count in zip((height, width), cells, strict=True)
    ]
    margin = max(max(map(abs, shifts)) for shifts in steps)
    padded = F.pad(pictures, [margin] * 4, mode="replicate")
    finer: list[Tensor] = []
    for row, down in enumerate(steps[0]):
        for column, right in enumerate(steps[1]):
            top, left = margin + down, margin + right
            copy = padded[:, :, top : top + height, left : left + width]
            grids = extract(copy, max(1, DRAWS // copies))
            finer = finer or [
                grid.new_empty(*grid.shape[:2], *(copies * side for side in grid.shape[2:]))
                for grid in grids
            ]
            for whole, grid in zip(finer, grids, strict=True):
                whole[:, :, row::copies, column::copies] = grid
    return finer


def joined(blocks: Sequence[Tensor]) -> Tensor:
    """Features `(n, c, rows, columns)` of norm 1 from activations of several blocks on one grid.

    Of each block the mean over all pictures and places is taken away, because it tells no place
    from another. Each block counts the same.
    """
    parts = [F.normalize(block - block.mean((0, 2, 3), keepdim=True), dim=1) for block in blocks]
    return torch.cat(parts, 1) / math.sqrt(len(parts))
