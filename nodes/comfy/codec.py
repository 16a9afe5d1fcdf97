"""Latents in ComfyUI: as its VAE makes them, as its networks see them, and as wires carry them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...diffusion_interpolation.finite import check_vae
from ..images import OTHER_VAE


class ComfyCodec:
    """The host's VAE, with latents in the scale that the network of `model` sees."""

    def __init__(self, model: Any, vae: Any) -> None:
        self._model, self._vae = model, vae

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures `(n, 3, h, w)` in 0..1.

        Raises `FloatingPointError` where the VAE makes NaN or infinity.
        """
        with torch.inference_mode():
            latents = self._vae.encode(pictures.movedim(1, -1))
            check_vae("encoded", pictures, latents, OTHER_VAE)
            return to_network(self._model, latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures `(n, 3, h, w)` in 0..1 of latents `(n, c, h', w')`.

        Raises `FloatingPointError` where the VAE makes NaN or infinity.
        """
        with torch.inference_mode():
            pictures = self._vae.decode(from_network(self._model, latents))
            check_vae("decoded", latents, pictures, OTHER_VAE)
            return pictures.movedim(-1, 1).float()


def to_network(model: Any, latents: Tensor) -> Tensor:
    """Latents as wires carry them, in the scale that the network sees."""
    # `model.model` has what a node has put over it only while it is loaded
    return model.get_model_object("latent_format").process_in(latents.float())


def from_network(model: Any, latents: Tensor) -> Tensor:
    """The way back of `to_network`."""
    return model.get_model_object("latent_format").process_out(latents)


def carry_noisy(model: Any, noisy: Tensor, sigma: Tensor) -> Tensor:
    """A noisy latent of the network's scale as wires carry it, for the host's samplers to go on."""
    sampling = model.get_model_object("model_sampling")
    return from_network(model, sampling.inverse_noise_scaling(sigma, noisy))


def take_noisy(model: Any, carried: Tensor, sigma: Tensor) -> Tensor:
    """The way back of `carry_noisy`."""
    sampling = model.get_model_object("model_sampling")
    latents = to_network(model, carried)
    return sampling.noise_scaling(sigma, torch.zeros_like(latents), latents)


def check_flat(model: Any) -> None:
    """Raise `ValueError` for a model whose latents have a frame axis."""
    dimensions = getattr(model.get_model_object("latent_format"), "latent_dimensions", 2)
    if dimensions != 2:
        raise ValueError(
            f"model: {type(model.model).__name__} has latents of {dimensions} dimensions, as video "
            "models do and those built like them, needs one with 2"
        )


def check_channels(name: str, latents: Tensor, model: Any) -> None:
    """Raise `ValueError` for latents of another model family."""
    want = model.get_model_object("latent_format").latent_channels
    if latents.ndim != 4 or latents.shape[1] != want:
        raise ValueError(
            f"{name}: got {tuple(latents.shape)}, this model needs (n, {want}, height, width); "
            "is the VAE of another model family?"
        )
