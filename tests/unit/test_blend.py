from __future__ import annotations

import math

import pytest
import torch
from analytic import GaussianModel
from no_float64 import MPS, WithoutFloat64

from diffusion_interpolation.method.blend import lerp, noisy_blend, slerp
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.models.prompts import PromptEmbeddings


def _pair(
    seed: int = 0, shape: tuple[int, ...] = (3, 4, 8, 8)
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_slerp_of_right_angles():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert slerp(a, b, 1 / 3)[0].tolist() == pytest.approx(
        [math.cos(math.pi / 6), math.sin(math.pi / 6)]
    )


def test_slerp_takes_every_sample_as_one_vector_with_its_own_weight():
    a, b = _pair()
    mixed = slerp(a, b, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(mixed[0], a[0])
    assert torch.equal(mixed[2], b[2])
    assert torch.allclose(mixed[1], slerp(a[1:2], b[1:2], 0.5)[0])
    assert mixed[1].norm().item() == pytest.approx(a[1].norm().item(), rel=0.05)


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0])
def test_slerp_of_parallel_opposite_and_zero_is_finite(factor):
    a, _ = _pair()
    assert slerp(a, factor * a, 0.5).isfinite().all()
    assert torch.allclose(slerp(a, a, 0.5), a, atol=1e-5)


def test_lerp():
    a, b = _pair()
    assert torch.allclose(lerp(a, b, 0.25), 0.75 * a + 0.25 * b, atol=1e-6)


@pytest.mark.parametrize(("kept", "stretch"), [(0.675, 1.23), (0.508, 1.16), (0.278, 1.08)])
def test_what_each_blend_does_to_shared_noise(kept, stretch):
    """The paper's slerp stretches the noise, lerp and exact leave it; exact alone keeps the
    signal's size.
    """
    a, b = _pair(1, (1, 4, 64, 64))
    noise, _ = _pair(2, (1, 4, 64, 64))
    scales = math.sqrt(kept), math.sqrt(1 - kept)

    def parts(how: str) -> tuple[float, float]:
        x = noisy_blend(a, b, noise, 0.5, scales, how)
        share = (x * noise).sum() / noise.square().sum()
        return (share / scales[1]).item(), ((x - share * noise).std() / scales[0]).item()

    assert parts("slerp")[0] == pytest.approx(stretch, abs=0.02)
    assert parts("lerp") == pytest.approx((1, math.sqrt(0.5)), abs=0.02)
    assert parts("exact") == pytest.approx((1, 1), abs=0.02)


def test_unknown_blend():
    a, b = _pair()
    with pytest.raises(ValueError, match="blend: got 'cubic', needs one of slerp, lerp, exact"):
        noisy_blend(a, b, a, 0.5, (0.8, 0.6), "cubic")


@pytest.mark.parametrize("blend", [slerp, lerp])
def test_a_device_without_float64_gives_the_same(blend):
    a, b = _pair()
    weights = torch.tensor([0.0, 0.3, 1.0])
    want = blend(a, b, weights)
    with WithoutFloat64():
        with pytest.raises(TypeError, match="float64"):
            a.to(MPS).double()
        mixed = blend(a.to(MPS), b.to(MPS), weights.to(MPS))
        assert mixed.device == MPS
        assert torch.equal(mixed.cpu(), want)
        assert torch.equal(blend(a.to(MPS), b.to(MPS), 0.3).cpu(), blend(a, b, 0.3))


def test_a_path_is_guided_on_a_device_without_float64():
    texts = PromptEmbeddings(_pair(3, (3, 5, 8))[0]), PromptEmbeddings(_pair(4, (1, 5, 8))[0])
    model, positions = GaussianModel(), [0.5, 1.25]
    want = Guide(*texts).at(positions, model, (8, 8))
    with WithoutFloat64():
        model.device = MPS
        got = Guide(*texts).at(positions, model, (8, 8))
        assert got.positive.embeddings.device == MPS
        assert torch.equal(got.positive.embeddings.cpu(), want.positive.embeddings)
