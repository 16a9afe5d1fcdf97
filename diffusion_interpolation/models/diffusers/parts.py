"""The parts of a model of diffusers: put where they run, and checked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from torch import nn

from .codec import DiffusersCodec
from .sampling.network import is_xl

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
    from transformers import CLIPTokenizer

    from .text import TextEncoder


class Options(TypedDict, total=False):
    """How a `DiffusersModel` runs.

    `steps` of the whole schedule, `max_batch` rows at most in one forward pass, `device`, and
    `dtype` of the weights.
    """

    steps: int
    max_batch: int
    device: torch.device | str
    dtype: torch.dtype


_DEFAULTS = Options(steps=20, max_batch=8, device="cpu", dtype=torch.float32)


def with_defaults(options: Options) -> Options:
    """All options of how a model runs; raises `TypeError` for one that there is not."""
    if unknown := options.keys() - _DEFAULTS.keys():
        raise TypeError(f"got unexpected options: {', '.join(sorted(unknown))}")
    return _DEFAULTS | options


def placed(name: str, module: nn.Module, device: torch.device, dtype: torch.dtype) -> Any:
    """`module` on the device, frozen, in evaluation mode.

    Raises `ValueError` for weights that are NaN or infinite.
    """
    # the `to` of diffusers' own classes warns of every change of type
    nn.Module.to(module, device=device, dtype=dtype)
    if device.type == "cpu" and dtype == torch.float32:
        nn.Module.to(module, memory_format=torch.channels_last)
    for key, weights in module.named_parameters():
        if not weights.isfinite().all():
            raise ValueError(f"{name}: {key} holds NaN or infinity, needs finite numbers only")
    return module.eval().requires_grad_(False)


def placed_codec(
    vae: AutoencoderKL, unit: int, max_batch: int, device: torch.device, dtype: torch.dtype
) -> DiffusersCodec:
    """The autoencoder on the device, for latents whose sides must be multiples of `unit`.

    Raises `ValueError` for a batch without pictures.
    """
    if max_batch < 1:
        raise ValueError(f"max_batch: got {max_batch}, needs at least 1")
    # in half precision the autoencoders that say so overflow, XL's above all
    upcast = dtype == torch.float16 and vae.config.force_upcast
    vae = placed("vae", vae, device, torch.float32 if upcast else dtype)
    return DiffusersCodec(vae, unit, max_batch)


def placed_encoders(
    encoders: Sequence[TextEncoder], device: torch.device, dtype: torch.dtype
) -> list[TextEncoder]:
    """The text encoders on the device."""
    named = zip(("text_encoder", "text_encoder_2"), encoders, strict=False)
    return [placed(*encoder, device, dtype) for encoder in named]


def check_fit(
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoders: Sequence[TextEncoder],
    tokenizers: Sequence[CLIPTokenizer],
) -> None:
    """Raise `ValueError` unless the parts are of one model."""
    want = 2 if is_xl(unet) else 1
    if (len(text_encoders), len(tokenizers)) != (want, want):
        raise ValueError(
            f"text encoders: got {len(text_encoders)} with {len(tokenizers)} tokenizers, "
            f"this unet needs {want} of each"
        )
    channels, made = unet.config.in_channels, vae.config.latent_channels
    if channels != made:
        raise ValueError(f"unet: takes {channels} channels, the vae makes latents of {made}")
    width = unet.config.cross_attention_dim
    made = sum(encoder.config.hidden_size for encoder in text_encoders)
    if width != made:
        raise ValueError(f"unet: takes text of width {width}, the text encoders make {made}")


def check_controlnet(controlnet: ControlNetModel, unet: UNet2DConditionModel) -> None:
    """Raise `ValueError` unless both are of one family."""
    for key in ("cross_attention_dim", "addition_embed_type", "block_out_channels"):
        got, want = (_plain(network.config[key]) for network in (controlnet, unet))
        if got != want:
            raise ValueError(
                f"controlnet: its {key} is {got}, this model's unet needs {want}; "
                "it was trained for another family of models"
            )


def _plain(value: Any) -> Any:
    """A configuration's value, alike whether it was read from a file or not."""
    return tuple(value) if isinstance(value, list) else value
