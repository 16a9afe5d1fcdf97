"""Noise that samplers add in their steps, drawn for each row by its own seed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from comfy.k_diffusion.sampling import BrownianTreeNoiseSampler

# These functions of the host draw the noise of a step as the increment of one Brownian motion, so
# that steps share it where they overlap; all others draw noise for itself in every step.
BROWNIAN = frozenset(
    f"sample_dpmpp_{name}{place}"
    for name in ("sde", "2m_sde", "2m_sde_heun", "3m_sde")
    for place in ("", "_gpu")
)


def row_wise(sampler: Any, seeds: Sequence[int] | None, like: Tensor, sigmas: Tensor) -> Any:
    """`sampler` with noise that depends on each row's own seed, if it adds any in its steps.

    The noise is of the shape and on the device of `like`; `sigmas` are those of the sampling.
    """
    function = getattr(sampler, "sampler_function", None)
    if not seeds or function is None:
        return sampler
    if "noise_sampler" not in inspect.signature(function).parameters:
        return sampler
    # the seeds themselves have drawn the noise that is in the latents already
    seeds = [(seed + 1) % 2**64 for seed in seeds]
    name = getattr(function, "__name__", "")
    if name in BROWNIAN:
        noise_sampler = _brownian(seeds, like, sigmas, on_cpu=not name.endswith("_gpu"))
    else:
        noise_sampler = _independent(seeds, like)
    seeded = copy(sampler)
    seeded.extra_options = {**sampler.extra_options, "noise_sampler": noise_sampler}
    return seeded


def _brownian(
    seeds: list[int], like: Tensor, sigmas: Tensor, on_cpu: bool
) -> Callable[[Tensor, Tensor], Tensor]:
    """The host's own noise of a Brownian motion, one motion for each row."""
    noisy = sigmas[sigmas > 0].to(like.device)
    return BrownianTreeNoiseSampler(like, noisy.min(), noisy.max(), seed=seeds, cpu=on_cpu)


def _independent(seeds: list[int], like: Tensor) -> Callable[..., Tensor]:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw(*_: Any) -> Tensor:
        noise = [torch.randn(like.shape[1:], generator=generator) for generator in generators]
        return torch.stack(noise).to(like)

    return draw
