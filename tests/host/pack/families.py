"""Builds the tiny networks and VAEs of `family_list` in the host's own classes."""

from __future__ import annotations

import importlib
import inspect
from typing import Any
from unittest import mock

import comfy.cldm.cldm
import comfy.cldm.mmdit
import comfy.cli_args
import comfy.controlnet
import comfy.latent_formats
import comfy.ldm.flux.controlnet
import comfy.ldm.models.autoencoder
import comfy.ldm.wan.vae
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import torch
from comfy.ldm.cascade.stage_c_coder import StageC_coder
from comfy.ldm.qwen_image.controlnet import QwenImageControlNetModel
from comfy.ldm.wan.vae import WanVAE
from comfy.t2i_adapter.adapter import Adapter

from .family_list import FAMILIES, Family
from .models import autoencoder, fill

_KL = {"kl4": (4, 8), "kl16": (16, 8), "kl4 of 4": (4, 4), "kl64 of 32": (64, 32)}
"""Channels of a KL autoencoder's latents, and the pixels that it makes one."""


_NETWORKS = {
    "flux": "comfy.ldm.flux.model.FluxParams",
    "flux2": "comfy.ldm.flux.model.FluxParams",
    "chroma": "comfy.ldm.chroma.model.ChromaParams",
    "chroma_radiance": "comfy.ldm.chroma_radiance.model.ChromaRadianceParams",
    "hunyuan_video": "comfy.ldm.hunyuan_video.model.HunyuanVideoParams",
    "lumina2": "comfy.ldm.lumina.model.NextDiT",
}
"""What takes the shapes of networks of which hosts know more or less, by their names."""
_WAN_COLOURS = {"image_channels": 3, "conv_out_channels": 3}


def model(
    family: Family,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    computed: torch.dtype | None = None,
) -> comfy.model_patcher.ModelPatcher:
    """The diffusion model of a family, with random weights of a type; it may compute in another."""
    config = _config(family)
    config.set_inference_dtype(dtype, computed)
    built = config.get_model(dict(family.weights), "")
    fill(built.diffusion_model, seed)
    return comfy.model_patcher.ModelPatcher(
        built,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def flagged(family: Family, flag: str) -> comfy.model_patcher.ModelPatcher:
    """The diffusion model of a family in the type that a flag of the host chooses for its weights.

    The host reads the flag there and nowhere else.
    """
    memory, known = comfy.model_management, _config(family).supported_inference_dtypes
    with mock.patch.object(comfy.cli_args.args, flag, True):
        dtype = memory.unet_dtype(memory.get_torch_device(), supported_dtypes=known)
    return model(
        family,
        dtype=dtype,
        computed=memory.unet_manual_cast(dtype, memory.get_torch_device(), known),
    )


def control(family: Family, seed: int = 0) -> comfy.controlnet.ControlNet:
    """A ControlNet of the kind that the family has, with random weights."""
    config = {**_config(family).unet_config, "operations": comfy.ops.disable_weight_init}
    options: dict[str, Any] = {"compression_ratio": 1}
    if family.poses == "cldm":
        # not those of a mask and a picture for inpainting
        config["in_channels"] = config.pop("out_channels")
        network, options = comfy.cldm.cldm.ControlNet(hint_channels=3, **config), {}
    elif family.poses == "mmdit":
        network = comfy.cldm.mmdit.ControlNet(control_latent_channels=16, **config)
        options["latent_format"] = comfy.latent_formats.SD3()
        options["latent_format"].shift_factor = 0
    elif family.poses == "flux":
        config = {**_network(FAMILIES["Flux.1 dev, Krea"]), "operations": config["operations"]}
        latent = {"latent_input": True, "control_latent_channels": 16}
        network = comfy.ldm.flux.controlnet.ControlNetFlux(**latent, **config)
        options |= {"latent_format": comfy.latent_formats.Flux(), "extra_conds": ["y", "guidance"]}
    else:
        network = QwenImageControlNetModel(extra_condition_channels=0, **config)
        options |= {"latent_format": comfy.latent_formats.Wan21(), "extra_conds": []}
    fill(network, seed)
    return _loaded(network, **options)


def union(family: Family) -> comfy.controlnet.ControlNet:
    """A ControlNet of several types for a UNet; its weights are those of nothing."""
    config = {**_config(family).unet_config, "operations": comfy.ops.disable_weight_init}
    del config["out_channels"]
    types = {"union_controlnet_num_control_type": 6, "hint_channels": 3}
    return _loaded(comfy.cldm.cldm.ControlNet(**types, **config))


def adapter(xl: bool) -> comfy.controlnet.T2IAdapter:
    """A T2I-Adapter for tiny UNets, of SDXL or of Stable Diffusion 1.5."""
    wide = FAMILIES["SD 1.5"].network["model_channels"]
    unshuffled = 3 * (256 if xl else 64)
    shape = {"nums_rb": 2, "ksize": 1, "sk": True, "use_conv": False}
    network = Adapter(channels=[wide, 2 * wide], cin=unshuffled, xl=xl, **shape)
    fill(network, 0)
    return comfy.controlnet.T2IAdapter(network, network.input_channels, 8, "nearest-exact")


def _loaded(network: torch.nn.Module, **options: Any) -> comfy.controlnet.ControlNet:
    device = comfy.model_management.get_torch_device()
    return comfy.controlnet.ControlNet(network, load_device=device, **options)


def _network(family: Family) -> dict[str, Any]:
    """The shape of a family's network, in so far as this host can change it."""
    network = dict(family.network)
    kind = network.get("image_model")
    if kind not in _NETWORKS:
        return network
    module, name = _NETWORKS[kind].rsplit(".", 1)
    known = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    return {key: value for key, value in network.items() if key in known or key == "image_model"}


def _config(family: Family) -> comfy.supported_models_base.BASE:
    network, config_class = _network(family), getattr(comfy.supported_models, family.config)
    # some would put the real shape in the place of the tiny one
    more = {k: v for k, v in config_class.unet_extra_config.items() if k not in network}
    config = type(config_class.__name__, (config_class,), {"unet_extra_config": more})(network)
    # a dict of the class, which building a model changes
    config.sampling_settings = dict(config.sampling_settings)
    config.set_inference_dtype(torch.float32, None)
    return config


def vae(kind: str, seed: int = 0) -> comfy.sd.VAE:
    """A VAE with random weights, by its name in `family_list`."""
    if kind in _KL:
        channels, scale = _KL[kind]
        return autoencoder(channels, scale, seed)
    if kind == "pixels":
        return comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=torch.float32)
    if kind == "flux 2":
        built = autoencoder(32, 8, seed, batch_norm_latent=True)
        built.latent_channels, built.downscale_ratio, built.upscale_ratio = 128, 16, 16
        return built
    network = fill(_wan() if kind == "wan" else StageC_coder(), seed)
    # hosts know of one width of Wan's alone
    with mock.patch.object(comfy.ldm.wan.vae, "WanVAE", lambda **_: network):
        return comfy.sd.VAE(sd=network.state_dict(), dtype=torch.float32)


def _wan() -> torch.nn.Module:
    # older hosts know of one kind of pictures
    known = inspect.signature(WanVAE).parameters
    return WanVAE(
        dim=16,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        dropout=0.0,
        **{key: value for key, value in _WAN_COLOURS.items() if key in known},
    )
