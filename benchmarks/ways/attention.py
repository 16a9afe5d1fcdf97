"""Attention of the frames of a path to its ends, in the attention processors of diffusers.

A processor makes keys and values of the tokens that it is given as context, so other keys are other
contexts. The rows of a network's batch are paths of `n` frames, one after the other; first and last
are the ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Contexts = list[tuple[Tensor, Tensor]]
"""Contexts `(P, n, tokens, width)`, each with its weights `(P, n)` in the output."""

Mix = Callable[[Tensor], Contexts]
"""From the tokens `(P, n, tokens, width)` of all frames to what they attend to."""


def fused(weights: Tensor) -> Mix:
    """AID's fused outer attention: to oneself and each end, mixed by the frame's place."""
    return _outer(weights, lambda own, end: torch.cat([own, end], 2))


def outer(weights: Tensor) -> Mix:
    """The same without oneself, as in FreeMorph's first steps."""
    return _outer(weights, lambda own, end: end)


def _outer(weights: Tensor, seen: Callable[[Tensor, Tensor], Tensor]) -> Mix:
    def mix(own: Tensor) -> Contexts:
        first, last = own[:, :1].expand_as(own), own[:, -1:].expand_as(own)
        return [(1 - weights, seen(own, first)), (weights, seen(own, last))]

    return mix


def straight(weights: Tensor) -> Mix:
    """DiffMorpher's: to the mix of the tokens of both ends."""
    like = weights[:, :, None, None]
    return lambda own: [(torch.ones_like(weights), own[:, :1].lerp(own[:, -1:], like))]


def averaged(own: Tensor) -> Contexts:
    """Attention to oneself; its outputs are then averaged over the path (`hooked`)."""
    return [(own.new_ones(own.shape[:2]), own)]


@contextmanager
def hooked(
    network: nn.Module,
    mix: Mix,
    frames: int,
    parts: str | tuple[str, ...] = "",
    average: bool = False,
) -> Iterator[None]:
    """Within, self-attention in `parts` of a UNet or a flow transformer (all) is to `mix`.

    With `average`, each frame gets the mean output of its path. Texts are the same in all frames,
    so attention to them is left as it is. Raises `ValueError` for a network without such parts.
    """
    before = {
        name: (module, module.processor)
        for name, module in attentions(network).items()
        if _is_joint(name) and name.startswith(parts)
    }
    if not before:
        raise ValueError(f"network: has no self-attention in {parts!r}")
    for module, processor in before.values():
        module.set_processor(_Attention(processor, mix, frames, average))
    try:
        yield
    finally:
        for module, processor in before.values():
            module.set_processor(processor)


def attentions(network: nn.Module) -> dict[str, nn.Module]:
    """Return the attention modules of a network of diffusers, by name."""
    return {
        name: module for name, module in network.named_modules() if hasattr(module, "set_processor")
    }


def _is_joint(name: str) -> bool:
    """Whether attention is a UNet's self-attention, or in a transformer's main layers."""
    return name.endswith(".attn1") or name.startswith("layers.")


def late_parts(network: nn.Module) -> tuple[str, ...]:
    """Return the parts that give details: a UNet's up blocks, a transformer's second half."""
    if not hasattr(network, "layers"):
        return ("up_blocks.",)
    count = len(network.layers)
    return tuple(f"layers.{index}." for index in range(count // 2, count))


class _Attention:
    """A processor that runs another one on other contexts."""

    def __init__(self, inner: Any, mix: Mix, frames: int, average: bool) -> None:
        self._inner, self._mix, self._frames, self._average = inner, mix, frames, average

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """As diffusers calls it; `encoder_hidden_states` of self-attention are the states."""
        own = hidden_states.unflatten(0, (-1, self._frames))
        total = 0
        for weights, context in self._mix(own):
            times = context.shape[2] // own.shape[2]
            # as many queries as keys: where places are turned, both are turned alike
            rows = {"hidden_states": torch.cat([hidden_states] * times, 1)}
            rows["encoder_hidden_states"] = context.flatten(0, 1)
            if attention_mask is not None:
                rows["attention_mask"] = torch.cat([attention_mask] * times, 1)
            if image_rotary_emb is not None:
                rows["image_rotary_emb"] = torch.cat([image_rotary_emb] * times, 1)
            output = self._inner(attn, **rows, **more)[:, : own.shape[2]]
            # both halves of guidance may be in the batch
            by_row = weights.repeat(len(own) // len(weights), 1).flatten()
            total = total + by_row[:, None, None] * output
        if not self._average:
            return total
        paths = total.unflatten(0, (-1, self._frames))
        return paths.mean(1, keepdim=True).expand_as(paths).flatten(0, 1)
