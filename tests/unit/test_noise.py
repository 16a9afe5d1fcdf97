from __future__ import annotations

import pytest
import torch

from diffusion_interpolation.method.noise import draw_noise, row_seed


def test_noise_depends_on_seed_position_and_candidate_alone():
    shape = (4, 8, 8)
    one = draw_noise(shape, 3, 0.5, 1)
    assert torch.equal(one, draw_noise(shape, 3, 0.5, 1))
    for other in ((4, 0.5, 1), (3, 0.25, 1), (3, 0.5, 2)):
        assert not torch.equal(one, draw_noise(shape, *other))
    assert abs(draw_noise((64, 64, 64), 0, 0.5, 0).std().item() - 1) < 0.01


def test_every_candidate_has_a_seed_of_its_own():
    seeds = {row_seed(s, p, c) for s in (0, 1) for p in (0.25, 0.5) for c in range(4)}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert row_seed(3, 0.5, 1) == row_seed(3, 0.5, 1)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=f"seed: got {seed}, needs 0 to {2**63 - 1}"):
        row_seed(seed, 0.5, 0)
