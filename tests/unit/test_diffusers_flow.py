"""The flow transformer over diffusers, on the embedded weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from diffusion_interpolation.demo import load_flow, networks, world
from diffusion_interpolation.demo.networks import FLOW_SHIFT, GRID, SIZE
from diffusion_interpolation.method.learning.inversion import invert
from diffusion_interpolation.models.contract import Guidance
from diffusion_interpolation.models.denoise import noise_ratio
from diffusion_interpolation.models.diffusers.flow import DiffusersFlow
from diffusion_interpolation.models.prompts import PromptEmbeddings
from diffusion_interpolation.settings import InversionSettings

STEPS = 4
PROMPTS = ["a puppet", "a red puppet in blue trousers with a cap, on a green background"]


@pytest.fixture(scope="module")
def model() -> DiffusersFlow:
    return load_flow(steps=STEPS)


def noise(count: int = 2) -> Tensor:
    return torch.randn(count, 4, GRID, GRID, generator=torch.Generator().manual_seed(0))


def guidance(model: DiffusersFlow, prompts: list[str], cfg: float = 3.0) -> Guidance:
    return Guidance(model.encode_text(prompts), model.encode_text([""]), cfg)


def denoised(model: DiffusersFlow, noisy: Tensor, denoise: float, given: Guidance) -> Tensor:
    """Clean latents of `noisy` at `denoise`."""
    return model.sample(noisy, model.schedule(denoise), given).latents


def test_a_denoise_is_an_amount_of_noise_that_the_shift_leaves_alone(model):
    for denoise in (0.3, 0.55, 0.8):
        ratio = noise_ratio(denoise)
        sigma = ratio / (1 + ratio)
        schedule = model.schedule(denoise)
        assert model.scales(schedule) == pytest.approx((1 - sigma, sigma))
        time = sigma / (FLOW_SHIFT - (FLOW_SHIFT - 1) * sigma)
        assert len(schedule) == math.ceil(STEPS * time) and schedule.points[-1] == 0
    assert model.schedule(1.0).points == pytest.approx((1, 0.9, 0.75, 0.5, 0))
    for level in (0.0, 1.1, -1.0):
        with pytest.raises(ValueError, match="denoise: got"):
            model.schedule(level)


def test_it_samples_as_diffusers_scheduler_steps(model):
    """Row by row, each half of guidance by itself and nothing padded."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    given = denoised(model, noise(), 1.0, guidance(model, PROMPTS))
    transformer, empty = model._network.transformer, model.encode_text([""]).embeddings
    for row, prompt in enumerate(PROMPTS):
        scheduler = FlowMatchEulerDiscreteScheduler(shift=FLOW_SHIFT)
        scheduler.set_timesteps(sigmas=[1 - step / STEPS for step in range(STEPS)])
        latents = noise()[[row]]
        for sigma, time in zip(scheduler.sigmas, scheduler.timesteps, strict=False):
            halves = []
            for states in (empty, model.encode_text([prompt]).embeddings):
                mask = torch.ones(states.shape[:2], dtype=torch.bool)
                with torch.no_grad():
                    halves.append(-transformer(latents, 1 - sigma[None], states, mask).sample)
            way = halves[0] + 3.0 * (halves[1] - halves[0])
            latents = scheduler.step(way, time, latents).prev_sample
        assert (latents - given[[row]]).abs().max() < 1e-4


def test_texts_are_not_padded_and_padding_is_not_seen(model):
    alone = [model.encode_text([prompt]).embeddings for prompt in PROMPTS]
    together = model.encode_text(PROMPTS).embeddings
    assert alone[0].shape[1] == 4 < alone[1].shape[1] == together.shape[1]
    assert torch.allclose(together[:1, :4], alone[0], atol=1e-5)
    assert not together[0, 4:].any() and together[1].norm(dim=-1).min() > 0.1
    # shorter rows are what they are alone, in a batch with longer ones
    levels = torch.tensor([0.5, 0.5])
    both = model.predict_noise(noise(), levels, PromptEmbeddings(together))
    first = model.predict_noise(noise()[:1], levels[:1], PromptEmbeddings(alone[0]))
    assert (both[:1] - first).abs().max() < 1e-4


def test_the_steps_of_a_schedule_can_be_taken_in_parts(model):
    given, schedule = guidance(model, PROMPTS), model.schedule(1.0)
    whole = model.sample(noise(), schedule, given)
    half = model.sample(noise(), schedule[:2], given)
    assert torch.equal(whole.latents, model.sample(half.latents, schedule[2:], given).latents)
    assert torch.equal(whole.latents, whole.denoised)
    # the prediction is nearer to what it becomes than the latents on the way are
    away = [(x - whole.latents).abs().mean() for x in (half.denoised, half.latents)]
    assert away[0] < away[1]


def test_a_frame_does_not_depend_on_its_batch(model):
    given = guidance(model, PROMPTS)
    one = torch.cat([denoised(model, noise()[[i]], 0.5, given.rows([i])) for i in range(2)])
    assert (one - denoised(model, noise(), 0.5, given)).abs().max() < 1e-4


def test_the_noise_is_the_one_that_is_in_there(model):
    """Of a puppet under its caption, and better than noise of another seed."""
    puppets = world.sample(8, torch.Generator().manual_seed(3))
    clean = model.encode(world.render(puppets, SIZE))
    a, s = model.scales(model.schedule(0.5))
    text = model.encode_text(world.captions(puppets))
    with torch.no_grad():
        found = model.predict_noise(a * clean + s * noise(8), torch.full((8,), 0.5), text)
    assert (found - noise(8)).square().mean() < 0.2


def test_learning_lowers_the_loss_and_leaves_padding_alone(model):
    pictures = world.render(world.sample(2, torch.Generator().manual_seed(3)), SIZE)
    settings = InversionSettings(steps=10, learning_rate=0.25, cfg=2.0, draws=2, augmentations=0)
    prompts = model.encode_text(PROMPTS)
    learned = invert(model, pictures, prompts, model.encode_text([""]), settings)
    assert min(learned.losses.values()) < 0.98 * learned.losses[0]
    assert not learned.positive.embeddings[0, 4:].any()
    assert (learned.positive.embeddings - prompts.embeddings)[0, :4].abs().max() > 0.01


def test_checkpointing_changes_no_gradient(model):
    text = model.encode_text(["a puppet"]).embeddings.requires_grad_(True)
    gradients = []
    for on in (False, True):
        model.checkpointing(on)
        predicted = model.predict_noise(noise(), torch.tensor([0.5, 0.5]), PromptEmbeddings(text))
        gradients += torch.autograd.grad(predicted.square().sum(), text)
    model.checkpointing(False)
    assert gradients[0].abs().max() > 0
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_is_refused(model):
    hint = torch.zeros(2, 3, SIZE, SIZE)
    given = guidance(model, ["a puppet"])
    with pytest.raises(ValueError, match="has no ControlNet"):
        denoised(model, noise(), 0.5, Guidance(given.positive, given.negative, 2.0, hint))
    with pytest.raises(ValueError, match="text: has 3 rows"):
        model.predict_noise(
            noise(), torch.tensor([0.5, 0.5]), PromptEmbeddings(torch.zeros(3, 4, 128))
        )
    with pytest.raises(ValueError, match="multiples of 16"):
        model.encode(torch.zeros(1, 3, 128, 120))
    with pytest.raises(ValueError, match="prompt: has 42 tokens"):
        model.encode_text(["puppet " * 40])
    with pytest.raises(ValueError, match="steps: got 0"):
        load_flow(steps=0)
    vae = model._codec.vae
    parts = {"vae": vae, "transformer": model._network.transformer}
    texts = {"text_encoder": model._text._encoder, "tokenizer": model._text._tokenizer}
    scheduler = {**networks.flow_scheduler().config, "use_dynamic_shifting": True}
    with pytest.raises(ValueError, match="needs a fixed shift"):
        DiffusersFlow(**parts, scheduler=scheduler, **texts)
    parts["vae"] = type(vae)(latent_channels=16, norm_num_groups=1)
    with pytest.raises(
        ValueError, match="transformer: takes 4, but the number of channels of the vae is 16"
    ):
        DiffusersFlow(**parts, scheduler=networks.flow_scheduler().config, **texts)
