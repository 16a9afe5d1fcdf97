"""The shapes of real models, for networks of random weights or of none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

_UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
    "legacy": False,
}
VAE = {
    "double_z": True,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}


@dataclass(frozen=True)
class Family:
    """The shapes of a family of models: its host class, network, picture side, and text."""

    host_class: str
    network: dict[str, Any]
    side: int
    text: tuple[int, int]
    pooled: int = 0
    latent_channels: int = 4
    cfg: float = 7.0
    dtype: str = "float16"
    extras: dict[str, Any] = field(default_factory=dict)


FAMILIES = {
    "sd15": Family(
        "SD15",
        {
            **_UNET,
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": [1, 2, 4, 4],
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_middle": 1,
            "transformer_depth_output": [1] * 9 + [0] * 3,
            "use_linear_in_transformer": False,
            "context_dim": 768,
            "adm_in_channels": None,
        },
        side=512,
        text=(77, 768),
    ),
    "sdxl": Family(
        "SDXL",
        {
            **_UNET,
            "num_res_blocks": [2, 2, 2],
            "channel_mult": [1, 2, 4],
            "transformer_depth": [0, 0, 2, 2, 10, 10],
            "transformer_depth_middle": 10,
            "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
            "use_linear_in_transformer": True,
            "context_dim": 2048,
            "num_head_channels": 64,
            "num_classes": "sequential",
            "adm_in_channels": 2816,
        },
        side=1024,
        text=(77, 2048),
        pooled=1280,
    ),
    "z-image": Family(
        "Lumina2",
        {
            "image_model": "lumina2",
            "patch_size": 2,
            "in_channels": 16,
            "dim": 3840,
            "cap_feat_dim": 2560,
            "n_layers": 30,
            "n_heads": 30,
            "n_kv_heads": 30,
            "qk_norm": True,
            "axes_dims": [32, 48, 48],
            "axes_lens": [1536, 512, 512],
        },
        side=1024,
        text=(77, 2560),
        latent_channels=16,
        cfg=1.0,
        dtype="bfloat16",
        extras={"attention_mask": torch.ones(1, 77, dtype=torch.long)},
    ),
    "flux": Family(
        "Flux",
        {
            "image_model": "flux",
            "in_channels": 16,
            "out_channels": 16,
            "patch_size": 2,
            "vec_in_dim": 768,
            "context_in_dim": 4096,
            "hidden_size": 3072,
            "num_heads": 24,
            "axes_dim": [16, 56, 56],
            "theta": 10000,
            "mlp_ratio": 4.0,
            "depth": 19,
            "depth_single_blocks": 38,
            "qkv_bias": True,
            "guidance_embed": True,
            "txt_ids_dims": [],
        },
        side=1024,
        text=(256, 4096),
        pooled=768,
        latent_channels=16,
        cfg=1.0,
        dtype="bfloat16",
    ),
}
