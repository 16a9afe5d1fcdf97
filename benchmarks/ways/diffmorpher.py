"""DiffMorpher (2312.07409), written again from its paper and the authors' code.

Each keyframe gets a LoRA of its own. Frames are denoised from mixed inverted latents under mixed
LoRAs, and their keys and values are of the mixed states of both ends. Then places are respaced so
that all steps look equally large, and the frames are made again.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from diffusion_interpolation.lora_settings import LoraSettings
from diffusion_interpolation.method.learning.identity import learn_lora
from diffusion_interpolation.models.lora import KeyframeLora
from diffusion_interpolation.scoring.metrics import feature_distance

from .attention import hooked, late_parts, straight
from .inversion import Ladder
from .peers import denoiser, guided, mixed, places, plain
from .registry import Task, maker

LEARNING = LoraSettings(steps=200, learning_rate=2e-4, rank=16, max_denoise=1.0)
INJECTED = 0.6
"""The fraction of the steps, from pure noise on, in which keys and values are those of the ends."""


@maker("DiffMorpher", rows="peers", posed=False, cfg=1.0)
def diff_morpher(task: Task) -> Tensor:
    """Make frames twice: at even places, and at places of even steps of the demo's CLIP."""
    ladder, network = Ladder.of(task.model), denoiser(task.model)
    latents = task.model.encode(task.pictures)
    lora = learned(task, latents, LEARNING)
    with lora.on(network, torch.eye(len(latents))):
        inverted = ladder.invert(latents, plain(ladder, task), ladder.top)
    even = places(task)
    pictures = _made(ladder, task, inverted, lora, even)
    return _made(ladder, task, inverted, lora, respaced(task, pictures, even))


def _made(
    ladder: Ladder, task: Task, inverted: Tensor, lora: KeyframeLora, weights: Tensor
) -> Tensor:
    """Pictures `(P * n, 3, h, w)` at places `weights` `(P, n)`."""
    network = denoiser(task.model)
    noisy = adapted(mixed(inverted, weights), inverted, weights)

    def predict(latents: Tensor, step: int) -> Tensor:
        hook = nullcontext()
        if step > (1 - INJECTED) * ladder.top:
            mix, count = straight(weights), weights.shape[1]
            hook = hooked(network, mix, count, late_parts(network))
        return guided(ladder, task, latents, step, hook)

    with lora.on(network, of_ends(weights)):
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


def learned(task: Task, latents: Tensor, settings: LoraSettings) -> KeyframeLora:
    """Learn a LoRA for each row of clean `latents`, all in one batch."""
    steps = task.way.options.get("lora_steps", settings.steps)
    settings = replace(settings, seed=task.settings.seed, steps=steps)
    network, text = denoiser(task.model), task.guide.positive
    return learn_lora(task.model, network, latents, text, settings)[0]


def of_ends(weights: Tensor) -> Tensor:
    """The weights `(P * n, 2 * P)` of all keyframes for frames at places `(P, n)` of their pair."""
    ends = torch.stack([1 - weights, weights], -1)
    return torch.block_diag(*ends)
