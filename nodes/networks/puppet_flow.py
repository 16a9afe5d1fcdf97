"""The embedded flow transformer in the host's own class, which is Lumina 2's.

Its weights are in diffusers' names; the host's class has those of the original checkpoints, with
queries, keys and values in one matrix.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import comfy.conds
import comfy.ldm.lumina.model
import comfy.model_base
import comfy.model_management as memory
import comfy.model_patcher
import comfy.supported_models
import torch
from torch import Tensor

from ...diffusion_interpolation.demo.lora import with_lora
from ...diffusion_interpolation.demo.networks import FLOW_SHIFT, TEXT_WIDTH
from .puppet_networks import PuppetLatent, read_weights

WIDTH, LAYERS, REFINERS, HEADS = 192, 5, 1, 6
FEED_FORWARD = 512
TRANSFORMER = {
    "image_model": "lumina2",
    "patch_size": 2,
    "in_channels": 4,
    "dim": WIDTH,
    "n_layers": LAYERS,
    "n_refiner_layers": REFINERS,
    "n_heads": HEADS,
    "n_kv_heads": HEADS,
    "qk_norm": True,
    "cap_feat_dim": TEXT_WIDTH,
    "axes_dims": [8, 12, 12],
    "axes_lens": [80, 64, 64],
}
_NAMES = (
    (r"^time_caption_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
    (r"^time_caption_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
    (r"^time_caption_embed\.caption_embedder", "cap_embedder"),
    (r"^norm_out\.linear_1", "final_layer.adaLN_modulation.1"),
    (r"^norm_out\.linear_2", "final_layer.linear"),
    (r"\.norm1\.linear\.", ".adaLN_modulation.1."),
    (r"\.norm1\.norm\.", ".attention_norm1."),
    (r"\.norm1\.weight", ".attention_norm1.weight"),
    (r"\.norm2\.", ".attention_norm2."),
    (r"\.attn\.norm_([qk])\.", r".attention.\1_norm."),
    (r"\.attn\.to_out\.0\.", ".attention.out."),
    (r"\.attn\.to_([qkv])\.", r".attention.\1."),
    (r"\.linear_([123])\.", r".w\1."),
)


class _FlowModel(comfy.model_base.Lumina2):
    """Lumina 2 under texts without a mask, of which older hosts do not count the tokens."""

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        conds, text = super().extra_conds(**kwargs), kwargs.get("cross_attn")
        if text is not None and "num_tokens" not in conds:
            conds["num_tokens"] = comfy.conds.CONDConstant(text.shape[1])
        return conds


class PuppetFlow(comfy.supported_models.Lumina2):
    """Lumina 2 in miniature, over Stable Diffusion's kind of latents."""

    unet_config = TRANSFORMER
    latent_format = PuppetLatent
    unet_extra_config = {}  # noqa: RUF012
    sampling_settings = {"multiplier": 1.0, "shift": FLOW_SHIFT}  # noqa: RUF012
    supported_inference_dtypes = [torch.float16, torch.bfloat16, torch.float32]  # noqa: RUF012

    def get_model(self, state_dict: Any, prefix: str = "", device: Any = None) -> _FlowModel:
        return _FlowModel(self, device=device)


def load_flow(student: bool = False) -> Any:
    """The flow transformer as a MODEL; the student needs 8 steps and no guidance."""
    device = memory.get_torch_device()
    dtype = memory.unet_dtype(supported_dtypes=PuppetFlow.supported_inference_dtypes)
    weights = read_weights("flow/transformer")
    if student:
        weights = with_lora(weights, read_weights("flow"))
    model = flow_model(weights, dtype, memory.unet_manual_cast(dtype, device))
    return comfy.model_patcher.ModelPatcher(model, device, memory.unet_offload_device())


def flow_config() -> dict[str, Any]:
    """The configuration, with the width of the feed-forward layers as this host counts it.

    The factor is one of the model's width on newer hosts, and of four times that width on older
    ones, as in diffusers.
    """
    signature = inspect.signature(comfy.ldm.lumina.model.NextDiT.__init__)
    of_width = signature.parameters["ffn_dim_multiplier"].default is not None
    factor = (FEED_FORWARD + 0.1) / WIDTH / (1 if of_width else 4)
    return {**TRANSFORMER, "ffn_dim_multiplier": factor}


def flow_model(weights: Mapping[str, Tensor], dtype: torch.dtype, cast: Any = None) -> Any:
    """The host's model with `weights` in diffusers' names, on the CPU."""
    config = PuppetFlow(flow_config())
    config.set_inference_dtype(dtype, cast)
    model = config.get_model({}, "")
    renamed = {key: tensor.to(dtype) for key, tensor in host_weights(weights).items()}
    # older hosts have a last norm, which nothing uses
    for key, tensor in model.diffusion_model.state_dict().items():
        if key.startswith("norm_final."):
            renamed[key] = torch.ones_like(tensor)
    model.diffusion_model.load_state_dict(renamed, strict=True)
    model.diffusion_model.requires_grad_(False)
    return model


def host_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in diffusers' names, in the host's."""
    renamed = {}
    for key, tensor in weights.items():
        for pattern, replacement in _NAMES:
            key = re.sub(pattern, replacement, key)
        renamed[key] = tensor
    for key in [key for key in renamed if key.endswith(".attention.q.weight")]:
        parts = [renamed.pop(key.replace(".q.", f".{part}.")) for part in "qkv"]
        renamed[key.replace(".q.", ".qkv.")] = torch.cat(parts)
    return renamed
