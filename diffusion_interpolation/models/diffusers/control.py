"""A ControlNet of diffusers, whose hints are embedded once for all steps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..contract import Guidance

if TYPE_CHECKING:
    from diffusers import ControlNetModel

Residuals = Callable[[Tensor, Tensor, dict[str, Any]], dict[str, Any]]
"""What a ControlNet adds to the denoiser, as a function of latents, time and conditions."""


def no_residuals(latents: Tensor, time: Tensor, conditions: dict[str, Any]) -> dict[str, Any]:
    """Nothing, for a denoiser without a ControlNet."""
    return {}


class DiffusersControl:
    """A ControlNet, whose residuals are added in the denoiser."""

    def __init__(self, network: ControlNetModel) -> None:
        self._network = network

    @property
    def hint_scale(self) -> int:
        """Pixels of a hint for each step of the latent grid."""
        layers = self._network.controlnet_cond_embedding.modules()
        return 2 ** sum(getattr(layer, "stride", None) == (2, 2) for layer in layers)

    def residuals(self, guidance: Guidance, passes: int) -> Residuals:
        """What it adds under the hints of `guidance`, whose rows come `passes` times."""
        network, hint, strength = self._network, guidance.hint, guidance.strength
        if hint is None:
            return no_residuals
        strength = torch.ones(len(hint)) if strength is None else strength
        scale = strength.to(network.device, network.dtype).repeat(passes)[:, None, None, None]
        embedded = _embed(network, hint.to(network.device, network.dtype))
        embedded = embedded.repeat(passes, 1, 1, 1)

        def residuals(latents: Tensor, time: Tensor, conditions: dict[str, Any]) -> dict[str, Any]:
            with _taking_embedded_hints(network):
                down, middle = network(
                    latents,
                    time,
                    controlnet_cond=embedded,
                    conditioning_scale=scale,
                    return_dict=False,
                    **conditions,
                )
            return {
                "down_block_additional_residuals": down,
                "mid_block_additional_residual": middle,
            }

        return residuals


def _embed(network: ControlNetModel, hints: Tensor) -> Tensor:
    """The ControlNet's embedding of hints `(n, 3, H, W)`; neighbours that are equal share one."""
    changed = (hints[1:] != hints[:-1]).flatten(1).any(1).tolist()
    starts = [0, *(row for row, change in enumerate(changed, 1) if change)]
    source = [bisect_right(starts, row) - 1 for row in range(len(hints))]
    if network.config.controlnet_conditioning_channel_order == "rgb":
        return network.controlnet_cond_embedding(hints[starts])[source]
    # such a network turns the channels of all that it is given round, but only colours want that
    return network.controlnet_cond_embedding(hints[starts].flip(1))[source].flip(1)


@contextmanager
def _taking_embedded_hints(network: ControlNetModel) -> Iterator[None]:
    """Within, the ControlNet takes hints embedded already: they are the same at every timestep."""
    embedding = network.controlnet_cond_embedding
    network.controlnet_cond_embedding = nn.Identity()
    try:
        yield
    finally:
        network.controlnet_cond_embedding = embedding
