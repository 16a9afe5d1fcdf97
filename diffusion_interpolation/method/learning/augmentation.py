"""Altered copies of pictures to learn from."""

from __future__ import annotations

import torch
from torch import Tensor


def augment(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Copies of pictures `(n, 3, h, w)` with the authors' changes.

    Brightness 0.1, contrast 0.2, saturation 0.2, hue 0.1, and a crop of 70 to 100 % of the area at
    nearly its own aspect ratio.
    """
    from torchvision.transforms import v2

    height, width = pictures.shape[2:]
    change = v2.Compose(
        [
            v2.ColorJitter(brightness=0.1, contrast=0.2, saturation=0.2, hue=0.1),
            v2.RandomResizedCrop(
                (height, width), scale=(0.7, 1.0), ratio=(0.9, 1.1), antialias=True
            ),
        ]
    )
    # torchvision draws from the global generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        return torch.stack([change(picture) for picture in pictures])
