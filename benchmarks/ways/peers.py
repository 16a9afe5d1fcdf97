"""AID and FreeMorph, written again from their papers and the authors' code.

Both invert the keyframes, mix what comes out, and let the frames attend to both ends while they are
denoised. All frames of a path go through the network together. Captions are the same for both
keyframes, and there are no poses.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_interpolation.method.blend import slerp
from diffusion_interpolation.method.noise import draw_noise

from .attention import averaged, fused, hooked, outer
from .inversion import Ladder, Predict
from .registry import Task, maker

BETA = 20.0
"""FreeMorph's frames attend to the ends by quantiles of the distribution Beta(20, 20)."""
STRENGTH = 0.8
"""The fraction of the steps that FreeMorph inverts and takes."""


def places(task: Task) -> Tensor:
    """Return the places `(P, n)` of the frames of each path from 0 to 1, on the model's device."""
    even = torch.linspace(0, 1, task.path.between[0] + 2, device=task.model.device)
    return even.expand(len(task.pairs) // 2, -1)


def mixed(latents: Tensor, weights: Tensor) -> Tensor:
    """Return paths `(P * n, ...)` on the great circles between the pairs of `(2 P, ...)`."""
    first, last = (
        ends.repeat_interleave(weights.shape[1], 0) for ends in (latents[::2], latents[1::2])
    )
    return slerp(first, last, weights.flatten())


@maker("AID", rows="peers", posed=False, cfg=1.0)
@maker("AID, cfg 2", rows="peers", posed=False, cfg=2.0)
def attention_interpolation(task: Task) -> Tensor:
    """AID (2403.17924): invert both ends, slerp, fused outer attention in the first half.

    Real pictures without an IP-Adapter need the inversion. Places are even.
    """
    ladder, weights = Ladder.of(task.model), places(task)
    network, attended = denoiser(task.model), fused(weights)
    inverted = ladder.invert(task.model.encode(task.pictures), plain(ladder, task), ladder.top)

    def predict(latents: Tensor, step: int) -> Tensor:
        early = step > ladder.top / 2
        hook = hooked(network, attended, weights.shape[1]) if early else nullcontext()
        return guided(ladder, task, latents, step, hook)

    return task.model.decode(ladder.denoise(mixed(inverted, weights), predict, ladder.top))


@maker("FreeMorph", rows="peers", posed=False, cfg=2.0)
def free_morph(task: Task) -> Tensor:
    """FreeMorph (2507.01953): invert the slerped latents together, outer and fused attention.

    Guidance of 7.5 is strong for the embedded models, so it is 2.
    """
    ladder, weights = Ladder.of(task.model), places(task)
    stop = min(round(STRENGTH * ladder.steps), ladder.top)
    noisy = ladder.invert(
        mixed(task.model.encode(task.pictures), weights), joint(ladder, task), stop, repeats=5
    )
    count = weights.shape[1]
    noisy = with_noise(noisy, count, task.settings.seed)
    network, bent = denoiser(task.model), quantiles(count).to(weights).expand_as(weights)

    def predict(latents: Tensor, step: int) -> Tensor:
        taken, hook = stop - step, nullcontext()
        if taken < int(0.2 * stop):
            hook = hooked(network, outer(bent), count)
        elif taken < int(0.6 * stop):
            hook = hooked(network, fused(bent), count)
        return guided(ladder, task, latents, step, hook)

    return task.model.decode(ladder.denoise(noisy, predict, stop))


def joint(ladder: Ladder, task: Task) -> Predict:
    """FreeMorph's prediction in inversion: plain, then averaged, then to the mean of the ends."""
    network, count = denoiser(task.model), task.path.between[0] + 2
    half = torch.full_like(places(task), 0.5)

    def predict(latents: Tensor, step: int) -> Tensor:
        taken, hook = step - 1, nullcontext()
        if 0.3 * ladder.steps < taken < 0.6 * ladder.steps:
            hook = hooked(network, averaged, count, average=True)
        elif taken > 0.6 * ladder.steps:
            hook = hooked(network, outer(half), count)
        with hook:
            return ladder.noise(latents, step, task.guide.positive)

    return predict


def plain(ladder: Ladder, task: Task) -> Predict:
    """Prediction under the prompt, without guidance."""
    return lambda latents, step: ladder.noise(latents, step, task.guide.positive)


def guided(
    ladder: Ladder, task: Task, latents: Tensor, step: int, hook: AbstractContextManager
) -> Tensor:
    """Predict the noise with guidance; `hook` is on for the positive prompt alone."""
    with hook:
        positive = ladder.noise(latents, step, task.guide.positive)
    if task.guide.cfg == 1:
        return positive
    negative = ladder.noise(latents, step, task.guide.negative)
    return negative + task.guide.cfg * (positive - negative)


def with_noise(latents: Tensor, frames: int, seed: int) -> Tensor:
    """Give frames between the ends `(P * n, c, h, w)` the high frequencies of one noise.

    High are those outside of a square around frequency 0. Its half side is 44 of 48 for the frames
    next to the ends, and 42 of 48 for the others (of 48 frequencies in each direction).
    """
    paths = latents.unflatten(0, (-1, frames)).clone()
    noise = draw_noise(latents.shape[1:], seed, 0.0, 0).to(latents)
    for index in range(1, frames - 1):
        half = 44 / 48 if index in (1, frames - 2) else 42 / 48
        paths[:, index] = _low_of(paths[:, index], noise, half)
    return paths.flatten(0, 1)


def _low_of(latents: Tensor, noise: Tensor, half: float) -> Tensor:
    """The low frequencies of `latents` and the high ones of `noise`."""
    height, width = latents.shape[-2:]
    inside = []
    for side in (height, width):
        frequency, limit = torch.fft.fftfreq(side, 1 / side), int(half * side / 2)
        inside.append((frequency >= -limit) & (frequency < limit))
    low = (inside[0][:, None] & inside[1]).to(latents.device)
    spectrum = torch.where(low, torch.fft.fft2(latents), torch.fft.fft2(noise))
    return torch.fft.ifft2(spectrum).real


def quantiles(count: int) -> Tensor:
    """Return `count` even quantiles of Beta(20, 20), from 0 to 1."""
    from scipy.stats import beta

    return torch.from_numpy(beta.ppf(torch.linspace(0, 1, count).numpy(), BETA, BETA)).float()


def denoiser(model: Any) -> nn.Module:
    """Return the network of an embedded model, which has attention processors."""
    network = model._network
    return getattr(network, "unet", None) or network.transformer
