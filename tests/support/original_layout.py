"""Writes a model of tiny_models in the names of Stable Diffusion's original checkpoints.

diffusers only reads them, so this is the way back, for models of one resnet a level.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Rules = Iterable[tuple[str, str]]

_RESNET = (
    # attention has norms of these names too, and keeps them
    (r"(?<!transformer_blocks\.\d)\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"(?<!transformer_blocks\.\d)\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
)
_UNET = (
    (r"^time_embedding\.linear_1", "time_embed.0"),
    (r"^time_embedding\.linear_2", "time_embed.2"),
    (r"^add_embedding\.linear_1", "label_emb.0.0"),
    (r"^add_embedding\.linear_2", "label_emb.0.2"),
    (r"^conv_in", "input_blocks.0.0"),
    (r"^conv_norm_out", "out.0"),
    (r"^conv_out", "out.2"),
    (r"^down_blocks\.0\.resnets\.0", "input_blocks.1.0"),
    (r"^down_blocks\.0\.attentions\.0", "input_blocks.1.1"),
    (r"^down_blocks\.0\.downsamplers\.0\.conv", "input_blocks.2.0.op"),
    (r"^down_blocks\.1\.resnets\.0", "input_blocks.3.0"),
    (r"^down_blocks\.1\.attentions\.0", "input_blocks.3.1"),
    (r"^mid_block\.resnets\.0", "middle_block.0"),
    (r"^mid_block\.attentions\.0", "middle_block.1"),
    (r"^mid_block\.resnets\.1", "middle_block.2"),
    (r"^up_blocks\.0\.resnets\.(\d)", r"output_blocks.\1.0"),
    (r"^up_blocks\.0\.attentions\.(\d)", r"output_blocks.\1.1"),
    (r"^up_blocks\.1\.resnets\.0", "output_blocks.2.0"),
    (r"^up_blocks\.1\.resnets\.1", "output_blocks.3.0"),
    (r"^up_blocks\.1\.attentions\.0", "output_blocks.2.1"),
    (r"^up_blocks\.1\.attentions\.1", "output_blocks.3.1"),
)
_VAE = (
    (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.0\.resnets\.(\d)", r"up.1.block.\1"),
    (r"up_blocks\.1\.resnets\.(\d)", r"up.0.block.\1"),
    (r"up_blocks\.0\.upsamplers\.0", "up.1.upsample"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"attn_1\.group_norm", "attn_1.norm"),
    (r"attn_1\.to_([qkv])", r"attn_1.\1"),
    (r"attn_1\.to_out\.0", "attn_1.proj_out"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
)
_OPEN_CLIP = (
    (r"^text_model\.", ""),
    (r"^embeddings\.token_embedding", "token_embedding"),
    (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"layer_norm(\d)", r"ln_\1"),
    (r"mlp\.fc1", "mlp.c_fc"),
    (r"mlp\.fc2", "mlp.c_proj"),
    (r"self_attn", "attn"),
    (r"^final_layer_norm", "ln_final"),
    (r"^text_projection\.weight", "text_projection"),
)


def checkpoint(family: str, parts: Mapping[str, Any]) -> dict[str, Tensor]:
    """All weights of a model in one dictionary, as the family's published files name them."""
    first, *more = parts["text_encoders"]
    if family == "sd1":
        text = _under("cond_stage_model.transformer.", _clip(first))
    elif family == "sd2":
        text = _under("cond_stage_model.model.", _open_clip(first))
    else:
        text = _under("conditioner.embedders.0.transformer.", _clip(first))
        text |= _under("conditioner.embedders.1.model.", _open_clip(*more))
    unet = _under("model.diffusion_model.", _unet(parts["unet"]))
    vae = _under("first_stage_model.", _vae(parts["vae"]))
    return {key: tensor.contiguous() for key, tensor in (unet | vae | text).items()}


def _unet(network: nn.Module) -> dict[str, Tensor]:
    # it comes last in its block: after the attention, where there is one
    place = 2 if hasattr(network.up_blocks[0], "attentions") else 1
    upsampler = (r"^up_blocks\.0\.upsamplers\.0", f"output_blocks.1.{place}")
    return _renamed(network, (*_UNET, upsampler, *_RESNET))


def _vae(network: nn.Module) -> dict[str, Tensor]:
    weights = _renamed(network, _VAE)
    # its attention was written with convolutions of one pixel
    pattern = re.compile(r"attn_1\.(q|k|v|proj_out)\.weight")
    return {k: w[:, :, None, None] if pattern.search(k) else w for k, w in weights.items()}


def _clip(network: nn.Module) -> dict[str, Tensor]:
    # transformers dropped this part of the names in version 5.6
    bare = _renamed(network, [(r"^text_model\.", "")])
    return _under("text_model.", bare)


def _open_clip(network: nn.Module) -> dict[str, Tensor]:
    """Queries, keys and values in one tensor, and the projection the other way round."""
    weights = _renamed(network, _OPEN_CLIP)
    for key in [key for key in weights if ".q_proj." in key]:
        three = [weights.pop(key.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        weights[key.replace("q_proj.", "in_proj_")] = torch.cat(three)
    if "text_projection" in weights:
        weights["text_projection"] = weights["text_projection"].T
    return weights


def _renamed(network: nn.Module, rules: Rules) -> dict[str, Tensor]:
    renamed = {}
    for key, tensor in network.state_dict().items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        renamed[key] = tensor
    return renamed


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: tensor for key, tensor in weights.items()}
