import math

import pytest
import torch
from torch.nn import functional as F

from diffusion_interpolation.method.matching import rigid_warp
from diffusion_interpolation.method.matching.rigid_warp import rigid_move, warp
from diffusion_interpolation.method.matching.transport import cell_centres, extent

ONES = torch.ones(40)


def points(count: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))


def turned(places: torch.Tensor, angle: float) -> torch.Tensor:
    """About the middle of a square picture."""
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (places - 0.5) @ turn.T + 0.5


def test_points_that_turn_take_the_plane_with_them():
    before, places = points(), points(100, 1)
    moved = rigid_move(places, before, turned(before, 0.6), ONES)
    assert torch.allclose(moved, turned(places, 0.6), atol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_few_points_shift_the_plane_and_do_not_turn_it(count):
    before, places, shift = points(1).repeat(count, 1), points(100, 1), torch.tensor([0.2, -0.1])
    moved = rigid_move(places, before, before + shift, torch.ones(count))
    assert torch.allclose(moved, places + shift, atol=1e-5)


def test_each_point_goes_where_it_should():
    before = cell_centres(3, 3, 1.0, ONES)
    after = before + 0.1 * (points(9) - 0.5)
    assert torch.allclose(rigid_move(before, before, after, torch.ones(9)), after, atol=2e-3)


def test_a_point_of_more_weight_counts_for_more():
    before, after = torch.tensor([[0.4, 0.5], [0.6, 0.5]]), torch.tensor([[0.4, 0.5], [0.6, 0.7]])
    [[_, evenly]] = rigid_move(torch.tensor([[0.5, 0.5]]), before, after, torch.tensor([1.0, 1.0]))
    [[_, mostly]] = rigid_move(torch.tensor([[0.5, 0.5]]), before, after, torch.tensor([0.1, 1.0]))
    assert evenly < 0.61 < mostly < 0.7


def test_parts_make_up_the_whole(monkeypatch):
    before, places = points(), points(100, 1)
    whole = rigid_move(places, before, points(40, 2), ONES)
    monkeypatch.setattr(rigid_warp, "MOST_PAIRS", 700)
    assert torch.allclose(rigid_move(places, before, points(40, 2), ONES), whole, atol=1e-5)


def disc(centre: tuple[float, float], size: tuple[int, int]) -> torch.Tensor:
    """A soft white disc on black at `centre` in sides, in a picture `(3, height, width)`."""
    places = cell_centres(*size, size[1] / size[0], ONES)
    away = (places - torch.tensor(centre)).norm(dim=1)
    return torch.sigmoid((0.06 - away) * 200).view(1, *size).expand(3, -1, -1)


@pytest.mark.parametrize("size", [(64, 64), (96, 96), (64, 128), (150, 60)])
def test_what_is_at_a_point_comes_to_where_it_goes(size):
    aspect = size[1] / size[0]
    width, height = extent(aspect)
    start, end = (0.4 * width, 0.5 * height), (0.6 * width, 0.45 * height)
    edges = torch.tensor([[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]])
    before = torch.cat([torch.tensor([start]), edges])
    after = torch.cat([torch.tensor([end]), edges])
    moved = warp(disc(start, size), before, after, torch.ones(5), aspect)
    off = (moved - disc(end, size)).abs()
    assert off.mean() < 0.1 * (disc(start, size) - disc(end, size)).abs().mean()


def test_points_that_stay_leave_the_picture_alone():
    picture = torch.rand(3, 80, 80, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(warp(picture, points(), points(), ONES, 1.0), picture, atol=1e-4)


def test_the_coarse_field_is_as_good_as_one_of_every_pixel(monkeypatch):
    picture = F.interpolate(torch.rand(1, 3, 12, 12), size=(192, 192), mode="bicubic")[0]
    before = cell_centres(6, 6, 1.0, ONES)
    after = before + 0.08 * (points(36) - 0.5)
    coarse = warp(picture, before, after, torch.ones(36), 1.0)
    monkeypatch.setattr(rigid_warp, "FIELD", 192)
    exact = warp(picture, before, after, torch.ones(36), 1.0)
    assert (coarse - exact).abs().mean() < 0.002
