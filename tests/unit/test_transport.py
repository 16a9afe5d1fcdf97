import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion_interpolation.method.matching.transport import (
    EPSILON,
    cell_centres,
    extent,
    match,
    sample_grid,
    transport,
)


def grid(rows: int, columns: int, seed: int = 0, channels: int = 24) -> Tensor:
    """Smooth features that tell every cell from the others."""
    drawn = torch.randn(1, channels, rows, columns, generator=torch.Generator().manual_seed(seed))
    smooth = F.avg_pool2d(F.pad(drawn, (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    return F.normalize(smooth, dim=0)


def test_cells_are_square_in_sides_whatever_the_aspect():
    centres = cell_centres(8, 16, 2.0, torch.zeros(1))
    width, height = extent(2.0)
    assert width * height == pytest.approx(1) and width / height == pytest.approx(2)
    assert torch.allclose(centres[1] - centres[0], torch.tensor([width / 16, 0]))
    assert torch.allclose(centres[16] - centres[0], torch.tensor([0, height / 8]))
    assert torch.allclose(centres.mean(0), torch.tensor([width / 2, height / 2]))


def test_a_grid_sampled_at_its_cells_is_itself():
    values = grid(6, 9)
    assert torch.allclose(
        sample_grid(values, cell_centres(6, 9, 1.5, values), 1.5), values.flatten(1).T, atol=1e-5
    )


def test_a_plan_leaves_no_mass_behind():
    cost = torch.rand(30, 40, generator=torch.Generator().manual_seed(0))
    plan = transport(cost)
    assert torch.allclose(plan.sum(0), torch.full((40,), 1 / 40), rtol=1e-3)
    assert torch.allclose(plan.sum(1), torch.full((30,), 1 / 30), rtol=1e-3)


def test_the_highest_cost_stays_finite():
    cost = torch.full((20, 20), 2.8)
    cost[:, 0] = 0
    assert 2.8 / EPSILON < 60
    assert transport(cost).isfinite().all()


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (12, 20)])
def test_equal_pictures_are_matched_place_by_place(rows, columns):
    features = grid(rows, columns)
    found = match(features, features, columns / rows)
    assert len(found.weights) == 2 * rows * columns
    sure = found.weights > 0.3
    assert sure.float().mean() > 0.5
    assert (found.first - found.second)[sure].norm(dim=1).max() < 0.02


def test_a_part_that_moved_is_found():
    """It lies five cells further to the right in the second picture, on the same background."""
    background, part = grid(20, 20, 0), grid(6, 6, 1)
    first, second = background.clone(), background.clone()
    first[:, 7:13, 3:9], second[:, 7:13, 8:14] = part, part
    found = match(first, second, 1.0)
    inside = (found.first > torch.tensor([4 / 20, 8 / 20])) & (
        found.first < torch.tensor([8 / 20, 12 / 20])
    )
    inside = inside.all(1) & (found.weights > 0.2)
    assert inside.sum() > 16
    moves = (found.second - found.first)[inside]
    assert torch.allclose(moves.median(0).values, torch.tensor([5 / 20, 0.0]), atol=0.02)
