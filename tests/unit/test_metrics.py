from __future__ import annotations

import math

import pytest
import torch
from support.distances import frechet_distance, lpips_distance
from support.limbs import all_limbs
from support.puppets import SIZE, held_out
from torch import Tensor
from torch.nn import functional as F

from diffusion_interpolation.demo import world
from diffusion_interpolation.scoring.metrics import feature_distance, measure_path


def grey(*values: float) -> Tensor:
    """Pictures of one grey each."""
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 4, 4)


def difference(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean((1, 2, 3))


def test_a_straight_way_at_constant_speed():
    found = measure_path(grey(0, 0.25, 0.5, 0.75, 1), difference)
    assert found.ppl == pytest.approx(1) and found.rppd == pytest.approx(1)
    assert found.pdv == pytest.approx(0, abs=1e-12) and found.step_next_to_inputs == pytest.approx(
        1
    )


def test_a_detour_with_a_jump_beside_the_second_input():
    found = measure_path(grey(0, 0.1, 0.0, 0.1, 0.5), difference)
    assert found.steps.tolist() == pytest.approx([0.1, 0.1, 0.1, 0.4])
    assert found.ppl == pytest.approx(0.7) and found.rppd == pytest.approx(1.4)
    assert found.pdv == pytest.approx(3 * 0.075**2 / 4 + 0.225**2 / 4)
    assert found.step_next_to_inputs == pytest.approx(4)


def test_ends_that_are_alike_and_too_few_frames():
    assert measure_path(grey(0, 1, 0), difference).rppd == math.inf
    with pytest.raises(ValueError, match="got 2, needs at least 3"):
        measure_path(grey(0, 1), difference)


def test_features_of_length_one_are_held_apart_by_their_chord():
    distance = feature_distance(lambda pictures: pictures.mean((2, 3))[:, :2])
    a, b = torch.zeros(2, 1, 3, 2, 2)
    a[:, 0], b[:, 1] = 1, 1
    assert distance(a, b).tolist() == pytest.approx([math.sqrt(2)])


def test_frechet_distance_of_known_gaussians():
    """In one dimension `(m - n)^2 + (s - t)^2`; directions apart add up."""
    generator = torch.Generator().manual_seed(0)
    plain = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    # exactly mean 0 and covariance 1
    plain = plain - plain.mean(0)
    plain = plain @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(plain.T))).T
    other = plain * torch.tensor([2.0, 0.5]) + torch.tensor([3.0, 0.0])
    assert frechet_distance(plain, other) == pytest.approx(9 + 1 + 0.25)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert frechet_distance(plain @ turn, other @ turn) == pytest.approx(10.25)
    assert frechet_distance(other, other) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_fewer_rows_than_features():
    rows = torch.randn(5, 40, generator=torch.Generator().manual_seed(1))
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-4)
    with pytest.raises(ValueError, match="needs at least 2 of each"):
        frechet_distance(rows, rows[:1])


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """AlexNet as torchvision has it and a file of it; of random numbers, nobody's training."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    network = torchvision.models.alexnet(weights=None).eval()
    file = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(network.state_dict(), file)
    return network, file


@torch.no_grad()
def test_lpips_is_over_the_features_of_the_file(alexnet):
    """Held against its formula, on torchvision's own network."""
    lpips = pytest.importorskip("lpips")
    network, file = alexnet
    a, b = torch.rand(2, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    heads = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    shift, scale = heads.scaling_layer.shift, heads.scaling_layer.scale
    both, wanted = (2 * torch.cat([a, b]) - 1 - shift) / scale, torch.zeros(3)
    taps = {1: heads.lin0, 4: heads.lin1, 7: heads.lin2, 9: heads.lin3, 11: heads.lin4}
    for number, layer in enumerate(network.features):
        both = layer(both)
        if number in taps:
            first, second = F.normalize(both, dim=1).chunk(2)
            weights = taps[number].model[-1].weight
            wanted += F.conv2d((first - second).square(), weights).mean((1, 2, 3))
    distance = lpips_distance(file)
    assert torch.allclose(distance(a, b), wanted, rtol=1e-4)
    assert distance(a, a).tolist() == [0, 0, 0] and distance(a, b).min() > 0


def test_lpips_wants_a_file_of_alexnet(alexnet, tmp_path):
    pytest.importorskip("lpips")
    other, text, empty = (tmp_path / f"{name}.pth" for name in ("other", "text", "empty"))
    torch.save({"features.0.weight": torch.zeros(1)}, other)
    text.write_text("none")
    empty.touch()
    for file in (tmp_path / "none.pth", other, text, empty):
        with pytest.raises(ValueError, match=f"lpips: .*{file.name} is not a file"):
            lpips_distance(file)


def without_forearms(puppets: Tensor) -> Tensor:
    """Pictures of puppets with the background in the place of both forearms."""
    pictures, at = world.render(puppets, SIZE), world.joints(puppets) * SIZE
    for elbow, wrist in ((3, 4), (6, 7)):
        for share in torch.linspace(0, 1, 9):
            places = at[:, elbow].lerp(at[:, wrist], share)
            for picture, place, puppet in zip(pictures, places, puppets, strict=True):
                x, y = (place - 3).round().clamp(0, SIZE).int().tolist()
                picture[:, y : y + 7, x : x + 7] = puppet[world.BACK, None, None]
    return pictures


def test_limbs_are_seen_where_they_are_and_missed_where_not():
    puppets = held_out(20, seed=0)
    drawn = all_limbs(world.render(puppets, SIZE), puppets)
    armless = all_limbs(without_forearms(puppets), puppets)
    assert drawn.all() and armless.float().mean() < 0.1
