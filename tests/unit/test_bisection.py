from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from analytic import GaussianModel

from diffusion_interpolation.bisection import Bisection, DecodeError, Settings
from diffusion_interpolation.guide import Guide
from diffusion_interpolation.model import Text
from diffusion_interpolation.path import Path, draw_noise, row_seed

SHAPE = (4, 4, 4)


def _texts() -> tuple[Text, Text]:
    generator = torch.Generator().manual_seed(1)
    return Text(torch.randn(2, 3, 5, generator=generator)), Text(
        torch.randn(1, 3, 5, generator=generator)
    )


def _keyframes() -> torch.Tensor:
    return torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(2))


def _bisection(model: GaussianModel, frames: int = 9, **more: object) -> Bisection:
    positive, negative = _texts()
    return Bisection(model, Path.of(frames, 2), Guide(positive, negative, cfg=7.5), **more)


def _slerp(a: np.ndarray, b: np.ndarray, f: float) -> np.ndarray:
    angle = math.acos((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))
    return (math.sin((1 - f) * angle) * a + math.sin(f * angle) * b) / math.sin(angle)


def _by_the_book(
    latents: dict[int, np.ndarray], model: GaussianModel, seed: int
) -> dict[int, np.ndarray]:
    """Step 5 of the method for 9 frames, one frame at a time, straight from its formulas."""
    positive, negative = (text.states.double().numpy() for text in _texts())
    for depth, indices in enumerate([[4], [2, 6], [1, 3, 5, 7]], start=1):
        gap = 2 ** (3 - depth)
        level = 0.55 + (0.30 - 0.55) * (depth - 1) / 2
        steps = [t for t in model.grid if t <= level * 1000][::-1]
        for i in indices:
            e = draw_noise(SHAPE, seed, i / 8, 0).double().numpy()
            a, s = np.sqrt(float(model.kept[steps[0]])), np.sqrt(1 - float(model.kept[steps[0]]))
            x = _slerp(a * latents[i - gap] + s * e, a * latents[i + gap] + s * e, 0.5)
            c = _slerp(positive[0], positive[1], i / 8)
            for now, then in zip(steps, [*steps[1:], -1], strict=True):
                kept = float(model.kept[now])
                a, s = math.sqrt(kept), math.sqrt(1 - kept)
                after = float(model.kept[then]) if then >= 0 else 1.0
                variance = kept * model.spread**2 + s * s
                eps_u = s * (x - a * negative.mean()) / variance
                eps_c = s * (x - a * c.mean()) / variance
                eps = eps_u + 7.5 * (eps_c - eps_u)
                x = math.sqrt(after) * (x - s * eps) / a + math.sqrt(1 - after) * eps
            latents[i] = x
    return latents


def test_agrees_with_the_method_written_out():
    model = GaussianModel()
    keyframes = _keyframes()
    frames = {f.index: f for f in _bisection(model, settings=Settings(seed=7)).frames(keyframes)}
    ends = {0: keyframes[0].double().numpy(), 8: keyframes[1].double().numpy()}
    expected = _by_the_book(ends, model, seed=7)
    assert sorted(frames) == list(range(1, 8))
    for index, frame in frames.items():
        scale = max(1.0, float(np.abs(expected[index]).max()))
        assert np.abs(frame.latent.numpy() - expected[index]).max() < 1e-5 * scale


def test_frames_do_not_depend_on_the_batch():
    def scorer(pictures: torch.Tensor) -> torch.Tensor:
        return -(pictures - 0.4).square().mean((1, 2, 3))

    results = []
    for batch_size in (1, 5, 32):
        bisection = _bisection(GaussianModel(batch_size=batch_size), frames=17, scorer=scorer)
        results.append({f.index: f for f in bisection.frames(_keyframes())})
    for other in results[1:]:
        for index, frame in results[0].items():
            assert torch.allclose(frame.latent, other[index].latent, atol=1e-6)
            assert frame.candidate == other[index].candidate
            assert frame.scores == pytest.approx(other[index].scores, abs=1e-6)


def test_the_best_of_falling_numbers_of_candidates_is_kept():
    bisection = _bisection(GaussianModel(), scorer=lambda pictures: pictures.mean((1, 2, 3)))
    for frame in bisection.frames(_keyframes()):
        assert len(frame.scores) == {1: 8, 2: 7, 3: 6}[frame.depth]
        assert frame.scores[frame.candidate] == max(frame.scores)
        assert frame.picture.mean().item() == pytest.approx(max(frame.scores))


def test_depths_run_in_full_batches_and_frames_stream():
    model = GaussianModel(batch_size=4)
    bisection = _bisection(model, frames=17)
    stream = bisection.frames(_keyframes())
    assert [frame.depth for frame, _ in zip(stream, range(2), strict=False)] == [1, 2]
    assert model.rows == [1, 2]
    list(bisection.frames(_keyframes()))
    assert model.rows[-5:] == [1, 2, 4, 4, 4]


def test_finished_frames_are_taken_as_they_are():
    first = list(_bisection(GaussianModel()).frames(_keyframes()))
    done = {frame.index: frame.latent for frame in first[:4]}
    rest = list(_bisection(GaussianModel()).frames(_keyframes(), finished=done))
    assert [f.index for f in rest] == [f.index for f in first[4:]]
    assert all(torch.equal(a.latent, b.latent) for a, b in zip(rest, first[4:], strict=True))


def test_another_number_of_keyframes_is_refused():
    with pytest.raises(ValueError, match="keyframes: got 3, the path has 2"):
        next(_bisection(GaussianModel()).frames(torch.zeros(3, *SHAPE)))


def test_a_batch_that_shrinks_on_the_way_loses_nothing():
    class Shrinking(GaussianModel):
        def denoise(self, noisy, level, guidance):
            if len(noisy) > 12:
                self.batch_size = 8
            return super().denoise(noisy, level, guidance)

    keyframes = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(2))
    positive, negative = _texts()
    path, guide = Path.of(33, 5), Guide(positive.rows([0]), negative)
    found = []
    for model in (Shrinking(batch_size=16), GaussianModel(batch_size=4)):
        bisection = Bisection(model, path, guide, scorer=lambda p: p.mean((1, 2, 3)))
        found.append({f.index: f.latent for f in bisection.frames(keyframes)})
    assert len(found[0]) == 28
    assert all(torch.allclose(found[0][i], found[1][i], atol=1e-6) for i in found[1])


def test_numbers_that_are_not_finite_end_the_run():
    with pytest.raises(FloatingPointError, match="frames: the model gave numbers"):
        list(_bisection(GaussianModel(spread=float("nan"))).frames(_keyframes()))


def test_every_row_has_its_own_seed_for_the_sampler():
    seen = []

    class Watched(GaussianModel):
        def denoise(self, noisy, level, guidance):
            seen.extend(guidance.seeds)
            return super().denoise(noisy, level, guidance)

    settings = Settings(candidates=2, seed=7)
    bisection = _bisection(
        Watched(batch_size=3), settings=settings, scorer=lambda p: p.mean((1, 2, 3))
    )
    list(bisection.frames(_keyframes()))
    want = [row_seed(7, slot / 8, n) for slot in (4, 2, 6, 1, 3, 5, 7) for n in range(2)]
    assert seen == want


def test_what_was_made_before_a_decoder_failed_is_not_lost():
    class Failing(GaussianModel):
        left = 1

        def decode(self, latents):
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("no memory")
            return super().decode(latents)

    frames = _bisection(Failing()).frames(_keyframes())
    assert next(frames).index == 4
    with pytest.raises(DecodeError, match=r"a candidate cannot be decoded \(no memory\)"):
        next(frames)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(candidates=0), "candidates: got 0"),
        (Settings(highest=0.2, lowest=0.3), "noise levels"),
        (Settings(seed=-1), "seed: got -1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        settings.check()
    with pytest.raises(ValueError, match=message):
        next(_bisection(GaussianModel(), settings=settings).frames(_keyframes()))
