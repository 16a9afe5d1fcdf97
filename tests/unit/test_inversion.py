from __future__ import annotations

import pytest
import torch
from analytic import GaussianModel

from diffusion_interpolation.method.learning.augmentation import augment
from diffusion_interpolation.method.learning.inversion import NoGradientError, invert
from diffusion_interpolation.models.prompts import KeyframePrompts, PromptEmbeddings
from diffusion_interpolation.settings import InversionSettings

FAST = {"learning_rate": 0.05, "cfg": 2.0, "augmentations": 2, "hold_norms": False}


def _problem(count: int = 2) -> tuple[torch.Tensor, PromptEmbeddings, PromptEmbeddings]:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(count, 1, 1, 1, generator=generator).expand(-1, 3, 8, 8).clone()
    return (
        pictures,
        PromptEmbeddings(torch.randn(1, 3, 4, generator=generator)),
        PromptEmbeddings(torch.zeros(1, 3, 4)),
    )


@pytest.mark.parametrize("guided", [True, False])
def test_the_loss_falls_and_every_keyframe_learns_its_own_row(guided):
    pictures, positive, negative = _problem(3)
    model = GaussianModel(spread=0.1)
    result = invert(
        model, pictures, positive, negative, InversionSettings(steps=60, guided=guided, **FAST)
    )
    assert min(result.losses.values()) < 0.7 * result.losses[0]
    assert len(result.positive) == 3
    assert len(result.negative) == 1
    assert not torch.equal(result.positive.embeddings[0], result.positive.embeddings[1])
    assert list(result.losses) == [0, 10, 20, 30, 40, 50, 60]
    assert torch.equal(negative.embeddings, torch.zeros(1, 3, 4))


def test_norms_of_tokens_are_held():
    pictures, positive, negative = _problem()
    negative = PromptEmbeddings(torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(3)))
    settings = InversionSettings(steps=20, learning_rate=0.05, cfg=2.0, augmentations=0)
    result = invert(GaussianModel(spread=0.1), pictures, positive, negative, settings)
    for learned, start in ((result.positive, positive), (result.negative, negative)):
        assert torch.allclose(
            learned.embeddings.norm(dim=-1), start.embeddings.norm(dim=-1).expand(len(learned), -1)
        )
        assert not torch.allclose(
            learned.embeddings, start.embeddings.expand_as(learned.embeddings)
        )


def test_same_seed_same_result_at_any_batch_size():
    pictures, positive, negative = _problem(3)
    settings = InversionSettings(steps=10, **FAST)
    runs = [
        invert(GaussianModel(max_batch=n), pictures, positive, negative, settings)
        for n in (2, 2, 32)
    ]
    assert torch.equal(runs[0].positive.embeddings, runs[1].positive.embeddings)
    assert torch.allclose(runs[0].positive.embeddings, runs[2].positive.embeddings, atol=1e-5)


def test_pooled_states_are_learned_too():
    pictures, positive, negative = _problem()
    positive, negative = (
        PromptEmbeddings(text.embeddings, torch.ones(1, 6)) for text in (positive, negative)
    )
    result = invert(
        GaussianModel(), pictures, positive, negative, InversionSettings(steps=3, **FAST)
    )
    assert result.positive.pooled.shape == (2, 6)


def test_the_callback_sees_every_step_and_can_stop_it():
    seen = []

    def on_step(step: int, loss: float) -> None:
        seen.append(step)
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        invert(GaussianModel(), *_problem(), InversionSettings(steps=9, **FAST), on_step)
    assert seen == [1, 2, 3, 4]


def test_no_steps_give_the_prompts_back():
    pictures, positive, negative = _problem()
    result = invert(GaussianModel(), pictures, positive, negative, InversionSettings(steps=0))
    assert torch.equal(result.positive.embeddings, positive.embeddings.expand(2, -1, -1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": -1}, "^steps: got -1, needs 0 to 10000"),
        (
            {"min_denoise": 0.7, "max_denoise": 0.3},
            "min_denoise: got 0.7, needs less than max_denoise",
        ),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ValueError, match=message):
        invert(GaussianModel(), *_problem(), InversionSettings(**change))


def test_rows_that_fit_no_keyframe():
    pictures, _, negative = _problem(2)
    with pytest.raises(ValueError, match="positive: got 3 prompts for 2 keyframes, needs 1 or 2"):
        invert(GaussianModel(), pictures, PromptEmbeddings(torch.zeros(3, 2, 2)), negative)


class Watched(GaussianModel):
    """Counts what is asked of it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.encoded = self.predicted = 0

    def encode(self, pictures):
        self.encoded += 1
        return super().encode(pictures)

    def predict_noise(self, noisy, levels, text, negatives=0):
        self.predicted += 1
        return super().predict_noise(noisy, levels, text, negatives)


def test_no_steps_ask_nothing_of_the_model():
    model = Watched()
    invert(model, *_problem(), InversionSettings(steps=0))
    assert (model.encoded, model.predicted) == (0, 0)


def test_latents_that_are_known_are_not_made_again():
    model, (pictures, positive, negative) = Watched(), _problem()
    latents, settings = model.encode(pictures), InversionSettings(steps=3, **FAST)
    want = invert(GaussianModel(), pictures, positive, negative, settings)
    found = invert(model, pictures, positive, negative, settings, latents=latents)
    # one more for each augmentation
    assert model.encoded == 1 + 2
    assert torch.equal(found.positive.embeddings, want.positive.embeddings)


class Small(GaussianModel):
    """Has no room for both halves of guidance, which it sees beforehand or too late."""

    def __init__(self, told: bool) -> None:
        super().__init__()
        self.told = told

    def learning_batch(self, latent_shape, text, halves):
        return 0 if self.told else 1

    def predict_noise(self, noisy, levels, text, negatives=0):
        if torch.is_grad_enabled() and len(noisy) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")
        return super().predict_noise(noisy, levels, text, negatives)


@pytest.mark.parametrize("told", [True, False])
def test_halves_of_guidance_one_after_the_other_learn_the_same(told):
    settings = InversionSettings(steps=10, **FAST)
    want = invert(GaussianModel(), *_problem(3), settings)
    found = invert(Small(told), *_problem(3), settings)
    assert torch.allclose(found.positive.embeddings, want.positive.embeddings, atol=1e-5)
    assert torch.allclose(found.negative.embeddings, want.negative.embeddings, atol=1e-5)
    assert not torch.allclose(found.negative.embeddings, _problem(3)[2].embeddings, atol=1e-2)


@pytest.mark.parametrize("lost", ["positive", "negative", "both", "zero"])
def test_a_gradient_that_does_not_come_back_is_named(lost):
    class Cut(GaussianModel):
        def predict_noise(self, noisy, levels, text, negatives=0):
            halves = list(super().predict_noise(noisy, levels, text).chunk(2))
            if lost in ("negative", "both"):
                halves[0] = halves[0].detach()
            if lost in ("positive", "both"):
                halves[1] = halves[1].detach()
            if lost == "zero":
                return noisy + 0 * text.embeddings.sum()
            return torch.cat(halves)

    model, name = Cut(max_batch=16), "negative" if lost == "negative" else "positive"
    with pytest.raises(NoGradientError, match=f"no gradient comes back to the {name} prompt"):
        invert(model, *_problem(), InversionSettings(steps=3, **FAST))


def test_a_prompt_that_guidance_does_not_use_needs_no_gradient():
    settings = InversionSettings(steps=3, **{**FAST, "cfg": 1.0})
    assert invert(GaussianModel(), *_problem(), settings).losses


class Overflowing(GaussianModel):
    """Its gradients overflow above `limit`, and in the steps of `always` whatever their scale."""

    def __init__(self, limit: float = float("inf"), always: tuple[int, ...] = ()) -> None:
        super().__init__(spread=0.1, max_batch=64)
        self.limit, self.always, self.step, self.left_out = limit, always, 0, 0

    def predict_noise(self, noisy, levels, text, negatives=0):
        noise = super().predict_noise(noisy, levels, text)
        if noise.requires_grad:
            self.step += 1
            noise.register_hook(self.overflow)
        return noise

    def overflow(self, gradient):
        if self.step in self.always or gradient.abs().max() > self.limit:
            self.left_out += 1
            return gradient * float("inf")
        return gradient


def test_a_step_whose_gradients_overflow_is_left_out():
    settings = InversionSettings(steps=60, **FAST)
    want = invert(GaussianModel(spread=0.1), *_problem(), settings)
    model = Overflowing(always=(3, 30))
    found = invert(model, *_problem(), settings)
    assert model.left_out == 2
    assert found.positive.embeddings.isfinite().all()
    assert min(found.losses.values()) < 1.1 * min(want.losses.values())
    assert list(found.losses) == list(want.losses)


def test_the_scale_of_gradients_falls_until_they_fit():
    """Learning goes on as at the full scale, but for the steps that were left out."""
    model = Overflowing(limit=0.1)
    found = invert(model, *_problem(), InversionSettings(steps=60, **FAST))
    assert 2 <= model.left_out < 12
    assert min(found.losses.values()) < 0.7 * found.losses[0]


def test_what_was_learned_is_kept_when_numbers_stop_being_finite(caplog):
    settings = InversionSettings(steps=60, **FAST)
    found = invert(Overflowing(always=tuple(range(31, 99))), *_problem(), settings)
    # twelve steps are left out before it is given up
    assert list(found.losses) == [0, 10, 20, 30, 40]
    assert "learning ends early with the state of step" in caplog.text
    want = invert(GaussianModel(spread=0.1, max_batch=64), *_problem(), settings)
    assert found.losses[30] == want.losses[30]
    with pytest.raises(FloatingPointError, match="gradients of 12 steps in a row are not finite"):
        invert(Overflowing(always=tuple(range(99))), *_problem(), settings)


def test_numbers_that_are_not_finite_are_reported():
    pictures, positive, negative = _problem()
    pictures[:] = float("nan")
    with pytest.raises(FloatingPointError, match="the loss is nan at step"):
        invert(
            GaussianModel(),
            pictures,
            positive,
            negative,
            InversionSettings(steps=10, augmentations=0),
        )


def test_augmentation_repeats_with_its_generator_and_leaves_the_global_one():
    pictures = torch.rand(2, 3, 16, 16)
    before = torch.get_rng_state()
    first, second = (augment(pictures, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
    assert first.shape == pictures.shape
    assert not torch.allclose(first, pictures)
    assert 0 <= first.min() <= first.max() <= 1


def test_a_negative_of_another_length_goes_in_a_pass_of_its_own():
    """A long prompt has more tokens than its negative; both are learned all the same."""
    rows = []

    class Watched(GaussianModel):
        def predict_noise(self, noisy, levels, text, negatives=0):
            rows.append((len(noisy), text.embeddings.shape[1], negatives))
            return super().predict_noise(noisy, levels, text)

    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, 4, 4, 4, generator=generator)
    positive, negative = (
        PromptEmbeddings(torch.randn(1, n, 5, generator=generator)) for n in (6, 3)
    )
    settings = InversionSettings(steps=3, augmentations=0, learning_rate=0.05)
    learned = invert(Watched(max_batch=16), pictures, positive, negative, settings)
    assert learned.positive.embeddings.shape == (2, 6, 5)
    assert learned.negative.embeddings.shape == (1, 3, 5)
    assert set(rows) == {(8, 3, 8), (8, 6, 0), (2, 3, 2), (2, 6, 0)}
    assert not torch.equal(learned.negative.embeddings, negative.embeddings)


def test_keyframes_are_learned_in_groups_of_one_length():
    """Two prompts of one length in two groups are learned as in one group."""
    pictures, long, negative = _problem(3)
    short = PromptEmbeddings(torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(9)))
    settings = InversionSettings(steps=10, **FAST)
    model = GaussianModel(max_batch=32)
    parts = KeyframePrompts((long.repeated(2), short))
    learned = invert(model, pictures, parts, negative, settings)
    assert [part.embeddings.shape for part in learned.positive.parts] == [(2, 3, 4), (1, 2, 4)]
    assert min(learned.losses.values()) < learned.losses[0]
    moved = [
        (after.embeddings - before.embeddings).abs().flatten(1).amax(1).min()
        for after, before in zip(learned.positive.parts, parts.parts, strict=True)
    ]
    assert min(moved) > 1e-3
    want = invert(model, pictures, long, negative, settings)
    found = invert(model, pictures, KeyframePrompts((long.repeated(2), long)), negative, settings)
    both = torch.cat([part.embeddings for part in found.positive.parts])
    assert torch.allclose(both, want.positive.embeddings, atol=1e-5)
    assert found.losses == pytest.approx(want.losses)


def test_extras_keep_halves_of_guidance_apart():
    """A mask of tokens, say, is another one in the negative prompt."""
    passes = []

    class Watched(GaussianModel):
        def predict_noise(self, noisy, levels, text, negatives=0):
            passes.append((text.extras, negatives))
            return super().predict_noise(noisy, levels, text)

    pictures, positive, negative = _problem()
    positive, negative = (
        text.map_extras(lambda _, name=name: name)
        for text, name in ((positive, "ours"), (negative, "its own"))
    )
    settings = InversionSettings(steps=1, **FAST)
    learned = invert(Watched(max_batch=64), pictures, positive, negative, settings)
    assert {extras for extras, negatives in passes if negatives} == {"its own"}
    assert {extras for extras, negatives in passes if not negatives} == {"ours"}
    assert (learned.positive.extras, learned.negative.extras) == ("ours", "its own")
