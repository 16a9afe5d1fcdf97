"""A map is kept where pictures have something in common, and nowhere else."""

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion_interpolation.method.matching.anchors import Anchors
from diffusion_interpolation.method.matching.correspondence import find


def grid(rows: int, columns: int, seed: int = 0, channels: int = 24) -> Tensor:
    """Smooth features that tell every cell from the others."""
    drawn = torch.randn(1, channels, rows, columns, generator=torch.Generator().manual_seed(seed))
    smooth = F.avg_pool2d(F.pad(drawn, (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    return F.normalize(smooth, dim=0)


def test_pictures_that_have_nothing_in_common_have_no_map():
    assert len(find(grid(16, 16), grid(16, 16, seed=1), 1.0)) == 0
    assert len(find(grid(16, 16), grid(16, 16), 1.0)) > 100


def test_anchors_are_a_map_of_pictures_that_have_nothing_in_common():
    anchors = Anchors(torch.tensor([[0.2, 0.3]]), torch.tensor([[0.4, 0.3]]))
    found = find(grid(16, 16), grid(16, 16, seed=1), 1.0, anchors)
    assert torch.equal(found.second, anchors.second) and found.weights.tolist() == [1.0]
