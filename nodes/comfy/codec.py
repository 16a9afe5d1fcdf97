"""Latents in ComfyUI: as its VAE makes them, as its networks see them, and as wires carry them.

Inside of this package latents are `(n, c, h, w)`. Models that are built like video models, such as
Qwen-Image and Wan, have an axis of frames, `(n, c, 1, h, w)`, on wires and in the host's samplers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...diffusion_interpolation.finite import check_vae
from ..common.images import OTHER_VAE


class ComfyCodec:
    """The host's VAE, with latents in the scale that the network of `model` sees."""

    def __init__(self, model: Any, vae: Any) -> None:
        self._model, self._vae = model, vae

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures `(n, 3, h, w)` in 0..1.

        Raises `FloatingPointError` where the VAE makes NaN or infinity.
        """
        with torch.inference_mode():
            latents = PictureVae(self._vae).encode(pictures.movedim(1, -1))
            check_vae("encoded", pictures, latents, OTHER_VAE)
            return to_network(self._model, latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures `(n, 3, h, w)` in 0..1 of latents `(n, c, h', w')`.

        Raises `FloatingPointError` where the VAE makes NaN or infinity.
        """
        with torch.inference_mode():
            pictures = self._vae.decode(from_network(self._model, latents))
            check_vae("decoded", latents, pictures, OTHER_VAE)
            if pictures.ndim == 5:
                pictures = pictures.flatten(0, 1)
            return pictures.movedim(-1, 1).float()

    def check_size(self, pictures: Tensor, latents: Tensor) -> None:
        """Raise `ValueError` for a VAE that decodes `latents` to another size than `pictures`.

        Only a VAE whose own numbers say so decodes one of them here.
        """
        vae = self._vae
        if vae.spacial_compression_encode() == vae.spacial_compression_decode():
            return
        got, want = self.decode(latents[:1]).shape[-2:], pictures.shape[-2:]
        if got != want:
            raise ValueError(
                f"vae: it makes pictures of {got[1]} x {got[0]} pixels from keyframes of {want[1]} "
                f"x {want[0]}, needs to give their size back; stage C of Stable Cascade has no VAE "
                "that does"
            )


class PictureVae:
    """The host's VAE; one of videos encodes picture by picture, where it would make a video."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vae, name)

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents of `pixels` `(n, h, w, 3)`, as wires carry them."""
        parts = pixels.split(1) if getattr(self._vae, "latent_dim", 2) == 3 else [pixels]
        return torch.cat([self._vae.encode(part) for part in parts])


def has_frames(model: Any) -> bool:
    """Whether the latents of a model have an axis of frames."""
    return _dimensions(model) == 3


def with_frames(model: Any, latents: Tensor) -> Tensor:
    """Latents `(n, c, h, w)` with the axis of frames, if the model has one."""
    return latents.unsqueeze(2) if has_frames(model) and latents.ndim == 4 else latents


def without_frames(latents: Tensor) -> Tensor:
    """Latents `(n, c, h, w)` of those that may have an axis for a single frame."""
    return latents.squeeze(2) if latents.ndim == 5 else latents


def to_network(model: Any, latents: Tensor) -> Tensor:
    """Latents as wires carry them as `(n, c, h, w)` in the scale that the network sees."""
    latents = with_frames(model, latents.float())
    # `model.model` has what a node has put over it only while it is loaded
    return without_frames(model.get_model_object("latent_format").process_in(latents))


def from_network(model: Any, latents: Tensor) -> Tensor:
    """The way back of `to_network`."""
    return model.get_model_object("latent_format").process_out(with_frames(model, latents))


def carry_noisy(model: Any, noisy: Tensor, sigma: Tensor) -> Tensor:
    """A noisy latent of the network's scale as wires carry it, for the host's samplers to go on."""
    sampling = model.get_model_object("model_sampling")
    return from_network(model, sampling.inverse_noise_scaling(sigma, noisy))


def take_noisy(model: Any, carried: Tensor, sigma: Tensor) -> Tensor:
    """The way back of `carry_noisy`."""
    sampling = model.get_model_object("model_sampling")
    latents = to_network(model, carried)
    return sampling.noise_scaling(sigma, torch.zeros_like(latents), latents)


def check_pictures(model: Any) -> None:
    """Raise `ValueError` for a model whose latents are no pictures."""
    if (dimensions := _dimensions(model)) not in (2, 3):
        raise ValueError(
            f"model: {type(model.model).__name__} has latents of {dimensions} dimension, as models "
            "of sound do, needs one of pictures"
        )


def check_channels(name: str, latents: Tensor, model: Any) -> None:
    """Raise `ValueError` for latents of another model family, and for videos."""
    want = model.get_model_object("latent_format").latent_channels
    if has_frames(model) and latents.ndim == 5 and latents.shape[2] > 1:
        raise ValueError(
            f"{name}: got a video of {latents.shape[2]} latent frames, needs pictures; "
            f"{HOW_TO_ENCODE}"
        )
    pictures = without_frames(latents) if has_frames(model) else latents
    if pictures.ndim != 4 or pictures.shape[1] != want:
        form = f"(n, {want}, {'1, ' * has_frames(model)}height, width)"
        raise ValueError(
            f"{name}: got {tuple(latents.shape)}, this model needs {form}; is the VAE of another "
            "model family?"
        )


HOW_TO_ENCODE = (
    "the VAE of this model makes one video of a batch, so encode each picture with a VAE Encode of "
    "its own, and join their latents with Batch Latents"
)


def _dimensions(model: Any) -> int:
    return getattr(model.get_model_object("latent_format"), "latent_dimensions", 2)
