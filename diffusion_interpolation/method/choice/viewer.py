"""Makes the pictures of frames from their latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...models.contract import LatentDiffusionModel
from ..colours.mapped import Colours, as_made
from ..path import Path
from .candidate_sampler import decode


@dataclass(frozen=True)
class Viewer:
    """Decodes frames of a path, and gives each the colours that it should have at its position."""

    model: LatentDiffusionModel
    path: Path
    colours: Colours = as_made

    def __call__(self, latents: Tensor, frames: Sequence[int]) -> Tensor:
        """Return the pictures `(n, 3, h, w)` of latents, whose frames have these numbers.

        Raises `DecodeError` where the autoencoder fails.
        """
        pictures = decode(self.model, latents)
        return self.colours(pictures, [self.path.position(frame) for frame in frames])
