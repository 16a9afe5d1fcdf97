"""DiffMorpher (2312.07409), written again from its paper and the authors' code.

Each keyframe gets a LoRA of its own. Frames are denoised from mixed inverted latents under mixed
LoRAs, and their keys and values are of the mixed states of both ends. Then places are respaced so
that all steps look equally large, and the frames are made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from diffusion_interpolation.scoring.metrics import feature_distance

from .attention import attentions, hooked, late_parts, straight
from .inversion import Ladder
from .peers import denoiser, guided, mixed, places, plain
from .registry import Task, maker

RANK, STEPS, RATE = 16, 200, 2e-4
INJECTED = 0.6
"""The fraction of the steps, from pure noise on, in which keys and values are those of the ends."""

Lora = dict[str, tuple[Tensor, Tensor]]
"""Of linear layers by name: `(rows, rank, in)` and `(rows, out, rank)`, a LoRA for each row."""


@maker("DiffMorpher", rows="peers", posed=False, cfg=1.0)
def diff_morpher(task: Task) -> Tensor:
    """Make frames twice: at even places, and at places of even steps of the demo's CLIP."""
    ladder, network = Ladder.of(task.model), denoiser(task.model)
    latents = task.model.encode(task.pictures)
    lora = learned(ladder, task, latents)
    with applied(network, lora):
        inverted = ladder.invert(latents, plain(ladder, task), ladder.top)
    even = places(task)
    pictures = _made(ladder, task, inverted, lora, even)
    return _made(ladder, task, inverted, lora, respaced(task, pictures, even))


def _made(ladder: Ladder, task: Task, inverted: Tensor, lora: Lora, weights: Tensor) -> Tensor:
    """Pictures `(P * n, 3, h, w)` at places `weights` `(P, n)`."""
    network = denoiser(task.model)
    noisy = adapted(mixed(inverted, weights), inverted, weights)

    def predict(latents: Tensor, step: int) -> Tensor:
        hook = nullcontext()
        if step > (1 - INJECTED) * ladder.top:
            mix, count = straight(weights), weights.shape[1]
            hook = hooked(network, mix, count, late_parts(network))
        return guided(ladder, task, latents, step, hook)

    with applied(network, between(lora, weights)):
        return task.model.decode(ladder.denoise(noisy, predict, ladder.top))


def adapted(latents: Tensor, ends: Tensor, weights: Tensor) -> Tensor:
    """Give latents the means and deviations of the ends' channels, mixed by place (AdaIN)."""

    def of(latents: Tensor) -> tuple[Tensor, Tensor]:
        return latents.mean((2, 3), keepdim=True), latents.std((2, 3), keepdim=True)

    (mean, spread), like = of(latents), weights[:, :, None, None, None]
    means, spreads = (one[::2, None].lerp(one[1::2, None], like).flatten(0, 1) for one in of(ends))
    return (latents - mean) / spread * spreads + means


def respaced(task: Task, pictures: Tensor, weights: Tensor) -> Tensor:
    """Return places `(P, n)` between which `pictures` at `weights` would take equal steps."""
    distance, found = feature_distance(task.clip.embed_pictures), []
    for frames, old in zip(pictures.unflatten(0, weights.shape), weights.cpu(), strict=True):
        steps = distance(frames[:-1], frames[1:]).cpu()
        way = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
        wanted = torch.linspace(0, way[-1].item(), len(old))
        after = torch.searchsorted(way, wanted).clamp(1, len(old) - 1)
        share = (wanted - way[after - 1]) / (way[after] - way[after - 1]).clamp_min(1e-9)
        found.append(old[after - 1].lerp(old[after], share.clamp(0, 1)))
    return torch.stack(found).to(weights)


def learned(ladder: Ladder, task: Task, latents: Tensor) -> Lora:
    """Train a LoRA for each row of clean `latents`, all in one batch; they do not meet."""
    network, generator = denoiser(task.model), torch.Generator().manual_seed(task.settings.seed)
    lora = fresh(network, len(latents), generator)
    optimizer = torch.optim.AdamW([one for both in lora.values() for one in both], lr=RATE)
    text = task.guide.positive.repeated(len(latents))
    signals, sigmas = torch.tensor(ladder.scales).T[:, :, None, None, None].to(latents)
    with applied(network, lora), torch.enable_grad():
        for _ in range(task.way.options.get("lora_steps", STEPS)):
            steps = torch.randint(1, ladder.top + 1, (len(latents),), generator=generator)
            noise = torch.randn(latents.shape, generator=generator).to(latents)
            noisy = signals[steps] * latents + sigmas[steps] * noise
            predicted = task.model.predict_noise(noisy, steps / ladder.steps, text)
            # the sum over rows of each row's own mean: no row changes another one's gradient
            loss = (predicted - noise).square().mean((1, 2, 3)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {name: (down.detach(), up.detach()) for name, (down, up) in lora.items()}


def fresh(network: nn.Module, rows: int, generator: torch.Generator) -> Lora:
    """A LoRA that changes nothing yet, for each row."""
    lora = {}
    for name, layer in _layers(network).items():
        down = torch.randn(1, RANK, layer.in_features, generator=generator) / RANK
        up = torch.zeros(rows, layer.out_features, RANK)
        lora[name] = tuple(
            nn.Parameter(one.repeat(rows // len(one), 1, 1).to(layer.weight)) for one in (down, up)
        )
    return lora


def _layers(network: nn.Module) -> dict[str, nn.Linear]:
    """The projections of all attention."""
    return {
        f"{name}.{part}": attention.get_submodule(part)
        for name, attention in attentions(network).items()
        for part in ("to_q", "to_k", "to_v", "to_out.0")
    }


def between(lora: Lora, weights: Tensor) -> Lora:
    """Return a LoRA for each frame at places `weights` `(P, n)` of the LoRAs of both ends."""
    like = weights[:, :, None, None]
    return {
        name: tuple(one[::2, None].lerp(one[1::2, None], like).flatten(0, 1) for one in both)
        for name, both in lora.items()
    }


@contextmanager
def applied(network: nn.Module, lora: Lora) -> Iterator[None]:
    """Within, each row of the network's batch has the LoRA of that row."""
    with ExitStack() as stack:
        for name, layer in _layers(network).items():
            stack.callback(layer.register_forward_hook(partial(_changed, *lora[name])).remove)
        yield


def _changed(
    down: Tensor, up: Tensor, layer: nn.Module, inputs: tuple[Tensor], output: Tensor
) -> Tensor:
    """The output of a linear layer whose weights each row has changed by `up @ down`."""
    return output + inputs[0] @ down.mT @ up.mT
