"""LoRAs of keyframes: what they change, for which rows, and what learning them does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from diffusion_interpolation.demo import load_named, world
from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.demo.pair import pair
from diffusion_interpolation.lora_settings import LoraSettings
from diffusion_interpolation.method.learning.identity import learn_lora
from diffusion_interpolation.models.lora import KeyframeLora, attention_layers

SHORT = LoraSettings(steps=12, learning_rate=4e-3, rank=4, max_denoise=0.6)


class Network(nn.Module):
    """A layer of attention, and one that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = nn.ModuleDict({"qkv": nn.Linear(3, 5)})
        self.feed_forward = nn.Linear(3, 5)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.self_attn["qkv"](rows)


def random_lora(network: nn.Module, keyframes: int) -> KeyframeLora:
    drawn = torch.Generator().manual_seed(0)
    fresh = KeyframeLora.fresh(network, keyframes, 2, drawn)
    return fresh.of([torch.randn(one.shape, generator=drawn) for one in fresh.tensors()])


@pytest.mark.parametrize("shape", [(2, 3), (2, 7, 3), (2, 4, 6, 3), (4, 7, 3)])
def test_each_row_has_the_weights_of_its_position(shape):
    network, rows = Network(), torch.randn(shape)
    lora = random_lora(network, 3)
    weights = lora.weights([0.25, 2.0])
    assert weights.tolist() == [[0.75, 0.25, 0], [0, 0, 1]]
    # a loop goes on from the last keyframe to the first
    assert lora.weights([2.75, 3.0]).tolist() == [[0.75, 0, 0.25], [1, 0, 0]]
    with pytest.raises(ValueError, match=r"position: got 0 to 3\.5"):
        lora.weights([0.0, 3.5])
    plain = network(rows)
    with lora.on(network, weights):
        changed = network(rows)
    [(down, up)] = lora.layers.values()
    for row in range(len(rows)):
        place = row % 2
        mixed_down, mixed_up = (torch.einsum("k,kab->ab", weights[place], m) for m in (down, up))
        wanted = plain[row] + rows[row] @ mixed_down.T @ mixed_up.T
        assert torch.allclose(changed[row], wanted, atol=1e-5)
    assert torch.equal(network(rows), plain), "the network is as it was"


def test_what_is_fresh_changes_nothing():
    network, rows = Network(), torch.randn(2, 7, 3)
    lora = KeyframeLora.fresh(network, 2, 4, torch.Generator())
    with lora.on(network, torch.eye(2)):
        assert torch.equal(network(rows), network.self_attn["qkv"](rows))
    assert list(attention_layers(network)) == ["self_attn.qkv"]


def test_a_network_that_cannot_have_one_is_told():
    with pytest.raises(ValueError, match="model: Linear has no attention of a known name"):
        KeyframeLora.fresh(nn.Linear(3, 3), 2, 4, torch.Generator())
    network = Network()
    told = r"model: its layer self_attn\.qkv gets 3 rows for 2 latents"
    with random_lora(network, 2).on(network, torch.eye(2)), pytest.raises(ValueError, match=told):
        network(torch.randn(3, 7, 3))


@pytest.mark.parametrize("name", ["demo", "demo-flow"])
def test_each_keyframe_learns_its_own(name):
    model = load_named(name, steps=4)
    network = getattr(model._network, "unet", None) or model._network.transformer
    latents = model.encode(world.render(pair(), SIZE))
    text, told = model.encode_text(["a puppet"]), []
    lora, losses = learn_lora(
        model, network, latents, text, SHORT, lambda step, loss: told.append((step, loss))
    )
    assert [step for step, _ in told] == list(range(1, 13)) and list(losses) == [10, 12]
    assert {name for name, _ in network.named_parameters() if "lora" in name} == set()
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(9))
    signal, sigma = model.scales(model.schedule(0.4))
    noisy, levels = signal * latents + sigma * noise, torch.tensor([0.4, 0.4])

    def errors(weights: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), lora.on(network, weights):
            predicted = model.predict_noise(noisy, levels, text)
        return (predicted - noise).square().mean((1, 2, 3))

    own, other, none = errors(torch.eye(2)), errors(torch.eye(2).flip(0)), errors(torch.zeros(2, 2))
    assert (own < none).all() and (own < other).all()


@pytest.mark.parametrize("name", ["demo", "demo-flow"])
def test_checkpoints_change_nothing(name):
    """They run the network again on the way back, under the same LoRAs."""
    model, found = load_named(name, steps=4), []
    network = getattr(model._network, "unet", None) or model._network.transformer
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text = model.encode_text(["a puppet"])
    for on in (False, True):
        model.checkpointing(on)
        # checkpoints are for training
        network.train(on)
        told = replace(SHORT, steps=2)
        found.append(learn_lora(model, network, latents, text, told)[0].tensors())
    pairs = zip(*found, strict=True)
    assert all(torch.allclose(plain, other, atol=1e-5) for plain, other in pairs)


def test_the_same_seed_learns_the_same():
    model = load_named("demo-flow", steps=4)
    latents, text = torch.randn(2, 4, 8, 8), model.encode_text(["a puppet"])
    settings = replace(SHORT, steps=2)
    first, again, other = (
        learn_lora(model, model._network.transformer, latents, text, told)[0].tensors()
        for told in (settings, settings, replace(settings, seed=1))
    )
    assert all(map(torch.equal, first, again)) and not any(map(torch.equal, first, other))


def test_settings_out_of_range_are_told():
    with pytest.raises(ValueError, match=r"min_denoise: got 0\.6, needs less"):
        LoraSettings(min_denoise=0.6, max_denoise=0.5).check()
    with pytest.raises(ValueError, match="rank: got 0"):
        LoraSettings(rank=0).check()
