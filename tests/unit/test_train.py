"""The training of the embedded model, cut down to a few steps a stage."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from diffusion_interpolation.demo import networks, train, world
from diffusion_interpolation.demo.flow import velocity
from diffusion_interpolation.demo.networks import GRID, SIZE
from diffusion_interpolation.demo.training import captions
from diffusion_interpolation.demo.training.batches import spoil
from diffusion_interpolation.demo.training.workshop import PLANS, Plan, Training
from diffusion_interpolation.models.diffusers.model import DiffusersModel
from diffusion_interpolation.scoring.clip import transformers_pair

pytestmark = pytest.mark.part("training")

# a step or two of each stage
SHORT = ["--scale", "0.0002", "--batch", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """What a training of a few steps exports."""
    work = tmp_path_factory.mktemp("training")
    train.main(["--work", str(work), *SHORT])
    return work / "weights"


def test_what_is_exported_is_a_model_with_all_its_parts(weights):
    model = DiffusersModel.from_folder(weights, controlnet=weights / "controlnet", steps=2)
    pictures = world.render(world.sample(2, torch.Generator().manual_seed(0)), SIZE)
    latents = model.encode(pictures)
    assert latents.shape == (2, 4, GRID, GRID)
    assert model.decode(latents).shape == pictures.shape
    assert model.encode_text(["a red puppet"]).embeddings.isfinite().all()
    pair = transformers_pair(weights / "clip", tokenizer_folder=weights / "tokenizer")
    assert pair.embed_pictures(pictures).shape == pair.embed_texts(["a", "b"]).shape
    record = json.loads((weights / "training.json").read_text())
    assert record["seed"] == 0
    assert {name: stage["steps"] for name, stage in record["stages"].items()} == {
        name: max(1, int(0.0002 * plan.steps)) for name, plan in PLANS.items()
    }
    assert set(record["stages"]["vae"]["figures"]) == {"loss", "psnr", "kl"}


def test_latents_are_standardised(weights):
    """On many pictures their mean is 0 and their variance 1, as Stable Diffusion's are."""
    model = DiffusersModel.from_folder(weights, steps=2)
    latents = model.encode(world.render(world.sample(64, torch.Generator().manual_seed(1)), SIZE))
    assert latents.mean((0, 2, 3)).abs().max() < 0.25
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.25


def test_a_resumed_training_equals_an_unbroken_one(tmp_path):
    plan = Plan(steps=6, batch=4, rate=1e-2)

    def advance(training: Training, until: int) -> None:
        while training.step < until:
            generator = torch.Generator().manual_seed(training.step)
            pictures = torch.randn(4, 3, generator=generator)
            training.advance({"loss": training.module(pictures).square().mean()})

    def module() -> nn.Module:
        torch.manual_seed(0)
        return nn.Linear(3, 2)

    unbroken = Training(module(), plan, tmp_path / "a.pt")
    advance(unbroken, 6)
    first = Training(module(), plan, tmp_path / "b.pt")
    advance(first, 3)
    first.save()
    second = Training(module(), plan, tmp_path / "b.pt")
    assert second.step == 3
    advance(second, 6)
    assert torch.equal(unbroken.module.weight, second.module.weight)
    assert torch.equal(unbroken.average.weight, second.average.weight)
    assert unbroken.seen == second.seen


def test_the_rate_rises_holds_and_falls():
    plan = Plan(steps=1000, batch=1, rate=1.0)
    assert plan.rate_at(0) == 0.01 and plan.rate_at(99) == 1 and plan.rate_at(600) == 1
    assert plan.rate_at(800) == pytest.approx(0.5) and plan.rate_at(1000) == 0


def test_a_limit_of_time_ends_a_stage_and_its_rate(tmp_path):
    plan = Plan(steps=10**9, batch=1, rate=1.0)
    training = Training(nn.Linear(3, 2), plan, tmp_path / "a.pt", seconds=0.2)
    rates = []
    while not training.completed:
        training.advance({"loss": training.module(torch.ones(1, 3)).square().mean()})
        rates.append(training.optimizer.param_groups[0]["lr"])
    assert 0.2 < training.elapsed < 1 and len(rates) > 20
    assert rates[-1] < 0.3 * max(rates)


def test_flawed_copies_are_flawed_as_they_say():
    generator = torch.Generator().manual_seed(0)
    pictures = world.render(world.sample(30, generator), SIZE)
    spoiled, kinds = spoil(pictures, generator)
    assert set(kinds.tolist()) == set(range(len(captions.FLAWS)))
    assert ((spoiled - pictures).abs().mean((1, 2, 3)) > 0.005).all()


def test_captions_by_number_say_what_the_puppet_is():
    generator = torch.Generator().manual_seed(0)
    puppets = world.sample(400, generator)
    texts = list(captions.all_captions())
    words = [texts[i] for i in captions.loose_numbers(puppets, generator).tolist()]
    with_arms = sum("arms" in text for text in words) / len(words)
    assert 0.4 < with_arms < 0.6 and all("puppet" in text for text in words)
    for text, full in zip(words, world.captions(puppets), strict=True):
        said = set(text.replace(",", "").split()) - {"a", "an"}
        assert said <= set(full.replace(",", "").split())


def test_the_fast_velocity_is_the_transformers_own():
    torch.manual_seed(0)
    model = networks.transformer().eval().requires_grad_(False)
    noisy, sigma = torch.randn(3, 4, GRID, GRID), torch.tensor([0.9, 0.5, 0.1])
    text = torch.randn(3, 23, networks.TEXT_WIDTH)
    mask = torch.arange(23)[None] < torch.tensor([23, 9, 2])[:, None]
    own = model(noisy, 1 - sigma, text, mask, return_dict=False)[0]
    assert torch.allclose(velocity(model, noisy, sigma, text, mask), -own, atol=1e-5)
