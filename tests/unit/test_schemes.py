from __future__ import annotations

import math

import pytest
import torch
from analytic import GaussianModel
from torch import Tensor
from ways.paper import SCHEMES, SchemeRun, cross_fade

from diffusion_interpolation.method.blend import slerp
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.method.noise import draw_noise
from diffusion_interpolation.method.path import Path
from diffusion_interpolation.models.prompts import PromptEmbeddings
from diffusion_interpolation.settings import FrameSettings

SHAPE = 3, 6, 6
PATH = Path((3, 3))


def keyframes(count: int = 3) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(2))


def run(model: GaussianModel | None = None, path: Path = PATH, **settings: object) -> SchemeRun:
    generator = torch.Generator().manual_seed(1)
    negative = PromptEmbeddings(torch.randn(1, 2, 4, generator=generator))
    positive = PromptEmbeddings(torch.randn(1, 2, 4, generator=generator))
    guide = Guide(positive, negative, cfg=2.0)
    return SchemeRun(model or GaussianModel(), path, guide, FrameSettings(**settings))


def denoised(noisy: Tensor, level: float, model: GaussianModel) -> Tensor:
    """By the model alone, under what every place of the guide of `run` is."""
    guidance = run().guide.at([0.5] * len(noisy), model, SHAPE[1:])
    return model.sample(noisy, model.schedule(level), guidance).latents


def test_a_cross_fade_is_straight_in_every_gap():
    pictures = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    frames = cross_fade(pictures, PATH)
    assert torch.equal(frames[::4], pictures)
    assert torch.allclose(frames[1], 0.75 * pictures[0] + 0.25 * pictures[1])
    assert torch.allclose(frames[6], (pictures[1] + pictures[2]) / 2)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_keyframes_are_kept_and_the_seed_decides_the_rest(scheme):
    ends = keyframes()
    frames = run().latents(scheme, ends)
    assert frames.shape == (9, *SHAPE) and frames.isfinite().all()
    assert torch.equal(frames[::4], ends)
    assert torch.equal(frames, run().latents(scheme, ends))
    other = run(seed=1).latents(scheme, ends)
    assert torch.equal(other, frames) == (scheme == "interpolate")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_frames_do_not_depend_on_the_batch(scheme):
    one, many = (run(GaussianModel(max_batch=size)) for size in (1, 16))
    ends = keyframes()
    assert torch.allclose(one.latents(scheme, ends), many.latents(scheme, ends), atol=1e-5)


def test_interpolate_only_is_slerp_of_clean_latents():
    ends = keyframes(2)
    frames = run(path=Path((3,))).latents("interpolate", ends)
    assert torch.allclose(frames[1], slerp(ends[:1], ends[1:], 0.25)[0], atol=1e-6)


def test_interpolate_denoise_uses_one_noise_and_most_of_it_half_way():
    model, ends = GaussianModel(), keyframes(2)
    frames = run(model, Path((3,))).latents("interpolate-denoise", ends)
    noise = draw_noise(SHAPE, 0, 0, 0)
    for index, level in ((1, 0.425), (2, 0.55), (3, 0.425)):
        a, s = model.scales(model.schedule(level))
        noisy = slerp(a * ends[:1] + s * noise, a * ends[1:] + s * noise, index / 4)
        assert torch.allclose(frames[[index]], denoised(noisy, level, model), atol=1e-5)


def test_did_denoises_all_frames_of_a_depth_together_from_level_to_level():
    model, ends = GaussianModel(max_batch=100), keyframes(2)
    frames = run(model, Path((3,))).latents("DID", ends)
    assert model.rows == [1, 3]
    noise = draw_noise(SHAPE, 0, 0, 0)
    at = run().guide.at([0.5], model, SHAPE[1:])
    whole, rest = model.schedule(0.55), model.schedule(0.3)
    assert whole.points[-len(rest.points) :] == rest.points

    def noised(level: float) -> Tensor:
        a, s = model.scales(model.schedule(level))
        return a * ends + s * noise

    high = noised(0.55)
    middle = model.sample(slerp(high[:1], high[1:], 0.5), whole[: -len(rest)], at).latents
    low = noised(0.3)
    quarter = model.sample(slerp(low[:1], middle, 0.5), rest, at).latents
    assert torch.allclose(frames[[2]], model.sample(middle, rest, at).latents, atol=1e-5)
    assert torch.allclose(frames[[1]], quarter, atol=1e-5)


def test_separate_noise_is_less_alike():
    """Of keyframes that are the same, only separate noise makes something else."""
    ends = keyframes(1).expand(2, *SHAPE)
    path = Path((1,))
    model = GaussianModel()
    a, s = model.scales(model.schedule(0.55))
    shared = run(model, path).latents("DID", ends)[1]
    alone = denoised(a * ends[:1] + s * draw_noise(SHAPE, 0, 0, 0), 0.55, model)[0]
    assert torch.allclose(shared, alone, atol=1e-4)
    separate = run(model, path).latents("DID, separate noise", ends)[1]
    assert (separate - shared).abs().max() > 0.1


def test_what_cannot_be_run_is_refused():
    with pytest.raises(ValueError, match="scheme is 'blend'; it must be one of"):
        run().latents("blend", keyframes())
    with pytest.raises(ValueError, match="denoise: got"):
        run(max_denoise=math.nan).latents("DID", keyframes())
