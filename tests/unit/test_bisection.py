from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from analytic import CLEAN, GaussianModel

from diffusion_interpolation.method.bisection import Bisection
from diffusion_interpolation.method.choice.candidate_sampler import DecodeError
from diffusion_interpolation.method.choice.candidates import Frame, steps_before_ranking
from diffusion_interpolation.method.choice.frame_cache import FrameCache, Store
from diffusion_interpolation.method.choice.picks import Picks
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.method.matching.moved_neighbours import AlongMap
from diffusion_interpolation.method.noise import draw_noise, row_seed
from diffusion_interpolation.method.path import Path
from diffusion_interpolation.models.prompts import PromptEmbeddings
from diffusion_interpolation.scoring.contract import EmbeddingScorer
from diffusion_interpolation.scoring.likeness import likeness, likeness_scorer
from diffusion_interpolation.settings import PAPER, FrameSettings

SHAPE = (4, 4, 4)
BRIGHTEST = EmbeddingScorer(lambda pictures: pictures.flatten(1), lambda seen: seen.mean(1))
ANGLES = EmbeddingScorer(
    lambda pictures: torch.nn.functional.normalize(pictures.flatten(1), dim=1),
    lambda seen: seen[:, 0],
)
"""Sees unit vectors."""
LATE, EARLY = (FrameSettings(rank_fraction=share) for share in (1.0, 0.5))
"""Candidates ranked when they are finished, and early."""


def _texts() -> tuple[PromptEmbeddings, PromptEmbeddings]:
    generator = torch.Generator().manual_seed(1)
    return PromptEmbeddings(torch.randn(2, 3, 5, generator=generator)), PromptEmbeddings(
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
    positive, negative = (text.embeddings.double().numpy() for text in _texts())
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
    frames = {
        f.info.index: f
        for f in _bisection(model, settings=replace(PAPER, seed=7)).frames(keyframes)
    }
    ends = {0: keyframes[0].double().numpy(), 8: keyframes[1].double().numpy()}
    expected = _by_the_book(ends, model, seed=7)
    assert sorted(frames) == list(range(1, 8))
    for index, frame in frames.items():
        scale = max(1.0, float(np.abs(expected[index]).max()))
        assert np.abs(frame.latent.numpy() - expected[index]).max() < 1e-5 * scale


@pytest.mark.parametrize("settings", [LATE, EARLY])
def test_frames_do_not_depend_on_the_batch(settings):
    """Candidates of a frame that come in several batches are ranked when all are there."""
    results = []
    for max_batch in (1, 2, 5, 32):
        model = _Soft(max_batch=max_batch)
        bisection = _bisection(model, 17, scorer=_Likes().scorer, settings=settings)
        results.append({f.info.index: f for f in bisection.frames(_keyframes())})
    for other in results[1:]:
        for index, frame in results[0].items():
            assert torch.allclose(frame.latent, other[index].latent, atol=1e-6)
            assert frame.info.candidate == other[index].info.candidate
            assert frame.info.scores == pytest.approx(other[index].info.scores, abs=1e-2)
            picture = model.decode(other[index].latent[None])[0]
            assert torch.allclose(picture, other[index].picture, atol=1e-6)


def test_the_best_of_falling_numbers_of_candidates_is_kept():
    said = []

    def rank(seen: torch.Tensor) -> torch.Tensor:
        said.extend(seen.mean(1).tolist())
        return seen.mean(1)

    scorer = EmbeddingScorer(BRIGHTEST.encoder, rank)
    bisection = _bisection(_Soft(), scorer=scorer, settings=PAPER)
    frames = list(bisection.frames(_keyframes()))
    for frame in frames:
        count = len(frame.info.scores)
        assert count == {1: 8, 2: 7, 3: 6}[frame.info.depth]
        assert frame.info.scores[frame.info.candidate] == max(frame.info.scores)
        own, said = said[:count], said[count:]
        assert frame.picture.mean().item() == pytest.approx(max(own))
        assert frame.info.scores == pytest.approx(
            _standardised(torch.tensor(own)).tolist(), abs=1e-2
        )
    assert said == []


def _standardised(values: torch.Tensor) -> torch.Tensor:
    return (values - values.mean()) / values.std(correction=0)


def _seen(latents: torch.Tensor) -> torch.Tensor:
    """What `ANGLES` sees in pictures of latents."""
    return ANGLES.encoder(_Soft().decode(latents))


def _candidates(frame: Frame, **more: object) -> torch.Tensor:
    """The latents of all candidates of a frame, each picked in a run of its own."""
    picked = (
        {
            f.info.index: f
            for f in _bisection(picks=Picks.parse(f"{frame.info.position}: {n}"), **more).frames(
                _keyframes()
            )
        }
        for n in range(len(frame.info.scores))
    )
    return torch.stack([frames[frame.info.index].latent for frames in picked])


def test_a_score_is_of_the_prompt_and_of_the_cosine_with_both_neighbours():
    """Each in standard deviations of the frame's candidates."""
    frames, more = {}, {"model": _Soft(), "frames": 3, "scorer": ANGLES}
    for smoothness_weight in (0.0, 3.0, 100.0):
        settings = replace(LATE, smoothness_weight=smoothness_weight)
        (frames[smoothness_weight],) = _bisection(settings=settings, **more).frames(_keyframes())
    seen = _seen(_candidates(frames[3.0], settings=LATE, **more))
    prompts = _standardised(ANGLES.rank(seen))
    similarities = _standardised(seen @ _seen(_keyframes()).mean(0))
    for smoothness_weight, frame in frames.items():
        want = prompts + smoothness_weight * similarities
        assert frame.info.scores == pytest.approx(want.tolist(), rel=1e-2, abs=1e-2)
        assert frame.info.candidate == want.argmax()
    assert len({frames[0.0].info.candidate, frames[100.0].info.candidate}) == 2


def test_similarity_is_to_neighbours_of_any_depth_and_run():
    """Frames that an earlier run has finished are looked at, too, and weights are of places."""
    settings = replace(LATE, smoothness_weight=3.0, candidates=3)
    more = {"model": _Soft(), "frames": 4, "scorer": ANGLES, "settings": settings}
    first, second = _bisection(**more).frames(_keyframes())
    assert (first.info.index, second.info.index) == (1, 2)
    [resumed] = _bisection(**more).frames(_keyframes(), {1: first.latent})
    assert resumed.info.scores == pytest.approx(second.info.scores, abs=1e-4)
    seen = _seen(_candidates(second, **more))
    ends = _seen(torch.stack([first.latent, _keyframes()[1]]))
    want = _standardised(ANGLES.rank(seen)) + 3 * _standardised(seen @ ends.mean(0))
    assert second.info.scores == pytest.approx(want.tolist(), rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("settings", [LATE, EARLY])
def test_pictures_have_their_colours_and_latents_are_as_made(settings):
    """Each is as bright as its position says; the scorer has seen the same, of neighbours, too."""

    def darker(frames: torch.Tensor, positions: list[float]) -> torch.Tensor:
        return frames * torch.tensor([1 - 0.5 * t for t in positions])[:, None, None, None]

    shown: list[torch.Tensor] = []

    def see(pictures: torch.Tensor) -> torch.Tensor:
        shown.extend(pictures)
        return ANGLES.encoder(pictures)

    scorer = EmbeddingScorer(see, lambda seen: seen[:, 0])
    model, more = _Soft(), {"settings": settings, "scorer": scorer}
    along = AlongMap(colours=darker)
    made = list(_bisection(model, frames=5, along=along, **more).frames(_keyframes()))
    assert len(made) == 3
    for frame in made:
        wanted = darker(model.decode(frame.latent[None]), [frame.info.position])[0]
        assert torch.allclose(frame.picture, wanted, atol=1e-6)
        assert any(torch.allclose(frame.picture, one, atol=1e-6) for one in shown)
    ends = darker(model.decode(_keyframes()), [0, 1])
    assert all(any(torch.allclose(end, one, atol=1e-6) for one in shown) for end in ends)


@pytest.mark.parametrize("settings", [LATE, EARLY])
def test_the_choice_does_not_depend_on_the_units_of_a_clip(settings):
    """One CLIP's cosines lie fifty times closer together than the other's, its scores apart."""

    def embed(pictures: torch.Tensor) -> torch.Tensor:
        seen = ANGLES.encoder(pictures)
        return torch.cat([0.02**0.5 * seen, 0.98**0.5 * torch.ones_like(seen[:, :1])], 1)

    def rank(seen: torch.Tensor) -> torch.Tensor:
        return 5 + 30 * seen[:, 0]

    near = EmbeddingScorer(embed, rank)
    frames, others = (_run(scorer=scorer, settings=settings)[0] for scorer in (ANGLES, near))
    assert _changed(frames, others) == []
    for index, frame in frames.items():
        assert frame.info.candidate == others[index].info.candidate
        assert frame.info.scores == pytest.approx(others[index].info.scores, abs=0.1)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_likeness_takes_the_candidate_that_is_most_like_both_neighbours(fraction):
    """By what the autoencoder sees in its picture, not by the latent that was made."""
    settings = FrameSettings(candidates=4, rank_fraction=fraction)
    model = _Kept()
    bisection = _bisection(model, 3, scorer=likeness_scorer(model), settings=settings)
    [frame] = bisection.frames(_keyframes())
    seen, ends = (_unit((x / 2).tanh()) for x in (model.predictions[0], _keyframes()))
    cosines = (seen @ ends.T).mean(1)
    assert frame.info.candidate == cosines.argmax()
    spread = (cosines - cosines.mean()) / cosines.std(correction=0)
    assert frame.info.scores == pytest.approx((4.0 * spread).tolist(), abs=1e-3)
    assert likeness(settings, model)
    assert likeness(replace(settings, smoothness_weight=0), model) is None


def _unit(latents: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(latents.flatten(1), dim=1)


@pytest.mark.parametrize("settings", [LATE, EARLY])
def test_a_scorer_without_an_encoder_ranks_by_its_number_alone(settings):
    """At any weight, and a cache keeps what it said."""
    settings, cache = replace(settings, smoothness_weight=4.0, candidates=4), _cache()
    frames, again = (_run(settings=settings, scorer=_darkness, cache=cache)[0] for _ in range(2))
    seen = EmbeddingScorer(lambda pictures: pictures.flatten(1), lambda seen: -seen.mean(1))
    alone = replace(settings, smoothness_weight=0.0)
    want, compared = (_run(settings=s, scorer=seen)[0] for s in (alone, settings))
    assert _changed(frames, want) == _changed(frames, again) == []
    for index, frame in frames.items():
        assert frame.info.scores == pytest.approx(want[index].info.scores, abs=1e-3)
        assert frame.info.scores == again[index].info.scores and frame.embedding is None
    assert _changed(frames, compared)


def _darkness(pictures: torch.Tensor) -> torch.Tensor:
    """A scorer that is a function."""
    return -pictures.flatten(1).mean(1)


@pytest.mark.parametrize("settings", [LATE, EARLY])
def test_of_equal_candidates_the_first_is_taken(settings):
    alike = EmbeddingScorer(
        lambda pictures: torch.ones(len(pictures), 1), lambda seen: 0.3 * seen[:, 0]
    )
    frames, _ = _run(scorer=alike, settings=settings)
    for frame in frames.values():
        assert frame.info.candidate == 0 and set(frame.info.scores) == {0.0}


def test_another_weight_ranks_the_same_candidates_again():
    cache, chosen = _cache(), {}
    for smoothness_weight in (4.0, 0.0, 4.0):
        for settings in (
            replace(LATE, smoothness_weight=smoothness_weight),
            replace(EARLY, smoothness_weight=smoothness_weight),
        ):
            fresh, all_rows = _run(settings=settings, scorer=ANGLES)
            again, rows = _run(settings=settings, scorer=ANGLES, cache=cache)
            assert _same(again, fresh)
            chosen[settings] = [fresh[index].info.candidate for index in sorted(fresh)]
            if smoothness_weight == 0:
                assert 0 < rows <= all_rows - 4, "those of the frame half-way are known"
    assert rows == 0, "so are all of a weight that was tried before"
    assert len(set(map(tuple, chosen.values()))) > 1


def test_depths_run_in_full_batches_and_frames_stream():
    model = GaussianModel(max_batch=4)
    bisection = _bisection(model, frames=17)
    stream = bisection.frames(_keyframes())
    assert [frame.info.depth for frame, _ in zip(stream, range(2), strict=False)] == [1, 2]
    assert model.rows == [1, 2]
    list(bisection.frames(_keyframes()))
    assert model.rows[-5:] == [1, 2, 4, 4, 4]


def test_finished_frames_are_taken_as_they_are():
    first = list(_bisection(GaussianModel()).frames(_keyframes()))
    done = {frame.info.index: frame.latent for frame in first[:4]}
    rest = list(_bisection(GaussianModel()).frames(_keyframes(), finished=done))
    assert [f.info.index for f in rest] == [f.info.index for f in first[4:]]
    assert all(torch.equal(a.latent, b.latent) for a, b in zip(rest, first[4:], strict=True))


def test_another_number_of_keyframes_is_refused():
    with pytest.raises(ValueError, match="keyframes: got 3, needs 2 for this path"):
        next(_bisection(GaussianModel()).frames(torch.zeros(3, *SHAPE)))


def test_a_batch_that_shrinks_on_the_way_loses_nothing():
    class Shrinking(GaussianModel):
        def sample(self, noisy, schedule, guidance):
            if len(noisy) > 12:
                self.max_batch = 8
            return super().sample(noisy, schedule, guidance)

    keyframes = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(2))
    positive, negative = _texts()
    path, guide = Path.of(33, 5), Guide(positive.rows([0]), negative)
    found = []
    for model in (Shrinking(max_batch=16), GaussianModel(max_batch=4)):
        bisection = Bisection(model, path, guide, scorer=BRIGHTEST)
        found.append({f.info.index: f.latent for f in bisection.frames(keyframes)})
    assert len(found[0]) == 28
    assert all(torch.allclose(found[0][i], found[1][i], atol=1e-6) for i in found[1])


def test_numbers_that_are_not_finite_end_the_run():
    with pytest.raises(FloatingPointError, match="frames: the model gave numbers"):
        list(_bisection(GaussianModel(spread=float("nan"))).frames(_keyframes()))


def test_every_row_has_its_own_seed_for_the_sampler():
    model, settings = GaussianModel(max_batch=3), replace(LATE, candidates=2, seed=7)
    list(_bisection(model, settings=settings, scorer=BRIGHTEST).frames(_keyframes()))
    want = [row_seed(7, slot / 8, n) for slot in (4, 2, 6, 1, 3, 5, 7) for n in range(2)]
    assert [seed for seeds in model.seeds for seed in seeds] == want


def test_the_best_goes_on_after_an_early_ranking_with_another_seed():
    """The noise that a sampler adds would be the same as before otherwise."""
    model = _Soft()
    frames, _ = _run(settings=EARLY, model=model)
    first, second = model.seeds[:2]
    assert first == [row_seed(0, 0.5, n) for n in range(4)]
    assert second == [(row_seed(0, 0.5, frames[4].info.candidate) + 1) % 2**64]


def test_what_was_made_before_a_decoder_failed_is_not_lost():
    class Failing(GaussianModel):
        left = 1

        def decode(self, latents):
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("no memory")
            return super().decode(latents)

    frames = _bisection(Failing()).frames(_keyframes())
    assert next(frames).info.index == 4
    with pytest.raises(DecodeError, match=r"a candidate cannot be decoded \(no memory\)"):
        next(frames)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (FrameSettings(candidates=0), "candidates: got 0"),
        (FrameSettings(max_denoise=0.2, min_denoise=0.3), "min_denoise: got 0.3, needs max_den"),
        (FrameSettings(seed=-1), "seed: got -1"),
        (FrameSettings(smoothness_weight=-1.0), "smoothness_weight: got -1.0, needs 0.0 to"),
        (FrameSettings(smoothness_weight=math.nan), "smoothness_weight: got nan"),
        (
            FrameSettings(rank_fraction=0.0),
            "rank_fraction: got 0.0, needs 0.05 to 1.0",
        ),
        (FrameSettings(rank_fraction=1.5), "rank_fraction: got 1.5"),
        (FrameSettings(rank_fraction=math.nan), "rank_fraction: got nan"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        settings.check()
    with pytest.raises(ValueError, match=message):
        next(_bisection(GaussianModel(), settings=settings).frames(_keyframes()))


class _Soft(GaussianModel):
    """Its pictures are never all black or white, so that all candidates differ."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.sigmoid()


class _Kept(_Soft):
    """Keeps what it predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.predictions: list[torch.Tensor] = []

    def sample(self, noisy, schedule, guidance):
        sampled = super().sample(noisy, schedule, guidance)
        self.predictions.append(sampled.denoised)
        return sampled


class _Likes:
    """A taste, and a scorer that has it; it may be told to fail at a call."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at, self.calls = fails_at, 0
        self.scorer = EmbeddingScorer(lambda pictures: pictures.flatten(1), self.rank)

    def rank(self, seen: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("no more")
        return -(seen - 0.4).square().mean(1)


def _cache(pictures: int = 10**7, latents: int = 10**7) -> FrameCache:
    return FrameCache(b"", Store(10**7), Store(latents), Store(pictures))


_SEEDS = {row_seed(0, place / 64, number) for place in range(65) for number in range(20)}


def _first(model: GaussianModel) -> list[int]:
    """The rows of each call of the sampler that starts at a blend of two frames."""
    return [rows for rows, seeds in zip(model.rows, model.seeds, strict=True) if _SEEDS & {*seeds}]


def _second(model: GaussianModel) -> list[int]:
    """The rows of each call that goes on after an early ranking."""
    return [n for n, seeds in zip(model.rows, model.seeds, strict=True) if not _SEEDS & {*seeds}]


def _run(
    picks: str = "", cache: FrameCache | None = None, candidates: int = 4, **more: object
) -> tuple[dict[int, Frame], int]:
    """The frames by number, and how many candidates were denoised for them."""
    model = more.pop("model", None) or _Soft(max_batch=5)
    settings = replace(LATE, candidates=candidates)
    more = {"settings": settings, "scorer": _Likes().scorer, **more}
    bisection = _bisection(model, picks=Picks.parse(picks), cache=cache, **more)
    frames = {frame.info.index: frame for frame in bisection.frames(_keyframes())}
    return frames, sum(_first(model))


def _changed(frames: dict[int, Frame], others: dict[int, Frame]) -> list[int]:
    return [
        index
        for index in sorted(frames)
        if (frames[index].latent - others[index].latent).abs().max() > 1e-5
    ]


def _same(frames: dict[int, Frame], others: dict[int, Frame]) -> bool:
    """Whether latents, pictures and choices are the same, but for the order of a batch."""
    return _changed(frames, others) == [] and all(
        torch.allclose(frames[i].picture, others[i].picture, atol=1e-5)
        and frames[i].info.candidate == others[i].info.candidate
        and frames[i].info.scores == pytest.approx(others[i].info.scores, abs=1e-5)
        for i in frames
    )


def test_without_picks_a_cache_changes_no_bit():
    plain, rows = _run()
    cached, same_rows = _run(cache=_cache())
    assert rows == same_rows == 4 + 2 * 3 + 4 * 3
    for index, frame in plain.items():
        other = cached[index]
        assert torch.equal(frame.latent, other.latent) and torch.equal(frame.picture, other.picture)
        assert (frame.info.candidate, frame.info.scores) == (
            other.info.candidate,
            other.info.scores,
        )
        assert (other.info.first, other.info.picked, other.thumbnails) == (0, False, None)


def test_a_pick_changes_its_frame_and_what_hangs_on_it():
    plain, _ = _run()
    worst = min(range(3), key=lambda n: plain[2].info.scores[n])
    picked, _ = _run(f"0.25: {worst}")
    assert picked[2].info.candidate == worst and picked[2].info.picked and picked[2].info.first == 0
    assert picked[2].info.scores == plain[2].info.scores
    assert _changed(picked, plain) == [1, 2, 3]
    # what a person chose already needs no change
    kept, _ = _run(f"0.25: {plain[2].info.candidate}")
    assert _changed(kept, plain) == [] and kept[2].info.picked


def test_the_candidate_does_not_depend_on_those_beside_it():
    """Candidate 9 of two frames with other counts of candidates comes from the same noise."""
    few, _ = _run("0.5: 9", candidates=3)
    many, _ = _run("0.5: 9", candidates=6)
    assert (few[4].info.first, many[4].info.first) == (9, 6)
    assert (few[4].latent - many[4].latent).abs().max() < 1e-5


def test_a_run_with_other_picks_makes_only_what_they_change():
    cache = _cache()
    plain, _ = _run(cache=cache)
    worst = min(range(3), key=lambda n: plain[2].info.scores[n])
    picked, rows = _run(f"0.25: {worst}", cache)
    assert rows == 2 * 3, "the candidates of the two frames beside it"
    assert _same(picked, _run(f"0.25: {worst}")[0])
    for text, before in (("", plain), (f"0.25: {worst}", picked)):
        again, rows = _run(text, cache)
        assert rows == 0 and _same(again, before)


def test_a_reroll_draws_new_candidates():
    cache = _cache()
    plain, _ = _run(cache=cache)
    rolled, rows = _run("0.5: roll 1", cache)
    assert (
        rolled[4].info.first == 4
        and 4 <= rolled[4].info.candidate < 8
        and not rolled[4].info.picked
    )
    assert set(rolled[4].info.scores).isdisjoint(plain[4].info.scores)
    assert rows == 4 + 6 * 3, "everything hangs on the frame half-way"
    assert _same(rolled, _run("0.5: roll 1")[0])
    lowest = min(range(4, 8), key=lambda n: rolled[4].info.scores[n - 4])
    picked, rows = _run(f"0.5: {lowest}", cache)
    assert rows == 6 * 3 and picked[4].info.candidate == lowest and picked[4].info.first == 4


def test_more_candidates_add_to_those_known():
    cache = _cache()
    few, _ = _run("0.5: 1", cache)
    more, rows = _run("0.5: 1", cache, candidates=6)
    assert len(more[4].info.scores) == 6 and torch.equal(more[4].latent, few[4].latent)
    # one fewer a depth: 6, 5 and 4 in the place of 4, 3 and 3; all 4 behind another choice
    behind = [4 if parent in _changed(more, few) else 1 for parent in (2, 2, 6, 6)]
    assert rows == 2 + 2 * 2 + sum(behind)
    assert _same(more, _run("0.5: 1", candidates=6)[0])
    assert _run("0.5: 1", cache)[1] == 0, "the fewer are known still"


@pytest.mark.parametrize("what", ["scorer", "decoder"])
def test_a_run_that_ended_early_goes_on_where_it_stopped(what):
    class Failing(_Soft):
        calls = 0

        def decode(self, latents):
            self.calls += 1
            # the keyframes come first, for the scorer to see
            if what == "decoder" and self.calls == 5:
                raise RuntimeError("no memory")
            return super().decode(latents)

    cache, likes = _cache(), _Likes(fails_at=4 if what == "scorer" else -1)
    # batches of 4, of 5 and 1, and 5 of 12
    model = Failing(max_batch=5)
    with pytest.raises(RuntimeError, match=r"no more|no memory"):
        _run(cache=cache, model=model, scorer=likes.scorer)
    assert model.rows == [4, 5, 1, 5]
    frames, rows = _run(cache=cache)
    assert rows == 12, "what could not be finished is made again"
    assert _same(frames, _run()[0])


def test_a_run_that_was_left_in_the_middle_of_a_depth_goes_on_there():
    cache, model = _cache(), _Soft(max_batch=5)
    more = {"settings": LATE, "scorer": _Likes().scorer, "cache": cache}
    bisection = _bisection(model, **more)
    stream = bisection.frames(_keyframes())
    assert [next(stream).info.index for _ in range(4)] == [4, 2, 6, 1]
    stream.close()
    assert model.rows == [4, 5, 1, 5]
    frames, rows = _run(cache=cache)
    assert rows == 12 - 5 and list(frames)[:4] == [4, 2, 6, 1]
    assert _same(frames, _run()[0])


def test_frames_that_are_known_come_before_those_that_are_not():
    cache = _cache()
    plain, _ = _run(cache=cache)
    worst = min(range(3), key=lambda n: plain[2].info.scores[n])
    frames, _ = _run(f"0.25: {worst}", cache)
    assert list(frames) == [4, 2, 6, 5, 7, 1, 3]


def test_pictures_that_were_dropped_are_decoded_again():
    class Counting(_Soft):
        def __init__(self) -> None:
            super().__init__(max_batch=3)
            self.decoded: list[int] = []

        def decode(self, latents):
            self.decoded.append(len(latents))
            return super().decode(latents)

    picture = 4 * math.prod(SHAPE)
    for room, decoded in ((10 * picture, []), (0, [1, 2, 3, 1])):
        cache, model = _cache(pictures=room), Counting()
        before, _ = _run(cache=cache)
        again, rows = _run(cache=cache, model=model)
        assert rows == 0 and model.decoded == decoded
        assert all(torch.equal(before[i].picture, again[i].picture) for i in before)


FLUX = 16 * 128 * 128 * 4
"""Bytes of a latent of Flux at 1024 x 1024."""


def _long(
    latents: int, picks: str = "", cache: FrameCache | None = None, **more: object
) -> tuple[dict[int, Frame], int, Bisection]:
    """63 frames where `latents` of Flux's size fit, its latents made smaller by 4096."""
    size = FLUX // 4096
    assert 4 * math.prod(SHAPE) == size
    cache = cache or _cache(latents=latents * size)
    model, likes = _Soft(max_batch=32), _Likes()
    more = {"settings": LATE, "scorer": likes.scorer, **more}
    bisection = _bisection(model, 65, picks=Picks.parse(picks), cache=cache, **more)
    frames = {frame.info.index: frame for frame in bisection.frames(_keyframes())}
    return frames, sum(_first(model)), bisection


@pytest.mark.parametrize("settings", [LATE, EARLY])
@pytest.mark.parametrize("latents", [70, 190, 256, 400])
def test_a_long_path_is_made_again_only_where_a_pick_changed_it(latents, settings):
    """All 190 candidates, and the chosen ones once more where they were ranked early."""
    plain, rows, bisection = _long(latents, settings=settings)
    assert rows == 4 + 62 * 3 and len(bisection.known(_keyframes())) == 65
    cache = bisection.cache
    again, rows, _ = _long(latents, cache=cache, settings=settings)
    assert rows == 0 and _same(again, plain)
    # its own depth is 3: candidates of the depths after it, between its neighbours
    index = 40
    best = plain[index].info.candidate
    other = (best + 1) % 3
    picked, rows, _ = _long(latents, f"{index / 64}: {other}", cache, settings=settings)
    assert rows - 14 * 3 in (0, 1), "the frame itself, where its latent was dropped"
    assert _changed(picked, plain) == list(range(33, 48))
    assert _same(picked, _long(0, f"{index / 64}: {other}", settings=settings)[0])


@pytest.mark.parametrize("settings", [LATE, EARLY])
def test_a_path_that_does_not_fit_is_found_in_part(settings):
    plain, rows, bisection = _long(40, settings=settings)
    cache = bisection.cache
    for _ in range(3):
        assert len(bisection.known(_keyframes())) == 2 + 40
        again, rows, bisection = _long(40, cache=cache, settings=settings)
        assert rows == 23 * 3, "the frames that found no room, and no others"
        assert _same(again, plain)
    # another path makes room for itself
    _, _, other = _long(40, "0.5: roll 1", cache, settings=settings)
    assert len(other.known(_keyframes())) == 2 + 40


def test_a_kept_candidate_wins_over_a_new_one_with_its_picture():
    """The best of a frame may be known while others of its candidates are not."""
    cache = _cache(pictures=0)
    _run(cache=cache)
    more, rows = _run(cache=cache, candidates=6)
    assert 0 < rows < 6 + 2 * 5 + 4 * 4
    assert more[4].info.candidate < 4
    assert _same(more, _run(candidates=6)[0])


def test_picks_find_frames_in_gaps_of_any_length():
    """Three frames in a gap of 5 sixths: positions that have no end in decimals."""
    positive, negative = _texts()
    path = Path((5, 2))
    keyframes = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2))

    def frames(text: str) -> dict[int, Frame]:
        picks = Picks.parse(text)
        assert picks.strays(slot.position for slots in path.slots() for slot in slots) == []
        guide = Guide(positive.rows([0]), negative)
        bisection = Bisection(
            _Soft(), path, guide, FrameSettings(candidates=3), _Likes().scorer, picks
        )
        return {frame.info.index: frame for frame in bisection.frames(keyframes)}

    plain = frames("")
    worst = {i: min(range(3), key=lambda n: plain[i].info.scores[n]) for i in (1, 5, 7)}
    picked = frames(f"0.1667: {worst[1]}, 0.8333: {worst[5]}, 1.3333: {worst[7]}")
    assert [i for i in picked if picked[i].info.picked] == [7, 1, 5]
    assert _changed(picked, plain) == [1, 2, 5, 7, 8]


def test_without_a_scorer_a_pick_is_other_noise():
    plain, _ = _run(scorer=None)
    picked, _ = _run("0.75: 2", scorer=None)
    assert (picked[6].info.candidate, picked[6].info.first, picked[6].info.scores) == (2, 2, ())
    assert _changed(picked, plain) == [5, 6, 7]


def test_thumbnails_of_all_candidates():
    class Flat(_Soft):
        """Pictures of 8 x 4 of one colour."""

        def decode(self, latents):
            return super().decode(latents)[:, :1, :1, :1].expand(-1, 3, 4, 8)

    cache = _cache()
    scorer = EmbeddingScorer(lambda pictures: pictures.mean((2, 3)), lambda seen: seen.mean(1))
    more = {"scorer": scorer, "settings": replace(LATE, smoothness_weight=0.0), "thumbnail": 16}
    frames, _ = _run(model=Flat(), cache=cache, **more)
    spreads = []
    for frame in frames.values():
        assert frame.thumbnails.shape == (len(frame.info.scores), 8, 16, 3)
        assert frame.thumbnails.dtype == torch.uint8
        means = frame.thumbnails.float().mean((1, 2, 3)) / 255
        assert means[frame.info.candidate].item() == pytest.approx(
            frame.picture.mean().item(), abs=0.003
        )
        # in the order of the scores, as far as whole steps of 1/255 can tell
        assert means[torch.tensor(frame.info.scores).argsort()].diff().min() >= 0
        spreads.append(means.max() - means.min())
    assert max(spreads) > 2 / 255
    again, _ = _run(model=Flat(), cache=cache, **more)
    assert all(torch.equal(frames[i].thumbnails, again[i].thumbnails) for i in frames)
    alone, _ = _run(model=Flat(), scorer=None, thumbnail=16)
    assert {frame.thumbnails for frame in alone.values()} == {None}


def test_of_candidates_ranked_early_only_the_best_goes_on():
    model = _Soft(max_batch=5)
    frames, rows = _run(settings=EARLY, model=model)
    assert rows == 4 + 2 * 3 + 4 * 3
    assert _second(model) == [1, 2, 4], "those of a depth together"
    assert all(
        len(frame.info.scores) == {1: 4}.get(frame.info.depth, 3) for frame in frames.values()
    )


def test_a_candidate_is_the_same_whenever_it_is_ranked():
    picks = ", ".join(f"{slot / 8}: 2" for slot in range(1, 8))
    early, _ = _run(picks, settings=EARLY)
    late, _ = _run(picks)
    assert _changed(early, late) == []
    assert all(torch.allclose(early[i].picture, late[i].picture, atol=1e-5) for i in late)


def test_early_ranking_is_by_the_denoised_prediction():
    said = []

    class Watched(_Soft):
        def sample(self, noisy, schedule, guidance):
            sampled = super().sample(noisy, schedule, guidance)
            if schedule.points[-1] != CLEAN:
                said.append(_Likes().rank(self.decode(sampled.denoised).flatten(1)))
                assert not torch.allclose(sampled.latents, sampled.denoised)
            return sampled

    frames, _ = _run(settings=replace(EARLY, smoothness_weight=0.0), model=Watched(max_batch=32))
    assert len(said) == 3
    assert frames[4].info.scores == pytest.approx(_standardised(said[0]).tolist(), rel=0.01)
    for frame in frames.values():
        assert frame.info.scores[frame.info.candidate] == max(frame.info.scores)


def test_evaluations_are_counted_as_they_are_made():
    class Counting(_Soft):
        evaluations = 0

        def sample(self, noisy, schedule, guidance):
            self.evaluations += len(noisy) * len(schedule)
            return super().sample(noisy, schedule, guidance)

    for rank_fraction in (0.05, 0.5, 1.0):
        model, settings = Counting(), replace(EARLY, rank_fraction=rank_fraction)
        bisection = _bisection(model, settings=settings, scorer=_Likes().scorer)
        list(bisection.frames(_keyframes()))
        slots = [slot for slots in bisection.path.slots() for slot in slots]
        assert model.evaluations == sum(map(bisection.evaluations, slots))


def test_one_candidate_is_not_ranked_early():
    likes = _Likes()
    for more in (
        {"scorer": None},
        {"settings": replace(EARLY, candidates=1), "scorer": likes.scorer},
    ):
        model = _Soft()
        frames, rows = _run(model=model, **{"settings": EARLY, **more})
        assert (rows, _second(model)) == (7, [])
        assert _changed(frames, _run(scorer=None)[0]) == []
        assert {frame.info.scores for frame in frames.values()} == {()}
    assert likes.calls == 0


def test_partial_candidates_are_kept_and_so_are_finished_ones():
    cache = _cache()

    def run(picks: str = "") -> tuple[dict[int, Frame], int, list[int]]:
        model = _Soft(max_batch=5)
        frames, rows = _run(picks, cache, settings=EARLY, model=model, thumbnail=4)
        return frames, rows, _second(model)

    plain, _, _ = run()
    again, first, second = run()
    assert (first, second) == (0, []) and _same(again, plain)
    worst = min(range(3), key=lambda n: plain[2].info.scores[n])
    picked, first, second = run(f"0.25: {worst}")
    assert (first, second) == (2 * 3, [1, 2]), "it, and the two frames beside it"
    assert _same(picked, _run(f"0.25: {worst}", settings=EARLY)[0])
    for text, before in (("", plain), (f"0.25: {worst}", picked)):
        again, first, second = run(text)
        assert (first, second) == (0, []) and _same(again, before)
        assert all(torch.equal(again[i].thumbnails, before[i].thumbnails) for i in before)


def test_what_was_finished_alone_is_not_ranked_with_partial_candidates():
    cache = _cache()
    one = replace(EARLY, candidates=1, min_candidates=1)
    _run(cache=cache, settings=one)
    more, _ = _run(cache=cache, settings=EARLY)
    fresh, _ = _run(settings=EARLY)
    assert _same(more, fresh)
    again, rows = _run(cache=cache, settings=one)
    assert rows == 0 and _same(again, _run(settings=one)[0])


def test_what_was_made_alone_is_ranked_with_the_others():
    """Nobody has looked at it."""
    cache = _cache()
    _run(cache=cache, settings=replace(LATE, candidates=1))
    more, _ = _run(cache=cache)
    assert _same(more, _run()[0])


def test_samplers_get_two_steps_before_and_after_the_ranking_or_all_at_once():
    got = {
        n: [steps_before_ranking(n, share) for share in (0.01, 0.5, 0.99)] for n in (1, 3, 4, 11)
    }
    assert got == {1: [1, 1, 1], 3: [3, 3, 3], 4: [2, 2, 2], 11: [2, 5, 9]}
    model = _Soft(stride=150)
    frames, rows = _run(model=model, settings=EARLY)
    assert rows == 4 + 2 * 3 + 4 * 3 and _second(model) == [1], "three steps, then two"
    assert len(frames) == 7


def test_a_run_that_ended_before_the_best_was_finished_goes_on_there():
    class Failing(_Soft):
        def sample(self, noisy, schedule, guidance):
            if not _SEEDS & {*guidance.seeds}:
                raise RuntimeError("no memory")
            return super().sample(noisy, schedule, guidance)

    cache, model = _cache(), Failing(max_batch=5)
    with pytest.raises(RuntimeError, match="no memory"):
        _run(cache=cache, model=model, settings=EARLY)
    assert model.rows == [4]
    frames, rows = _run(cache=cache, settings=EARLY)
    assert rows == 2 * 3 + 4 * 3, "the candidates of the frame half-way are known"
    assert _same(frames, _run(settings=EARLY)[0])
