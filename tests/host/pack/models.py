"""Models of the host's own classes, tiny and with random weights, for pictures of 64 x 64."""

from __future__ import annotations

import copy
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import comfy.cldm.cldm
import comfy.clip_vision
import comfy.controlnet
import comfy.ldm.flux.model
import comfy.ldm.models.autoencoder
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import comfy.supported_models_base
import comfy.text_encoders.sd3_clip
import comfy.utils
import torch
from torch import nn

from .family_list import FLUX, MMDIT, UNET

_WIDE_L, _WIDE_G, _WIDE_T5 = 16, 24, 32
"""Widths of the text towers, by the host's names for them."""

_CHANNELS = UNET["model_channels"]

_XL = {
    **UNET,
    "context_dim": _WIDE_L + _WIDE_G,
    "num_classes": "sequential",
    # six sizes, each 256 wide
    "adm_in_channels": _WIDE_G + 6 * 256,
}

_FREEDOM = 0.25
"""How much of a predicted noise is the network's own invention, and how much a ControlNet says."""

_LEVELS = {8: (1, 1, 1, 1), 4: (1, 1, 1), 32: (1, 1, 1, 1, 1, 1)}
"""Widths of an autoencoder's levels, by the pixels that it makes one."""


@dataclass(frozen=True)
class _Kind:
    """What a family of models is made of."""

    config: type
    network: dict[str, Any]
    latent_channels: int = 4
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    """What the host wants to see of a checkpoint's weights before it builds the network."""


_KINDS = {
    "sd15": _Kind(
        comfy.supported_models.SD15,
        {**UNET, "context_dim": _WIDE_L, "use_linear_in_transformer": False},
    ),
    "sd2": _Kind(
        comfy.supported_models.SD20,
        {**UNET, "context_dim": _WIDE_G},
        # far from zero here means v-prediction
        weights={
            "output_blocks.11.1.transformer_blocks.0.norm1.bias": torch.tensor([-1.0, 1.0]),
        },
    ),
    "sdxl": _Kind(comfy.supported_models.SDXL, _XL),
    "zero snr": _Kind(
        comfy.supported_models.SDXL,
        _XL,
        weights={"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])},
    ),
    "cosxl": _Kind(
        comfy.supported_models.SDXL, _XL, weights={"edm_vpred.sigma_max": torch.tensor(120.0)}
    ),
    "playground": _Kind(
        comfy.supported_models.SDXL,
        _XL,
        weights={"edm_mean": torch.zeros(4), "edm_std": torch.ones(4)},
    ),
    "sd3": _Kind(comfy.supported_models.SD3, MMDIT, latent_channels=16),
    "flux": _Kind(comfy.supported_models.Flux, FLUX, latent_channels=16),
}

KINDS = list(_KINDS)
CONTROLLED_KINDS = ["sd15", "sdxl"]


def model(kind: str, seed: int) -> comfy.model_patcher.ModelPatcher:
    """The diffusion model of a kind."""
    config = _config(kind)
    built = config.get_model(dict(_KINDS[kind].weights), "")
    fill(built.diffusion_model, seed)
    if built.model_type == comfy.model_base.ModelType.EPS:
        _find_noise(built.diffusion_model)
    return comfy.model_patcher.ModelPatcher(
        built,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def quantised(kind: str) -> comfy.model_patcher.ModelPatcher:
    """A kind's model with linear layers in fp8, each with a scale, in the host's own form."""
    plain = model(kind, 0)
    newer = hasattr(comfy.ops, "mixed_precision_ops")
    weights = plain.model.diffusion_model.state_dict()
    for layer, module in plain.model.diffusion_model.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        weight = weights[f"{layer}.weight"]
        scale = weight.abs().max() / 448
        weights[f"{layer}.weight"] = (weight / scale).to(torch.float8_e4m3fn)
        weights[f"{layer}.{'weight_scale' if newer else 'scale_weight'}"] = scale
        if newer:
            words = json.dumps({"format": "float8_e4m3fn"}).encode()
            weights[f"{layer}.comfy_quant"] = torch.tensor(list(words), dtype=torch.uint8)
    config = _config(kind)
    if newer:
        config.custom_operations = comfy.ops.mixed_precision_ops({}, torch.float32)
    else:
        config.custom_operations = comfy.ops.scaled_fp8_ops(override_dtype=torch.float8_e4m3fn)
    built = config.get_model({}, "")
    built.diffusion_model.load_state_dict(weights)
    return comfy.model_patcher.ModelPatcher(built, plain.load_device, plain.offload_device)


def clip(kind: str, seed: int) -> comfy.sd.CLIP:
    """The text encoder of a kind, with the real tokenizers; sd3 goes without its T5."""
    built = comfy.sd.CLIP(
        _text_target(kind),
        model_options={
            "dtype": torch.float32,
            "clip_l_model_config": _clip_config(_WIDE_L),
            "clip_h_model_config": _clip_config(_WIDE_G),
            "clip_g_model_config": _clip_config(_WIDE_G),
            "t5xxl_model_config": {
                "d_model": _WIDE_T5,
                "d_ff": 2 * _WIDE_T5,
                "d_kv": 16,
                "num_heads": 2,
                "num_layers": 2,
            },
        },
    )
    fill(built.cond_stage_model, seed)
    return built


def autoencoder(channels: int, scale: int, seed: int, **more: bool) -> comfy.sd.VAE:
    """A tiny KL autoencoder that makes `scale` x `scale` pixels one."""
    shape = {
        "double_z": True,
        "z_channels": channels,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": list(_LEVELS[scale]),
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
        **more,
    }
    params = {"ddconfig": shape, "embed_dim": channels}
    weights = fill(comfy.ldm.models.autoencoder.AutoencoderKL(**params), seed).state_dict()
    built = comfy.sd.VAE(sd=weights, config={"params": params}, dtype=torch.float32)
    built.latent_channels, built.downscale_ratio, built.upscale_ratio = channels, scale, scale
    return built


def vae(kind: str, seed: int) -> comfy.sd.VAE:
    """An autoencoder for the model of a kind."""
    return autoencoder(_KINDS[kind].latent_channels, 8, seed)


def controlnet(kind: str, seed: int) -> comfy.controlnet.ControlNet:
    """A ControlNet for the model of a kind."""
    config = {**_config(kind).unet_config, "hint_channels": 3}
    del config["out_channels"]
    network = comfy.cldm.cldm.ControlNet(**config, operations=comfy.ops.disable_weight_init)
    fill(network, seed)
    for end in (*network.zero_convs, network.middle_block_out):
        end[0].weight.mul_(_FREEDOM)
    return comfy.controlnet.ControlNet(
        network, load_device=comfy.model_management.get_torch_device()
    )


def _config(kind: str) -> comfy.supported_models_base.BASE:
    network = dict(_KINDS[kind].network)
    if kind == "flux":
        known = comfy.ldm.flux.model.FluxParams.__dataclass_fields__
        network = {k: v for k, v in network.items() if k in known or k == "image_model"}
    config = _KINDS[kind].config(network)
    # the host writes into what is the class's
    config.sampling_settings = dict(config.sampling_settings)
    config.set_inference_dtype(torch.float32, None)
    return config


def _text_target(kind: str) -> comfy.supported_models_base.ClipTarget:
    if kind != "sd3":
        return _config(kind).clip_target({})
    # its T5 would be 4096 wide, for 32128 tokens
    towers = comfy.text_encoders.sd3_clip
    return comfy.supported_models_base.ClipTarget(
        towers.SD3Tokenizer, towers.sd3_clip(clip_l=True, clip_g=True, t5=False)
    )


def _clip_config(width: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
    }


def fill(network: nn.Module, seed: int) -> nn.Module:
    """Random weights that keep the size of what passes; the host leaves them unset."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 0 or not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim > 1:
            noise /= tensor[0].numel() ** 0.5
        elif name.endswith("bias") or "mean" in name:
            noise *= 0.1
        else:
            # the scale of a norm
            noise = 1 + 0.1 * noise
        tensor.copy_(noise)
    return network


def _find_noise(unet: nn.Module) -> None:
    """Wire a network that predicts noise so that it finds most of it; latents would grow, else.

    Its first channels carry the latent and its negative past everything to the end, where
    `silu(x) - silu(-x) = x`.
    """
    first, last, out = unet.input_blocks[0][0], unet.output_blocks[-1], unet.out
    resnet, attention = last[0], last[1]
    pairs = 2 * first.in_channels
    for layer in (first, resnet.skip_connection, resnet.out_layers[-1], attention.proj_out):
        layer.weight[:pairs] = 0
        layer.bias[:pairs] = 0
    out[0].weight[:pairs] = 1
    out[0].bias[:pairs] = 0
    out[2].weight.mul_(_FREEDOM)
    for channel in range(first.in_channels):
        for place, sign in ((2 * channel, 1), (2 * channel + 1, -1)):
            first.weight[place, channel, 1, 1] = sign
            # the latent comes over the skip, after the channels from below
            resnet.skip_connection.weight[place, _CHANNELS + place] = 1
            out[2].weight[channel, place, 1, 1] = sign


DEMO_CLIP = (
    Path(__file__).resolve().parents[3] / "diffusion_interpolation" / "demo" / "weights" / "clip"
)


def demo_clip(clip: Any, projection: bool) -> tuple[Any, Any]:
    """CLIP and CLIP_VISION of the embedded demo's pair; `clip` is the demo's text encoder.

    Without `projection` as a host with dynamic memory makes it of a file that holds none: zeros.
    """
    weights = comfy.utils.load_torch_file(str(DEMO_CLIP / "model.safetensors"))
    text = clip.clone()
    text.cond_stage_model = copy.deepcopy(clip.cond_stage_model)
    text.patcher = comfy.model_patcher.ModelPatcher(
        text.cond_stage_model, clip.patcher.load_device, clip.patcher.offload_device
    )
    matrix = weights["text_projection.weight"] * projection
    text.cond_stage_model.clip_l.transformer.text_projection.load_state_dict({"weight": matrix})
    config = json.loads((DEMO_CLIP / "config.json").read_text())["vision_config"]
    with tempfile.TemporaryDirectory() as folder:
        # the older host takes a file alone
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(config))
        vision = comfy.clip_vision.ClipVisionModel(str(file))
    missing, _ = vision.load_sd({k: w for k, w in weights.items() if k.startswith("vis")})
    assert [key for key in missing if "position_ids" not in key] == []
    return text, vision
