"""Features of the networks of diffusers: what is where, by a denoiser's activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..activations import (
    FEATURE_DENOISE,
    captured,
    packed,
    reduced,
    shared_noise,
    token_grid,
    transformer_block,
    unet_levels,
    unpacked,
)
from ..contract import PromptEmbeddings
from ..memory import Batches

if TYPE_CHECKING:
    from .flow import FlowNetwork, FlowSchedule
    from .sampling.network import DiffusersNetwork
    from .sampling.schedule import DiffusersSchedule

ReadBlocks = Callable[[Tensor, PromptEmbeddings, int], list[Tensor]]
"""Activations of some blocks for clean latents under the noise of a number; one forward pass."""


class DiffusersFeatures:
    """Means of what `read` finds over several noises, in batches of `max_batch` latents."""

    def __init__(self, read: ReadBlocks, device: torch.device, max_batch: int) -> None:
        self._read, self._device, self._batches = read, device, Batches(max_batch)

    @torch.no_grad()
    def __call__(self, latents: Tensor, text: PromptEmbeddings, draws: int) -> list[Tensor]:
        """Grids `(n, c, rows, columns)`, one of each block, for clean latents `(n, c, h', w')`.

        `text` has a row for each latent, or one.
        """
        shapes: list[torch.Size] = []

        def work(rows: list[int]) -> Tensor:
            part, own = (
                latents[rows].to(self._device, torch.float32),
                text.rows(rows).repeated(len(rows)),
            )
            drawn = [self._read(part, own, number) for number in range(draws)]
            means = [torch.stack(grids).mean(0) for grids in zip(*drawn, strict=True)]
            shapes[:] = [grid.shape[1:] for grid in means]
            return packed(means)

        return unpacked(self._batches.run(work, len(latents)), shapes)


class UnetBlocks:
    """Two blocks of a UNet's upward path."""

    def __init__(self, network: DiffusersNetwork, schedule: DiffusersSchedule) -> None:
        steps = schedule.schedule(FEATURE_DENOISE)
        self._network, self._timestep = network, steps.points[0]
        self._scales = schedule.scales(steps)

    def __call__(self, latents: Tensor, text: PromptEmbeddings, number: int) -> list[Tensor]:
        network, (signal, sigma) = self._network, self._scales
        noisy = signal * latents + sigma * shared_noise(latents, number)
        time = torch.full((len(latents),), self._timestep, device=network.device)
        with captured(unet_levels(network.unet.up_blocks)) as outputs:
            network(network.inputs(noisy), time, network.conditions(text, latents))
        return [reduced(output) for output in outputs]


class FlowBlocks:
    """The tokens of a late block of a flow transformer."""

    def __init__(self, network: FlowNetwork, schedule: FlowSchedule) -> None:
        self._network, self._sigma = network, schedule.schedule(FEATURE_DENOISE).points[0]

    def __call__(self, latents: Tensor, text: PromptEmbeddings, number: int) -> list[Tensor]:
        transformer, sigma = self._network.transformer, self._sigma
        noisy = (1 - sigma) * latents + sigma * shared_noise(latents, number)
        with captured([transformer_block(transformer.layers)]) as outputs:
            self._network.velocity(noisy, latents.new_full((len(latents),), sigma), text)
        rows, columns = (side // transformer.config.patch_size for side in latents.shape[2:])
        # the text comes first
        tokens = outputs[0][:, -rows * columns :]
        return [reduced(token_grid(tokens, rows, columns))]
