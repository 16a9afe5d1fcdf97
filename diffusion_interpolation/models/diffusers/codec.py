"""The autoencoder of diffusers as the codec of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...finite import check_vae
from ..memory import Batches

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

_OTHER_TYPE = "run it in another type, as with --dtype float32 or --dtype bfloat16"


class DiffusersCodec:
    """An autoencoder that works in batches of `max_batch`, which shrink when memory runs out.

    The denoiser after it halves latents until they are `shrinking` times smaller. `scale` is the
    pixels of a picture for each step of the latent grid.
    """

    def __init__(self, vae: AutoencoderKL, shrinking: int, max_batch: int) -> None:
        self.vae, self.scale = vae, shrinking_of(vae)
        self._unit, self._batches = self.scale * shrinking, Batches(max_batch)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Latents `(n, c, h', w')` of pictures `(n, 3, h, w)` in 0..1.

        They are the posterior's mode, scaled. Raises `ValueError` for sides that the autoencoder
        and the denoiser after it cannot halve, and `FloatingPointError` where the autoencoder makes
        NaN or infinity.
        """
        self._check(pictures)

        def work(rows: list[int]) -> Tensor:
            batch = pictures[rows].to(self.vae.device, torch.float32) * 2 - 1
            mode = self.vae.encode(batch.to(self.vae.dtype)).latent_dist.mode()
            check_vae("encoded", batch, mode, _OTHER_TYPE)
            return (mode.float() - self._shift) * self.vae.config.scaling_factor

        return self._batches.run(work, len(pictures))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures `(n, 3, h, w)` in 0..1 of latents `(n, c, h', w')`.

        Raises `FloatingPointError` where the autoencoder makes NaN or infinity.
        """

        def work(rows: list[int]) -> Tensor:
            batch = latents[rows].to(self.vae.device, torch.float32)
            batch = batch / self.vae.config.scaling_factor + self._shift
            pictures = self.vae.decode(batch.to(self.vae.dtype)).sample
            check_vae("decoded", batch, pictures, _OTHER_TYPE)
            return (pictures.float() / 2 + 0.5).clamp(0, 1)

        return self._batches.run(work, len(latents))

    @property
    def _shift(self) -> float:
        return self.vae.config.shift_factor or 0.0

    def _check(self, pictures: Tensor) -> None:
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"pictures: got {tuple(pictures.shape)}, needs (n, 3, height, width)")
        height, width = pictures.shape[-2:]
        if height % self._unit or width % self._unit:
            raise ValueError(
                f"pictures: got {width} x {height} pixels, both sides must be multiples of "
                f"{self._unit}"
            )


def shrinking_of(network: AutoencoderKL | UNet2DConditionModel) -> int:
    """How many times smaller the lowest level of a network is than its input."""
    return 2 ** (len(network.config.block_out_channels) - 1)
