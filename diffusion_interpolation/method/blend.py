"""Interpolation of latents and conditionings, clean or noisy."""

from __future__ import annotations

import torch
from torch import Tensor

from ..settings import BLENDS, Blend

# MPS, DirectML and Intel's Arc have no float64, and raise an error where it is asked for.
_WITH_FLOAT64 = ("cpu", "cuda", "meta")


def _in_float64(tensor: Tensor) -> Tensor:
    """`tensor` in float64, on the CPU where its device has no such numbers."""
    return (tensor if tensor.device.type in _WITH_FLOAT64 else tensor.cpu()).double()


def _per_sample(weight: float | Tensor, like: Tensor) -> Tensor:
    """Return `weight` in float64 on the device of `like`, shaped to multiply it by sample."""
    if not isinstance(weight, Tensor):
        weight = torch.tensor(weight, dtype=torch.float64)
    weight = _in_float64(weight).to(like.device)
    return weight.reshape(-1, *[1] * (like.ndim - 1))


def lerp(a: Tensor, b: Tensor, weight: float | Tensor) -> Tensor:
    """`(1 - w) a + w b` in float64, for samples `(n, ...)` and a number or `(n,)` as `weight`."""
    first, second = _in_float64(a), _in_float64(b)
    share = _per_sample(weight, first)
    return ((1 - share) * first + share * second).to(a)


def slerp(a: Tensor, b: Tensor, weight: float | Tensor, clamp: float = 1e-4) -> Tensor:
    """`(sin((1 - w) o) a + sin(w o) b) / sin(o)`, `o` the angle between whole samples.

    For samples `(n, ...)`; `weight` is a number or `(n,)`. Computed in float64; the angle stays
    `clamp` radians away from 0 and pi, and at the ends the result is exactly `a` or `b`.
    (Shoemake 1985; method, step 5.)
    """
    first, second = _in_float64(a), _in_float64(b)
    share = _per_sample(weight, first)
    dims = tuple(range(1, a.ndim))
    norms = [torch.linalg.vector_norm(x, dim=dims, keepdim=True) for x in (first, second)]
    cosine = (first * second).sum(dims, keepdim=True) / (norms[0] * norms[1]).clamp_min(1e-300)
    angle = cosine.clamp(-1, 1).arccos().clamp(clamp, torch.pi - clamp)
    mixed = (((1 - share) * angle).sin() * first + (share * angle).sin() * second) / angle.sin()
    return torch.where(share == 0, first, torch.where(share == 1, second, mixed)).to(a)


def noisy_blend(
    a: Tensor,
    b: Tensor,
    noise: Tensor,
    weight: float | Tensor,
    scales: tuple[float, float],
    how: Blend = "slerp",
) -> Tensor:
    """A noisy latent between clean latents `a` and `b` that share one `noise`, all `(n, c, h, w)`.

    `scales` are those of `Sampler.scales`: `(signal, sigma)`. `w` is the `weight`.

    - `slerp`: `slerp(signal a + sigma noise, signal b + sigma noise, w)`, as in the paper. The
      noise, and what `a` and `b` share, come out too large.
    - `lerp`: the same with `lerp`. The noise and what they share keep their size. The norm of the
      signal shrinks where they differ.
    - `exact`: `signal slerp(a, b, w) + sigma noise`. The norms of signal and noise are kept, so
      what they share comes out larger.

    Raises `ValueError` for another `how`.
    """
    signal, sigma = scales
    if how == "exact":
        return signal * slerp(a, b, weight) + sigma * noise
    ends = signal * a + sigma * noise, signal * b + sigma * noise
    if how == "slerp":
        return slerp(*ends, weight)
    if how == "lerp":
        return lerp(*ends, weight)
    raise ValueError(f"blend: got {how!r}, needs one of {', '.join(BLENDS)}")
