from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tiny_models
import torch
from tiny_models import FAMILIES, SIDE
from torch import Tensor, nn

from diffusion_interpolation.demo import world
from diffusion_interpolation.demo.networks import TOKENS
from diffusion_interpolation.method import path
from diffusion_interpolation.method.bisection import Bisection
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.method.learning.inversion import invert
from diffusion_interpolation.models.contract import Guidance, Schedule
from diffusion_interpolation.models.denoise import noise_ratio
from diffusion_interpolation.models.diffusers.model import DiffusersModel
from diffusion_interpolation.models.diffusers.sampling.schedule import CLEAN
from diffusion_interpolation.models.prompts import PromptEmbeddings
from diffusion_interpolation.scoring.contract import EmbeddingScorer
from diffusion_interpolation.settings import FrameSettings, InversionSettings

STEPS = 5
# wider than high, so that nothing takes one side for the other
GRID = SIDE, SIDE + 4
HEIGHT, WIDTH = 16, 24
PROMPTS = ["a red puppet waves", "a dog", "far away"]


class Case(NamedTuple):
    """A model, and the parts it was made of."""

    family: str
    parts: dict[str, Any]
    controlnet: nn.Module
    model: DiffusersModel


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tokenizers: Path) -> Case:
    parts = tiny_models.parts(request.param, tokenizers)
    controlnet = tiny_models.controlnet(request.param)
    model = DiffusersModel(**parts, controlnet=controlnet, steps=STEPS)
    return Case(request.param, parts, controlnet, model)


@pytest.fixture(scope="module")
def sd1(tokenizers: Path) -> DiffusersModel:
    return tiny_models.model("sd1", tokenizers, control=False)


def test_a_vae_that_overflows_is_named(tokenizers):
    """In float16, as SDXL's first one does; in float32 the same weights give pictures."""
    for part, verb in (("encoder", "encoded"), ("decoder", "decoded")):
        for dtype in (torch.float16, torch.float32):
            parts = tiny_models.parts("sd1", tokenizers)
            parts["vae"].register_to_config(force_upcast=False)
            nn.init.constant_(getattr(parts["vae"], part).conv_out.weight, 6e4)
            model = DiffusersModel(**parts, steps=STEPS, dtype=dtype)
            given = _noise(2) if part == "decoder" else torch.rand(2, 3, HEIGHT, WIDTH)
            work = model.decode if part == "decoder" else model.encode
            if dtype == torch.float32:
                assert work(given).isfinite().all()
                continue
            with pytest.raises(FloatingPointError, match=f"vae: it {verb} 2 of 2 .*--dtype"):
                work(given)
    with pytest.raises(FloatingPointError, match="vae: it was given NaN"):
        model.decode(_noise(2) * torch.nan)


def _noise(count: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(count, 4, *GRID, generator=torch.Generator().manual_seed(seed))


def _pictures(count: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def _guidance(model: DiffusersModel, count: int = 3, cfg: float = 3.0, **more: Any) -> Guidance:
    """Every row has a prompt of its own, the negative is one for all."""
    positive = model.encode_text(["a red puppet", "a dog", "grass", "far away", "!"][:count])
    return Guidance(positive, model.encode_text(["sleeps"]), cfg, **more)


def _close(got: Tensor, want: Tensor, atol: float = 1e-4) -> bool:
    return torch.allclose(got, want, atol=atol, rtol=1e-4)


# pictures and latents


@torch.no_grad()
def test_encoding_is_the_mode_of_the_posterior(case):
    pictures = _pictures()
    latents = case.model.encode(pictures)
    vae = case.parts["vae"]
    mode = vae.encode(pictures * 2 - 1).latent_dist.mode()
    assert latents.shape == (3, 4, *GRID)
    assert _close(latents, mode * vae.config.scaling_factor)


@torch.no_grad()
def test_decoding_undoes_the_scale_and_stays_in_range(case):
    vae, latents = case.parts["vae"], _noise()
    pictures = case.model.decode(latents)
    want = vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5
    assert pictures.shape == (3, 3, HEIGHT, WIDTH)
    assert _close(pictures, want.clamp(0, 1))


def test_latents_with_a_shift(tokenizers):
    parts = tiny_models.parts("sd1", tokenizers)
    plain = DiffusersModel(**parts).encode(_pictures())
    parts["vae"].register_to_config(shift_factor=0.5)
    shifted = DiffusersModel(**parts)
    assert _close(shifted.encode(_pictures()), plain - 0.5 * 0.18215)
    again = shifted.decode(shifted.encode(_pictures()))
    parts["vae"].register_to_config(shift_factor=None)
    assert _close(again, DiffusersModel(**parts).decode(plain))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 16, 18), r"got 18 x 16 pixels, both sides must be multiples of 4"),
        ((1, 4, 16, 16), r"got \(1, 4, 16, 16\), needs \(n, 3, height, width\)"),
        ((3, 16, 16), r"got \(3, 16, 16\), needs"),
    ],
)
def test_pictures_that_do_not_fit(sd1, shape, message):
    with pytest.raises(ValueError, match=f"pictures: {message}"):
        sd1.encode(torch.zeros(shape))


# text


@torch.no_grad()
def test_text_is_what_the_encoders_say(case):
    text = case.model.encode_text(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        outputs = []
        for encoder, tokenizer in zip(
            case.parts["text_encoders"], case.parts["tokenizers"], strict=True
        ):
            ids = tokenizer(prompt, padding="max_length", return_tensors="pt").input_ids
            outputs.append(encoder(ids, output_hidden_states=True))
        if case.family == "xl":
            want = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
            assert _close(text.pooled[row], outputs[1].text_embeds[0])
        else:
            want = outputs[0].last_hidden_state
            assert text.pooled is None
        assert _close(text.embeddings[row], want[0])


@torch.no_grad()
def test_text_is_what_the_pipeline_makes_of_it(case):
    pipeline = tiny_models.pipeline(case.family, case.parts)
    want = pipeline.encode_prompt(
        prompt=PROMPTS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    text = case.model.encode_text(PROMPTS)
    assert _close(text.embeddings, want[0])
    if case.family == "xl":
        assert _close(text.pooled, want[2])


def test_a_prompt_that_is_too_long(case):
    fits = " ".join(["dog"] * (TOKENS - 2))
    assert case.model.encode_text([fits]).embeddings.shape[1] == TOKENS
    message = (
        f"prompt: has {TOKENS + 2} tokens, .* reads at most {TOKENS}; "
        "what would be lost is 'red puppet'"
    )
    with pytest.raises(ValueError, match=message):
        case.model.encode_text(["a dog", f"{fits} red puppet"])


# denoise


def _ddim(family: str) -> Any:
    """The sampler as a user of diffusers would set it up, by the numbers of the family."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        **tiny_models.SCHEDULE,
        prediction_type="v_prediction" if family == "sd2" else "epsilon",
        # the scheduler that XL comes with knows no other way to end
        set_alpha_to_one=family == "xl",
        clip_sample=False,
    )
    scheduler.set_timesteps(STEPS)
    return scheduler


def _points(scheduler: Any, level: float) -> list[float]:
    """The timestep of a level, between two whole ones, and those of the scheduler below it."""
    logs = _log_ratios(scheduler)
    first = np.interp(math.log(noise_ratio(level)), logs, np.arange(len(logs))).item()
    return [first, *(t for t in scheduler.timesteps.tolist() if t < first)]


def _log_ratios(scheduler: Any) -> np.ndarray:
    kept = scheduler.alphas_cumprod.double().numpy()
    return np.log((1 - kept) / kept) / 2


def _kept(scheduler: Any, timestep: float) -> float:
    """The share of a latent's variance that is left at a timestep, between two whole ones."""
    logs = _log_ratios(scheduler)
    return 1 / (1 + math.exp(2 * np.interp(timestep, np.arange(len(logs)), logs)))


@pytest.mark.parametrize("level", [0.25, 0.401, 0.55, 0.9])
def test_scales_have_the_ratio_of_the_level(case, level):
    a, s = _scales(case.model, level)
    assert a * a + s * s == pytest.approx(1)
    assert s / a == pytest.approx(noise_ratio(level), rel=1e-5)
    assert a * a == pytest.approx(_kept(_ddim(case.family), _points(_ddim(case.family), level)[0]))


def test_scales_at_whole_timesteps_are_the_schedulers(case):
    scheduler, clean, noise = _ddim(case.family), _noise(1), _noise(1, seed=1)
    for timestep in (801, 401, 1):
        a, s = case.model.scales(Schedule((timestep, CLEAN)))
        want = scheduler.add_noise(clean, noise, torch.tensor([timestep]))
        assert _close(a * clean + s * noise, want, 1e-6)


def test_the_least_noise_is_that_of_the_first_timestep(sd1):
    assert sd1.schedule(1e-6).points == (pytest.approx(0, abs=0.01), CLEAN)


@pytest.mark.parametrize("level", [0.0, -0.1, 1.01])
def test_levels_out_of_range(sd1, level):
    guidance = _guidance(sd1, 1)
    for use in (
        lambda: _scales(sd1, level),
        lambda: _denoise(sd1, _noise(1), level, guidance),
        lambda: sd1.predict_noise(_noise(1), torch.tensor([level]), guidance.positive),
    ):
        with pytest.raises(ValueError, match=r"denoise: got .* more than 0, and 1 at most"):
            use()


def test_a_scheduler_gives_its_own_defaults(tokenizers):
    """A schedule counts as it is, be its numbers the defaults of its class or not."""
    from diffusers import LCMScheduler

    parts = tiny_models.parts("sd1", tokenizers)
    given = DiffusersModel(**{**parts, "scheduler": LCMScheduler()})
    saved = DiffusersModel(**{**parts, "scheduler": json.loads(LCMScheduler().to_json_string())})
    kept = LCMScheduler().alphas_cumprod
    for level in (0.2, 0.6):
        assert given.schedule(level).points == saved.schedule(level).points
    for timestep in (201, 601):
        at = Schedule((timestep, CLEAN))
        assert given.scales(at) == saved.scales(at)
        assert given.scales(at)[0] ** 2 == pytest.approx(kept[timestep].item())


@pytest.mark.parametrize(("spacing", "steps"), [("linspace", 20), ("trailing", 7)])
def test_timesteps_are_evenly_spaced(tokenizers, spacing, steps):
    """As in the paper, however the scheduler spaces its own."""
    from diffusers import EulerDiscreteScheduler

    parts = tiny_models.parts("sd1", tokenizers)
    schedulers = [
        EulerDiscreteScheduler(**tiny_models.SCHEDULE | {"timestep_spacing": spacing}),
        EulerDiscreteScheduler(
            **tiny_models.SCHEDULE | {"timestep_spacing": "leading", "steps_offset": 1}
        ),
    ]
    given, leading = (
        DiffusersModel(**parts | {"scheduler": scheduler}, steps=steps) for scheduler in schedulers
    )
    first, *timesteps, end = given.schedule(1.0).points
    assert first == 999 and end == CLEAN
    gaps = {before - after for before, after in itertools.pairwise(timesteps)}
    assert len(timesteps) == steps and gaps == {1000 // steps}
    guidance = _guidance(given, 1)
    denoised = [_denoise(model, _noise(1), 0.55, guidance) for model in (given, leading)]
    assert torch.equal(*denoised)


# denoising


def _denoise(model: DiffusersModel, noisy: Tensor, denoise: float, guidance: Guidance) -> Tensor:
    """Clean latents, by all steps from `denoise` on."""
    return model.sample(noisy, model.schedule(denoise), guidance).latents


def _scales(model: DiffusersModel, denoise: float) -> tuple[float, float]:
    return model.scales(model.schedule(denoise))


def _xl_conditions(text: PromptEmbeddings) -> dict[str, Any]:
    if text.pooled is None:
        return {}
    sizes = torch.tensor([[HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH]])
    return {"added_cond_kwargs": {"text_embeds": text.pooled, "time_ids": sizes}}


def _plain_output(
    parts: dict[str, Any],
    latent: Tensor,
    timestep: int,
    text: PromptEmbeddings,
    control: tuple[nn.Module, Tensor, float] | None = None,
) -> Tensor:
    """What the network says of one latent under one text."""
    more = _xl_conditions(text)
    residuals = {}
    if control is not None:
        network, hint, strength = control
        down, middle = network(
            latent, timestep, text.embeddings, hint, strength, return_dict=False, **more
        )
        residuals["down_block_additional_residuals"] = down
        residuals["mid_block_additional_residual"] = middle
    return parts["unet"](latent, timestep, text.embeddings, **more, **residuals).sample


@torch.no_grad()
def _by_hand(case: Case, noisy: Tensor, level: float, guidance: Guidance) -> Tensor:
    """DDIM with diffusers alone: every row by itself, and each half of guidance by itself."""
    scheduler = _ddim(case.family)
    rows = []
    for row, latent in enumerate(noisy.split(1)):
        g = guidance.rows([row])
        control = None
        if g.hint is not None:
            control = case.controlnet, g.hint, 1.0 if g.strength is None else g.strength.item()
        points = _points(scheduler, level)
        for timestep, lower in itertools.pairwise([*points, None]):
            negative, positive = (
                _plain_output(case.parts, latent, timestep, text, control)
                for text in (g.negative, g.positive)
            )
            output = negative + g.cfg * (positive - negative)
            latent = _ddim_step(scheduler, output, latent, timestep, lower)
        rows.append(latent)
    return torch.cat(rows)


def _ddim_step(
    scheduler: Any, output: Tensor, latent: Tensor, timestep: float, lower: float | None
) -> Tensor:
    """DDIM's equation 12 from a timestep to a lower one, or to the end of the schedule."""
    kept = _kept(scheduler, timestep)
    after = scheduler.final_alpha_cumprod.item() if lower is None else _kept(scheduler, lower)
    noise = output
    if scheduler.config.prediction_type == "v_prediction":
        noise = kept**0.5 * output + (1 - kept) ** 0.5 * latent
    clean = (latent - (1 - kept) ** 0.5 * noise) / kept**0.5
    return after**0.5 * clean + (1 - after) ** 0.5 * noise


@pytest.mark.parametrize(("level", "cfg"), [(0.55, 4.0), (0.3, 1.0), (0.05, 2.0)])
def test_denoising_agrees_with_a_plain_loop(case, level, cfg):
    guidance = _guidance(case.model, cfg=cfg)
    got = _denoise(case.model, _noise(), level, guidance)
    assert _close(got, _by_hand(case, _noise(), level, guidance))


def test_denoising_agrees_with_a_plain_loop_under_a_controlnet(case):
    strength = torch.tensor([0.0, 0.7, 1.5])
    guidance = _guidance(case.model, hint=_pictures(), strength=strength)
    got = _denoise(case.model, _noise(), 0.55, guidance)
    assert _close(got, _by_hand(case, _noise(), 0.55, guidance))
    free = _denoise(case.model, _noise(), 0.55, replace(guidance, hint=None, strength=None))
    assert _close(got[0], free[0])
    assert (got[1:] - free[1:]).abs().amax((1, 2, 3)).min() > 0.01


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_denoising_can_stop_on_the_way_and_go_on(case, share):
    guidance, schedule = _guidance(case.model, hint=_pictures()), case.model.schedule(0.9)
    first = round(share * len(schedule))
    partial = case.model.sample(_noise(), schedule[:first], guidance)
    got = case.model.sample(partial.latents, schedule[first:], guidance)
    whole = case.model.sample(_noise(), schedule, guidance)
    assert torch.equal(got.latents, whole.latents) and torch.equal(got.denoised, whole.denoised)
    assert not torch.allclose(got.latents, partial.latents, atol=1e-2)


def test_no_steps_change_nothing(case):
    schedule, guidance = case.model.schedule(0.8), _guidance(case.model)
    for none in (schedule[:0], schedule[len(schedule) :]):
        assert len(none) == 0
        sampled = case.model.sample(_noise(), none, guidance)
        assert torch.equal(sampled.latents, _noise()) and torch.equal(sampled.denoised, _noise())
    assert case.model.scales(schedule[len(schedule) :]) == (1, 0)


@torch.no_grad()
def test_the_denoised_prediction_is_by_the_guided_noise(case):
    """In the one step from the lowest level: `(x - s e) / a`."""
    guidance = _guidance(case.model, cfg=2.0)
    levels, (a, s) = torch.full((3,), 0.001), _scales(case.model, 0.001)
    negative, positive = (
        case.model.predict_noise(_noise(), levels, text)
        for text in (guidance.negative, guidance.positive)
    )
    noise = negative + 2.0 * (positive - negative)
    schedule = case.model.schedule(0.001)
    assert len(schedule) == 1
    sampled = case.model.sample(_noise(), schedule, guidance)
    assert _close(sampled.denoised, (_noise() - s * noise) / a)


def test_hints_that_repeat_give_what_each_gives_alone(case):
    hint = _pictures()[[0, 0, 1, 1, 0]]
    guidance = _guidance(case.model, 5, hint=hint)
    got = _denoise(case.model, _noise(5), 0.3, guidance)
    assert _close(got, _by_hand(case, _noise(5), 0.3, guidance))


def test_a_controlnet_that_wants_its_colours_turned_round(tokenizers):
    parts = tiny_models.parts("sd1", tokenizers)
    order = {"controlnet_conditioning_channel_order": "bgr"}
    controlnet = tiny_models.controlnet("sd1", **order)
    model = DiffusersModel(**parts, controlnet=controlnet, steps=STEPS)
    guidance = _guidance(model, hint=_pictures())
    want = _by_hand(Case("sd1", parts, controlnet, model), _noise(), 0.3, guidance)
    assert _close(_denoise(model, _noise(), 0.3, guidance), want)


@pytest.mark.parametrize("control", [False, True])
def test_all_the_way_is_what_the_pipeline_makes(case, control):
    controlnet = case.controlnet if control else None
    parts = {**case.parts, "scheduler": _ddim(case.family)}
    more = {"image": _pictures(), "controlnet_conditioning_scale": 1.3} if control else {}
    want = tiny_models.pipeline(case.family, parts, controlnet)(
        PROMPTS,
        negative_prompt=["sleeps"] * 3,
        height=HEIGHT,
        width=WIDTH,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        latents=_noise(),
        output_type="latent",
        **more,
    ).images
    positive, negative = (case.model.encode_text(texts) for texts in (PROMPTS, ["sleeps"]))
    guidance = Guidance(positive, negative, 4.0)
    if control:
        guidance = replace(guidance, hint=_pictures(), strength=torch.full((3,), 1.3))
    # the pipeline begins below the noisiest timestep, where its scheduler does
    schedule = case.model.schedule(1.0)[1:]
    assert _close(case.model.sample(_noise(), schedule, guidance).latents, want)


def test_rows_do_not_depend_on_the_batch(case, tokenizers):
    single = tiny_models.model(case.family, tokenizers, max_batch=1)
    more = {"hint": _pictures(5), "strength": torch.linspace(0.5, 1.5, 5)}
    guidance = _guidance(case.model, 5, **more)
    assert case.model.max_batch == 8
    assert _close(
        single.encode_text(PROMPTS).embeddings, case.model.encode_text(PROMPTS).embeddings
    )
    assert _close(single.encode(_pictures(5)), case.model.encode(_pictures(5)))
    assert _close(single.decode(_noise(5)), case.model.decode(_noise(5)))
    one, many = (_denoise(model, _noise(5), 0.55, guidance) for model in (single, case.model))
    assert (one - many).abs().max() < 1e-4
    assert torch.equal(one, _denoise(single, _noise(5), 0.55, guidance))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"positive": PromptEmbeddings(torch.zeros(2, 24, 16))},
            "positive: has 2 rows, 3 latents need 3 or 1",
        ),
        (
            {"negative": PromptEmbeddings(torch.zeros(2, 24, 16))},
            "negative: has 2 rows, 3 latents need 3 or 1",
        ),
        ({"hint": torch.zeros(3, 3, 8, 8)}, r"hint: got \(3, 3, 8, 8\), .* need \(3, 3, 16, 24\)"),
        ({"hint": torch.zeros(1, 3, 16, 16)}, r"hint: got \(1, 3, 16, 16\)"),
        (
            {"hint": torch.zeros(3, 3, HEIGHT, WIDTH), "strength": torch.ones(1)},
            r"strength: got \(1,\), the hints need \(3,\)",
        ),
    ],
)
def test_guidance_that_does_not_fit(tokenizers, change, message):
    model = tiny_models.model("sd1", tokenizers)
    with pytest.raises(ValueError, match=message):
        _denoise(model, _noise(), 0.5, replace(_guidance(model), **change))


def test_a_hint_without_a_controlnet(sd1):
    with pytest.raises(ValueError, match="hint: got one, but this model has no ControlNet"):
        _denoise(sd1, _noise(), 0.5, _guidance(sd1, hint=_pictures()))


def test_xl_wants_pooled_states(tokenizers):
    model = tiny_models.model("xl", tokenizers, control=False)
    states = PromptEmbeddings(model.encode_text(["a dog"]).embeddings)
    with pytest.raises(ValueError, match="text: has no pooled states"):
        _denoise(model, _noise(), 0.5, Guidance(states, states, 3.0))


def test_hint_scale(case, tokenizers):
    assert case.model.hint_scale == 2
    assert tiny_models.model(case.family, tokenizers, control=False).hint_scale == 2


# the prediction of noise


LEVELS = torch.tensor([0.25, 0.55, 0.9])


@torch.no_grad()
def test_predicted_noise_is_the_networks_row_by_row(case):
    text = case.model.encode_text(PROMPTS)
    got = case.model.predict_noise(_noise(), LEVELS, text)
    scheduler = _ddim(case.family)
    for row, level in enumerate(LEVELS.tolist()):
        latent, timestep = _noise()[row : row + 1], _points(scheduler, level)[0]
        want = _plain_output(case.parts, latent, timestep, text.rows([row]))
        if case.family == "sd2":
            kept = _kept(scheduler, timestep)
            want = kept**0.5 * want + (1 - kept) ** 0.5 * latent
        assert _close(got[row : row + 1], want)


@torch.no_grad()
def test_predicted_noise_is_what_the_last_step_takes_away(case):
    """DDIM's step from the lowest level, by its formula in the noise, also where v is predicted."""
    noisy, level = _noise(), 0.001
    guidance = _guidance(case.model, cfg=1.0)
    noise = case.model.predict_noise(noisy, torch.full((3,), level), guidance.positive)
    a, s = _scales(case.model, level)
    kept = _ddim(case.family).final_alpha_cumprod
    want = kept.sqrt() * (noisy - s * noise) / a + (1 - kept).sqrt() * noise
    assert _close(_denoise(case.model, noisy, level, guidance), want)


def _loss(model: DiffusersModel, states: Tensor, pooled: Tensor | None) -> Tensor:
    return (
        model.predict_noise(_noise(), LEVELS, PromptEmbeddings(states, pooled)) - _noise(3, 1)
    ).square()


def _gradients(model: DiffusersModel) -> list[Tensor]:
    text = model.encode_text(PROMPTS).map(lambda tensor: tensor.requires_grad_())
    _loss(model, text.embeddings, text.pooled).mean().backward()
    return [t.grad for t in (text.embeddings, text.pooled) if t is not None]


def test_the_gradient_reaches_the_text_and_nothing_else(case):
    gradients = _gradients(case.model)
    assert len(gradients) == (2 if case.family == "xl" else 1)
    assert all(gradient.abs().amax(-1).min() > 0 for gradient in gradients)
    assert all(weights.grad is None for weights in case.parts["unet"].parameters())


def test_the_gradient_is_the_slope(case):
    text = case.model.encode_text(PROMPTS)
    (gradient, *_), towards = _gradients(case.model), torch.randn_like(text.embeddings)
    with torch.no_grad():
        up, down = (
            _loss(case.model, text.embeddings + step * towards, text.pooled).double().mean()
            for step in (0.01, -0.01)
        )
    assert (gradient * towards).sum().item() == pytest.approx((up - down).item() / 0.02, rel=0.02)


def test_checkpointing_recomputes_and_changes_no_gradient(case):
    calls: list[bool] = []
    late = case.parts["unet"].up_blocks[0].resnets[0]
    hook = late.register_forward_pre_hook(lambda *_: calls.append(True))
    plain = _gradients(case.model)
    assert len(calls) == 1
    case.model.checkpointing(True)
    saving = _gradients(case.model)
    assert len(calls) == 3
    case.model.checkpointing(False)
    _gradients(case.model)
    assert len(calls) == 4
    hook.remove()
    assert all(_close(a, b, 1e-7) for a, b in zip(plain, saving, strict=True))


def test_nothing_but_predicted_noise_carries_a_graph(case):
    text = case.model.encode_text(PROMPTS).map(lambda tensor: tensor.requires_grad_())
    latents = _denoise(case.model, _noise(), 0.2, Guidance(text, text, 2.0))
    assert not any(
        tensor.requires_grad
        for tensor in (latents, case.model.decode(latents), case.model.encode(_pictures()))
    )
    assert case.model.predict_noise(_noise(), LEVELS, text).requires_grad


def test_text_of_another_number_of_rows(sd1):
    with pytest.raises(ValueError, match="text: has 2 rows, 3 latents need 3 or 1"):
        sd1.predict_noise(_noise(), LEVELS, sd1.encode_text(PROMPTS[:2]))


# the whole method


def _guide(model: DiffusersModel) -> Guide:
    """Learned conditioning of two pictures, and poses of two puppets."""
    positive, negative = model.encode_text(["a red puppet"]), model.encode_text([""])
    settings = InversionSettings(steps=2, learning_rate=0.01, cfg=3.0, augmentations=1)
    learned = invert(model, _pictures(2), positive, negative, settings)
    assert not torch.allclose(learned.positive.embeddings[0], learned.positive.embeddings[1])
    poses = world.poses(world.sample(2, torch.Generator().manual_seed(0)), 16)
    return Guide(learned.positive, learned.negative, 3.0, poses, (16, 16))


def test_from_pictures_to_frames(case, tokenizers):
    guide, keyframes = _guide(case.model), case.model.encode(_pictures(2))
    runs = []
    for model in (case.model, tiny_models.model(case.family, tokenizers, max_batch=1)):
        bisection = Bisection(
            model,
            path.Path.of(5, 2),
            guide,
            FrameSettings(candidates=2, min_candidates=1),
            scorer=EmbeddingScorer(
                lambda pictures: pictures.flatten(1), lambda seen: -(seen - 0.5).square().mean(1)
            ),
        )
        runs.append(list(bisection.frames(keyframes)))
    assert [frame.info.index for frame in runs[0]] == [2, 1, 3]
    assert [len(frame.info.scores) for frame in runs[0]] == [2, 0, 0]
    for frame, alone in zip(*runs, strict=True):
        assert frame.picture.shape == (3, HEIGHT, WIDTH)
        assert frame.picture.std() > 0
        assert frame.info.candidate == alone.info.candidate
        assert (frame.latent - alone.latent).abs().max() < 1e-4
    first, *others = (frame.latent for frame in runs[0])
    assert all((first - other).abs().max() > 0.01 for other in others)


# memory


def _cuda_out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def _cpu_out_of_memory() -> None:
    # the allocator's own error: a petabyte is more than addresses reach
    torch.empty(2**50, dtype=torch.uint8)


def _limit(network: nn.Module, rows: int, fail: Callable[[], None], patch: Any) -> list[int]:
    """Rows of the passes through `network` from here on, of which those above `rows` fail.

    A fake: a batch that really fills the memory would be slow, and would take other programs down.
    """
    forward, seen = network.forward, []

    def limited(sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(len(sample))
        if len(sample) > rows:
            fail()
        return forward(sample, *args, **kwargs)

    patch.setattr(network, "forward", limited)
    return seen


@pytest.mark.parametrize("fail", [_cuda_out_of_memory, _cpu_out_of_memory])
def test_a_batch_that_does_not_fit_is_halved(tokenizers, monkeypatch, fail):
    model = tiny_models.model("sd1", tokenizers)
    guidance = _guidance(model, 5, hint=_pictures(5), strength=torch.linspace(0.5, 1.5, 5))
    want = _denoise(model, _noise(5), 0.001, guidance)
    seen = _limit(model._network.unet, 4, fail, monkeypatch)
    got = _denoise(model, _noise(5), 0.001, guidance)
    assert seen == [10, 4, 4, 2]
    assert _close(got, want)
    assert model.max_batch == 2
    _denoise(model, _noise(5), 0.001, guidance)
    assert seen[4:] == [4, 4, 2]


def test_pictures_that_do_not_fit_leave_the_batches_of_latents_alone(tokenizers, monkeypatch):
    model = tiny_models.model("sd1", tokenizers)
    pictures, latents = _pictures(5), _noise(5)
    want = model.encode(pictures), model.decode(latents)
    encoded = _limit(model._codec.vae.encoder, 2, _cuda_out_of_memory, monkeypatch)
    decoded = _limit(model._codec.vae.decoder, 2, _cuda_out_of_memory, monkeypatch)
    assert _close(model.encode(pictures), want[0])
    assert _close(model.decode(latents), want[1])
    assert (encoded, decoded) == ([5, 2, 2, 1], [2, 2, 1])
    assert model.max_batch == 8


def test_one_row_that_does_not_fit_is_an_error(tokenizers, monkeypatch):
    model = tiny_models.model("sd1", tokenizers)
    guidance = _guidance(model)
    _limit(model._network.unet, 0, _cuda_out_of_memory, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        _denoise(model, _noise(), 0.3, guidance)


def test_other_errors_are_not_taken_for_a_lack_of_memory(tokenizers, monkeypatch):
    def fail() -> None:
        raise RuntimeError("shapes do not match")

    model = tiny_models.model("sd1", tokenizers)
    guidance = _guidance(model)
    seen = _limit(model._network.unet, 0, fail, monkeypatch)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        _denoise(model, _noise(), 0.3, guidance)
    assert seen == [6]


# types of numbers


def test_bfloat16_runs_and_gives_float32(tokenizers):
    full, half = (
        tiny_models.model("sd1", tokenizers, dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    guidance = _guidance(half, hint=_pictures())
    results = [
        (m.encode(_pictures()), m.decode(_noise()), _denoise(m, _noise(), 0.3, guidance))
        for m in (full, half)
    ]
    for want, got in zip(*results, strict=True):
        assert got.dtype == torch.float32
        assert (got - want).abs().max() < 0.05 * want.abs().max()
    (gradient,) = _gradients(half)
    assert gradient.dtype == torch.float32
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("family", "exact"), [("sd1", False), ("xl", True)])
def test_autoencoders_that_overflow_run_in_full_precision(tokenizers, family, exact):
    half = tiny_models.model(family, tokenizers, dtype=torch.float16)
    full = tiny_models.model(family, tokenizers)
    assert torch.allclose(half.decode(_noise()), full.decode(_noise()), atol=1e-6) == exact
    assert _denoise(half, _noise(), 0.1, _guidance(half)).isfinite().all()


# parts that do not fit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "max_batch: got 0, needs at least 1"),
        ({"steps": 0}, "steps: got 0, this noise schedule allows 1 to 999"),
        ({"steps": 1000}, "steps: got 1000"),
        (
            {"scheduler": {"beta_schedule": "linear", "prediction_type": "sample"}},
            "prediction_type is 'sample', needs epsilon or v_prediction",
        ),
        ({"scheduler": {"_class_name": "FlowMatch"}}, "scheduler: FlowMatch has no beta_schedule"),
        ({"text_encoders": []}, "text encoders: got 0 with 1 tokenizers, this unet needs 1"),
    ],
)
def test_options_out_of_range(tokenizers, options, message):
    with pytest.raises(ValueError, match=message):
        DiffusersModel(**{**tiny_models.parts("sd1", tokenizers), **options})


def test_a_unet_of_other_latents(tokenizers):
    parts = tiny_models.parts("sd1", tokenizers)
    parts["unet"].register_to_config(in_channels=9)
    with pytest.raises(ValueError, match="unet: takes 9 channels, the vae makes latents of 4"):
        DiffusersModel(**parts)


def test_a_unet_of_another_family(tokenizers):
    one, other = (tiny_models.parts(family, tokenizers) for family in ("sd1", "sd2"))
    with pytest.raises(ValueError, match="takes text of width 24, the text encoders make 16"):
        DiffusersModel(**{**one, "unet": other["unet"]})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("sd2", "its cross_attention_dim is 24, this model's unet needs 16"),
        ("xl", "its cross_attention_dim is 40, .* another family of models"),
    ],
)
def test_a_controlnet_of_another_family(tokenizers, other, message):
    controlnet = tiny_models.controlnet(other)
    with pytest.raises(ValueError, match=f"controlnet: {message}"):
        DiffusersModel(**tiny_models.parts("sd1", tokenizers), controlnet=controlnet)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tokenizers, value):
    parts = tiny_models.parts("sd1", tokenizers)
    with torch.no_grad():
        parts["unet"].conv_in.bias[3] = value
    with pytest.raises(ValueError, match=r"unet: conv_in\.bias holds NaN or infinity"):
        DiffusersModel(**parts)
