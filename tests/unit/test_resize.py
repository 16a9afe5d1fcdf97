"""Resizing on devices that cannot antialias."""

from __future__ import annotations

import pytest
import torch
from no_float64 import MPS, WithoutFloat64

from diffusion_interpolation.method.choice.candidates import thumbnails
from diffusion_interpolation.poses.detection import shrunk
from diffusion_interpolation.scoring.clip import normalise

PICTURES = torch.rand(2, 3, 48, 32, generator=torch.Generator().manual_seed(0))
USES = {
    "normalise": lambda pictures: normalise(pictures, 24),
    "thumbnails": lambda pictures: thumbnails(pictures, 16),
    "shrunk": lambda pictures: shrunk(pictures[0], 16)[0],
}


@pytest.mark.parametrize("use", USES)
def test_pictures_are_resized_where_a_device_cannot_antialias(use):
    wanted = USES[use](PICTURES)
    with WithoutFloat64():
        given = USES[use](PICTURES.to(MPS)).cpu()
    assert torch.equal(given.as_subclass(torch.Tensor), wanted)
    assert wanted.shape[-1] != PICTURES.shape[-1]
