"""The families of image models that the host samples with, each as a tiny network.

A conditioning has the shapes and extras that the text encoder of the family gives. `FAMILIES` is
plain data, so that a test can read it without the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

Extra = Callable[[Generator, int], Any]
"""A value beside the embeddings, from a generator and a number of tokens."""

OLDER, NEWER = "0.3.64", "0.33.0"
ANY = (17, 23, 9)
"""Tokens of one prompt, of another and of the negative, where the text encoder does not pad."""


@dataclass(frozen=True)
class Prompt:
    """What a text encoder gives: embeddings `width` wide, pooled ones if `pooled`, and extras."""

    width: int
    pooled: int = 0
    tokens: tuple[int, int, int] = ANY
    extras: dict[str, Extra] = field(default_factory=dict)

    def conditioning(self, seed: int, tokens: int) -> list[list[Any]]:
        """A random CONDITIONING of one row."""
        generator = Generator().manual_seed(seed)
        embeddings = torch.randn(1, tokens, self.width, generator=generator)
        rest: dict[str, Any] = {"pooled_output": None}
        if self.pooled:
            rest["pooled_output"] = torch.randn(1, self.pooled, generator=generator)
        made = {key: make(generator, tokens) for key, make in self.extras.items()}
        return [[embeddings, {**rest, **made}]]


@dataclass(frozen=True)
class Family:
    """A family: the host's class of its `config`, the shape of its `network`, its `vae`.

    `weights` is what the host wants to see of a checkpoint before it builds the network. Pictures
    have `pixels` a side. Hosts have it from the version `since` on. `learns` says whether a prompt
    can be learned, `poses` what kind of ControlNet the host has. `settings` (steps, cfg) are for
    the table in docs/families.md.
    """

    config: str
    network: dict[str, Any]
    vae: str
    prompt: Prompt
    settings: str
    since: str = OLDER
    pixels: int = 64
    weights: dict[str, Tensor] = field(default_factory=dict)
    learns: bool = True
    poses: str = ""
    draws: str = ""
    """Why the family draws no frames; nothing where it does."""


def _tokens_mask(_: Generator, tokens: int) -> Tensor:
    return torch.ones(1, tokens, dtype=torch.long)


def _number(value: float) -> Extra:
    return lambda _, tokens: value


def _normal(*shape: int | None) -> Extra:
    """Random numbers of a shape, in which None stands for the number of tokens."""

    def make(generator: Generator, tokens: int) -> Tensor:
        sides = [tokens if side is None else side for side in shape]
        return torch.randn(sides, generator=generator)

    return make


def _references(generator: Generator, _: int) -> list[Tensor]:
    return [torch.randn(1, 16, 8, 8, generator=generator)]


def _ids(generator: Generator, tokens: int) -> Tensor:
    return torch.randint(0, 1000, (1, tokens), generator=generator)


def _t5_ids(generator: Generator, tokens: int) -> Tensor:
    return torch.randint(0, 30000, (tokens + 4,), generator=generator).int()


def _t5_weights(_: Generator, tokens: int) -> Tensor:
    return torch.ones(tokens + 4)


_MASKED = {"attention_mask": _tokens_mask}
_V_PREDICTION = {"output_blocks.11.1.transformer_blocks.0.norm1.bias": torch.tensor([-1.0, 1.0])}

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 64,
    "num_res_blocks": [1, 1],
    "channel_mult": (1, 2),
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "use_temporal_attention": False,
    "legacy": False,
    "adm_in_channels": None,
}
"""Two levels with attention on both; every group norm has 32 groups."""


def _text_layer(wide: int, out: int) -> dict[str, Any]:
    params = {"in_features": wide, "out_features": out}
    return {"target": "torch.nn.Linear", "params": params}


MMDIT = {
    "in_channels": 16,
    "patch_size": 2,
    "input_size": None,
    "num_patches": 32 * 32,
    "pos_embed_max_size": 32,
    "pos_embed_scaling_factor": None,
    # 64 channels a unit of depth
    "depth": 1,
    "num_blocks": 2,
    "adm_in_channels": 40,
    # the host pads these texts to 4096, whatever the towers' widths
    "context_embedder_config": _text_layer(4096, 64),
}

FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "patch_size": 2,
    "vec_in_dim": 16,
    "context_in_dim": 32,
    "hidden_size": 64,
    "num_heads": 2,
    "axes_dim": [8, 12, 12],
    "theta": 10000,
    "mlp_ratio": 2.0,
    "depth": 1,
    "depth_single_blocks": 1,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
}

_UNET_OF_1 = {**UNET, "context_dim": 16, "use_linear_in_transformer": False}
_UNET_OF_2 = {**UNET, "context_dim": 24}
_UNET_OF_XL = {
    **UNET,
    "context_dim": 40,
    "num_classes": "sequential",
    # a pooled text, and six sizes, each 256 wide
    "adm_in_channels": 24 + 6 * 256,
}
_UNET_OF_REFINER = {**_UNET_OF_XL, "context_dim": 24, "adm_in_channels": 24 + 5 * 256}

_FLUX2 = {
    **FLUX,
    "image_model": "flux2",
    "in_channels": 128,
    "out_channels": 128,
    "patch_size": 1,
    "vec_in_dim": None,
    "axes_dim": [8, 8, 8, 8],
    "theta": 2000,
    "mlp_ratio": 3.0,
    "global_modulation": True,
    "mlp_silu_act": True,
    "qkv_bias": False,
    "ops_bias": False,
    "default_ref_method": "index",
    "ref_index_scale": 10.0,
    "txt_ids_dims": [3],
}

_CHROMA = {
    "image_model": "chroma",
    "in_channels": 64,
    "out_channels": 64,
    "context_in_dim": 32,
    "hidden_size": 64,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [8, 12, 12],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "in_dim": 64,
    "out_dim": 64,
    "hidden_dim": 64,
    "n_layers": 2,
    "txt_ids_dims": [],
    "vec_in_dim": None,
}

_LUMINA = {
    "image_model": "lumina2",
    "patch_size": 2,
    "in_channels": 16,
    "dim": 64,
    "cap_feat_dim": 32,
    "n_layers": 2,
    "qk_norm": True,
    "n_heads": 2,
    "n_kv_heads": 2,
    "axes_dims": [8, 12, 12],
    "axes_lens": [300, 512, 512],
    "rope_theta": 10000.0,
    "ffn_dim_multiplier": 4.0,
    "n_refiner_layers": 1,
    "multiple_of": 32,
}

_Z_IMAGE = {
    **_LUMINA,
    # the host knows Z-Image by a width of its own
    "dim": 256,
    "n_heads": 8,
    "n_kv_heads": 8,
    "z_image_modulation": True,
    "time_scale": 1000.0,
    "pad_tokens_multiple": 32,
    "rope_theta": 256.0,
    "axes_lens": [1536, 512, 512],
    "ffn_dim_multiplier": 8 / 3,
}

_COSMOS = {
    "image_model": "cosmos_predict2",
    "max_img_h": 240,
    "max_img_w": 240,
    "max_frames": 128,
    "in_channels": 16,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
    "model_channels": 64,
    "concat_padding_mask": True,
    "crossattn_emb_channels": 1024,
    "pos_emb_cls": "rope3d",
    "pos_emb_learnable": True,
    "pos_emb_interpolation": "crop",
    "min_fps": 1,
    "max_fps": 30,
    "use_adaln_lora": True,
    "adaln_lora_dim": 16,
    "num_blocks": 2,
    "num_heads": 2,
    "extra_per_block_abs_pos_emb": False,
    "rope_h_extrapolation_ratio": 4.0,
    "rope_w_extrapolation_ratio": 4.0,
    "rope_t_extrapolation_ratio": 1.0,
    "extra_h_extrapolation_ratio": 1.0,
    "extra_w_extrapolation_ratio": 1.0,
    "extra_t_extrapolation_ratio": 1.0,
    "rope_enable_fps_modulation": False,
}

_PIXART = {
    "image_model": "pixart_sigma",
    "input_size": 32,
    "in_channels": 4,
    "hidden_size": 64,
    "depth": 2,
    "num_heads": 2,
    "caption_channels": 32,
    "model_max_length": 300,
    "patch_size": 2,
    "mlp_ratio": 2.0,
    "micro_condition": False,
}

_HUNYUAN_DIT = {
    "image_model": "hydit",
    "hidden_size": 64,
    "depth": 2,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "text_states_dim": 32,
    "text_states_dim_t5": 48,
}

_HUNYUAN_IMAGE = {
    "image_model": "hunyuan_video",
    "in_channels": 64,
    "out_channels": 64,
    "patch_size": [1, 1],
    "vec_in_dim": None,
    "axes_dim": [16, 16],
    "meanflow": False,
    "context_in_dim": 32,
    "hidden_size": 64,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "theta": 256,
    "qkv_bias": True,
    "byt5": True,
    "guidance_embed": False,
    "use_cond_type_embedding": False,
    "vision_in_dim": None,
    "meanflow_sum": False,
}

_CASCADE_C = {
    "stable_cascade_stage": "c",
    "c_cond": 64,
    "c_hidden": [64, 64],
    "nhead": [2, 2],
    "blocks": [[1, 1], [1, 1]],
    "c_clip_text": 24,
    "c_clip_text_pooled": 24,
}

_CASCADE_B = {
    "stable_cascade_stage": "b",
    "c_cond": 64,
    "c_hidden": [32, 32, 64, 64],
    "nhead": [-1, -1, 2, 2],
    "blocks": [[1, 1, 1, 1], [1, 1, 1, 1]],
    "block_repeat": [[1, 1, 1, 1], [1, 1, 1, 1]],
    "c_clip": 24,
}

_LENS = {
    "image_model": "lens",
    "in_channels": 128,
    "out_channels": 32,
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 64,
    "enc_hidden_dim": 32,
    "multi_layer_encoder_feature": True,
    "selected_layer_index": (0, 1),
    "axes_dims_rope": (8, 28, 28),
}

_HIDREAM = {
    "image_model": "hidream",
    "attention_head_dim": 32,
    "axes_dims_rope": [16, 8, 8],
    "caption_channels": [32, 32],
    "max_resolution": [128, 128],
    "in_channels": 16,
    "llama_layers": [0, 1, 1],
    "num_attention_heads": 2,
    "num_routed_experts": 2,
    "num_activated_experts": 1,
    "num_layers": 1,
    "num_single_layers": 1,
    "out_channels": 16,
    "patch_size": 2,
    "text_emb_dim": 24,
}

_HIDREAM_O1 = {
    "image_model": "hidream_o1",
    "text_config_overrides": {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rope_dims": [6, 5, 5],
    },
    "vision_config_overrides": {
        "hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 32,
        "depth": 1,
        "deepstack_visual_indexes": (0,),
    },
}

_RADIANCE = {
    **_CHROMA,
    "image_model": "chroma_radiance",
    "in_channels": 3,
    "out_channels": 3,
    "patch_size": 16,
    "nerf_hidden_size": 16,
    "nerf_mlp_ratio": 2,
    "nerf_depth": 1,
    "nerf_max_freqs": 4,
    "nerf_tile_size": 512,
    "nerf_final_head_type": "conv",
    "nerf_embedder_dtype": torch.float32,
    "use_x0": False,
    "use_sequential_txt_ids": False,
}

_OMNIGEN2 = {
    "image_model": "omnigen2",
    "axes_dim_rope": [8, 12, 12],
    "axes_lens": [1024, 256, 256],
    "ffn_dim_multiplier": None,
    "hidden_size": 64,
    "in_channels": 16,
    "multiple_of": 32,
    "norm_eps": 1e-5,
    "num_attention_heads": 2,
    "num_kv_heads": 1,
    "num_layers": 2,
    "num_refiner_layers": 1,
    "out_channels": None,
    "patch_size": 2,
    "text_feat_dim": 32,
    "timestep_scale": 1000.0,
}

_BOOGU = {
    "image_model": "boogu",
    "hidden_size": 64,
    "num_layers": 1,
    "num_double_stream_layers": 1,
    "num_refiner_layers": 1,
    "num_attention_heads": 2,
    "num_kv_heads": 1,
    "multiple_of": 32,
    "axes_dim_rope": (8, 12, 12),
    "axes_lens": (2048, 256, 256),
    "instruction_feat_dim": 32,
}

_QWEN = {
    "image_model": "qwen_image",
    "in_channels": 64,
    "num_layers": 2,
    "attention_head_dim": 32,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "axes_dims_rope": (8, 12, 12),
}

_PIXELDIT = {
    "image_model": "pixeldit_t2i",
    "hidden_size": 64,
    "num_groups": 2,
    "pixel_hidden_size": 8,
    "pixel_attn_hidden_size": 32,
    "pixel_num_groups": 2,
    "patch_depth": 2,
    "pixel_depth": 1,
    "txt_embed_dim": 32,
}

_Z_IMAGE_PIXELS = {
    **_Z_IMAGE,
    "image_model": "zimage_pixel",
    "patch_size": 16,
    "in_channels": 3,
    "decoder_hidden_size": 32,
    "decoder_num_res_blocks": 1,
}

_AURA = {
    "max_seq": 1024,
    "cond_seq_dim": 32,
    "n_double_layers": 1,
    "n_layers": 2,
    "dim": 64,
    "n_heads": 2,
    "global_conddim": 64,
}

_IDEOGRAM = {
    "image_model": "ideogram4",
    "in_channels": 128,
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 32,
    "intermediate_size": 64,
    "adaln_dim": 32,
    "llm_features_dim": 32,
    "rope_theta": 5000000,
    "mrope_section": (6, 5, 5),
}

_ERNIE = {
    "image_model": "ernie",
    "hidden_size": 64,
    "num_attention_heads": 2,
    "num_layers": 2,
    "ffn_hidden_size": 64,
    "text_in_dim": 32,
    "rope_axes_dim": (8, 12, 12),
}

_KANDINSKY = {
    "image_model": "kandinsky5",
    "in_text_dim": 32,
    "in_text_dim2": 16,
    "time_dim": 32,
    "model_dim": 64,
    "ff_dim": 64,
    "visual_embed_dim": 64,
    "num_text_blocks": 1,
    "num_visual_blocks": 1,
    "axes_dims": (8, 12, 12),
    "rope_scale_factor": (1.0, 1.0, 1.0),
}

_KREA = {
    "image_model": "krea2",
    "features": 64,
    "tdim": 32,
    "txtdim": 32,
    "heads": 2,
    "kvheads": 1,
    "multiplier": 2,
    "layers": 2,
    "patch": 2,
    "channels": 16,
    "txtlayers": 2,
    "txtheads": 2,
    "txtkvheads": 2,
}

_JOY = {
    "image_model": "joyimage",
    "hidden_size": 64,
    "num_attention_heads": 2,
    "text_dim": 32,
    "num_layers": 2,
    "rope_dim_list": [8, 12, 12],
}

_WAN = {
    "image_model": "wan2.1",
    "dim": 64,
    "out_dim": 16,
    "num_heads": 2,
    "ffn_dim": 64,
    "num_layers": 2,
    "patch_size": (1, 2, 2),
    "freq_dim": 32,
    "in_dim": 16,
    "text_dim": 32,
    "model_type": "t2v",
}

_CLIP = (77, 154, 77)
"""CLIP reads chunks of 77 tokens; the second prompt has two."""
_PADDED = (64, 64, 64)
"""Of encoders that pad their texts; real ones are 256 or 512 long, which takes longer."""
_OF_1, _OF_2, _OF_XL = Prompt(16, 16, _CLIP), Prompt(24, 24, _CLIP), Prompt(40, 24, _CLIP)
_OF_FLUX = Prompt(32, 16, _PADDED)
_PLAIN, _WITH_MASK = Prompt(32), Prompt(32, extras=_MASKED)


def _guided(prompt: Prompt, guidance: float, **extras: Extra) -> Prompt:
    """The prompt of a model with distilled guidance."""
    return Prompt(
        prompt.width, prompt.pooled, prompt.tokens, {"guidance": _number(guidance), **extras}
    )


_OF_HUNYUAN_DIT = Prompt(
    32,
    32,
    (77, 77, 77),
    {
        **_MASKED,
        "conditioning_mt5xl": _normal(1, 256, 48),
        "attention_mask_mt5xl": lambda _, tokens: torch.ones(1, 256, dtype=torch.long),
    },
)
_OF_ANIMA = Prompt(1024, extras={"t5xxl_ids": _t5_ids, "t5xxl_weights": _t5_weights})
_OF_LENS = Prompt(64, extras={**_MASKED, "num_layers_stacked": _number(2)})
_OF_HIDREAM = Prompt(32, 24, _PADDED, {"conditioning_llama3": _normal(1, 2, None, 32)})
_OF_HUNYUAN_IMAGE = Prompt(32, extras={"conditioning_byt5small": _normal(1, None, 1472)})

FAMILIES = {
    "SD 1.5": Family("SD15", _UNET_OF_1, "kl4", _OF_1, "20, cfg 7.5", poses="cldm"),
    "SD 1.5 inpainting": Family(
        "SD15", {**_UNET_OF_1, "in_channels": 9}, "kl4", _OF_1, "20, cfg 7.5", poses="cldm"
    ),
    "SD 1.5 instruct-pix2pix": Family(
        "SD15_instructpix2pix", {**_UNET_OF_1, "in_channels": 8}, "kl4", _OF_1, "20, cfg 7.5"
    ),
    "SD 2.1 v": Family(
        "SD20", _UNET_OF_2, "kl4", _OF_2, "20, cfg 7.5", weights=_V_PREDICTION, poses="cldm"
    ),
    "SD 2.1 unCLIP": Family(
        "SD21UnclipL",
        {**_UNET_OF_2, "num_classes": "sequential", "adm_in_channels": 1536},
        "kl4",
        _OF_2,
        "20, cfg 7.5",
        weights=_V_PREDICTION,
    ),
    "Lotus (depth)": Family(
        "LotusD",
        {
            **_UNET_OF_2,
            "num_classes": "sequential",
            "adm_in_channels": 4,
            "num_heads": -1,
            "num_head_channels": 64,
        },
        "kl4",
        _OF_2,
        "1, cfg 1",
    ),
    "SDXL, Pony, Illustrious": Family(
        "SDXL", _UNET_OF_XL, "kl4", _OF_XL, "20, cfg 7", poses="cldm"
    ),
    "NoobAI (v-prediction)": Family(
        "SDXL",
        _UNET_OF_XL,
        "kl4",
        _OF_XL,
        "28, cfg 5",
        weights={"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])},
        poses="cldm",
    ),
    "CosXL": Family(
        "SDXL",
        _UNET_OF_XL,
        "kl4",
        _OF_XL,
        "20, cfg 7",
        weights={"edm_vpred.sigma_max": torch.tensor(120.0)},
    ),
    "Playground 2.5": Family(
        "SDXL",
        _UNET_OF_XL,
        "kl4",
        _OF_XL,
        "50, cfg 3",
        weights={"edm_mean": torch.zeros(4), "edm_std": torch.ones(4)},
    ),
    "SDXL refiner": Family("SDXLRefiner", _UNET_OF_REFINER, "kl4", _OF_2, "20, cfg 7"),
    "SSD-1B, Segmind Vega, KOALA": Family(
        "SSD1B", _UNET_OF_XL, "kl4", _OF_XL, "25, cfg 7", poses="cldm"
    ),
    "Stable Cascade C": Family(
        "Stable_Cascade_C",
        _CASCADE_C,
        "stage c",
        _OF_2,
        "20, cfg 4",
        pixels=256,
        draws="vae: it makes pictures of 64 x 64 pixels from keyframes of 256 x 256",
    ),
    "Stable Cascade B": Family(
        "Stable_Cascade_B", _CASCADE_B, "kl4 of 4", _OF_2, "10, cfg 1.1", learns=False
    ),
    "SD 3, SD 3.5": Family(
        "SD3",
        # a ControlNet has nothing to say after its last block, so one of depth 1 says nothing
        {**MMDIT, "depth": 2, "context_embedder_config": _text_layer(4096, 128)},
        "kl16",
        Prompt(4096, 40, (154, 154, 154)),
        "30, cfg 4.5",
        poses="mmdit",
    ),
    "AuraFlow": Family("AuraFlow", _AURA, "kl4", Prompt(32, tokens=_PADDED), "25, cfg 3.5"),
    "PixArt alpha": Family(
        "PixArtAlpha",
        {**_PIXART, "image_model": "pixart_alpha", "model_max_length": 120},
        "kl4",
        _PLAIN,
        "20, cfg 4.5",
        pixels=288,
    ),
    "PixArt sigma": Family(
        "PixArtSigma",
        {**_PIXART, "pe_interpolation": 2},
        "kl4",
        _PLAIN,
        "20, cfg 4.5",
        pixels=288,
    ),
    "HunyuanDiT 1.2": Family("HunyuanDiT", _HUNYUAN_DIT, "kl4", _OF_HUNYUAN_DIT, "30, cfg 6"),
    "Flux.1 dev, Krea": Family(
        "Flux", FLUX, "kl16", _guided(_OF_FLUX, 3.5), "20, cfg 1", poses="flux"
    ),
    "Flux.1 Kontext": Family(
        "Flux",
        FLUX,
        "kl16",
        _guided(_OF_FLUX, 2.5, reference_latents=_references),
        "20, cfg 1",
        poses="flux",
    ),
    "Flux.1 schnell": Family(
        "FluxSchnell",
        {**FLUX, "guidance_embed": False},
        "kl16",
        _OF_FLUX,
        "4, cfg 1",
        poses="flux",
    ),
    "Flux.1 Fill": Family(
        "FluxInpaint", {**FLUX, "in_channels": 96}, "kl16", _guided(_OF_FLUX, 30.0), "20, cfg 1"
    ),
    "LongCat-Image": Family(
        "LongCatImage",
        {
            **FLUX,
            "vec_in_dim": None,
            "context_in_dim": 48,
            "guidance_embed": False,
            "txt_ids_dims": [1, 2],
        },
        "kl16",
        Prompt(48),
        "20, cfg 4",
        since=NEWER,
    ),
    "Flux.2 dev": Family(
        "Flux2", _FLUX2, "flux 2", _guided(_PLAIN, 4.0), "20, cfg 1", since=NEWER, pixels=128
    ),
    "Flux.2 klein": Family(
        "Flux2",
        {**_FLUX2, "guidance_embed": False},
        "flux 2",
        Prompt(32, tokens=_PADDED),
        "4, cfg 1; base: 20, cfg 5",
        since=NEWER,
        pixels=128,
    ),
    "Lens": Family(
        "Lens", _LENS, "flux 2", _OF_LENS, "20, cfg 5; turbo: 4, cfg 1", since=NEWER, pixels=128
    ),
    "HunyuanImage 2.1": Family(
        "HunyuanImage21", _HUNYUAN_IMAGE, "kl64 of 32", _OF_HUNYUAN_IMAGE, "20, cfg 3.5", pixels=256
    ),
    "Lumina Image 2": Family("Lumina2", _LUMINA, "kl16", _WITH_MASK, "30, cfg 4"),
    "Z-Image": Family(
        "ZImage", _Z_IMAGE, "kl16", _WITH_MASK, "25, cfg 4; turbo: 8, cfg 1", since=NEWER
    ),
    "Z-Image in pixels": Family(
        "ZImagePixelSpace", _Z_IMAGE_PIXELS, "pixels", _WITH_MASK, "25, cfg 4", since=NEWER
    ),
    "PixelDiT": Family(
        "PixelDiTT2I",
        _PIXELDIT,
        "pixels",
        Prompt(32, tokens=_PADDED, extras=_MASKED),
        "30, cfg 4",
        since=NEWER,
    ),
    "HiDream I1": Family(
        "HiDream", _HIDREAM, "kl16", _OF_HIDREAM, "50, cfg 5; dev: 28, cfg 1; fast: 16, cfg 1"
    ),
    "HiDream O1": Family(
        "HiDreamO1",
        _HIDREAM_O1,
        "pixels",
        Prompt(1, extras={"text_input_ids": _ids}),
        "40, cfg 5; dev: 28, cfg 1",
        since=NEWER,
        learns=False,
    ),
    "Chroma": Family("Chroma", _CHROMA, "kl16", _PLAIN, "26, cfg 3.5", poses="flux"),
    "Chroma Radiance": Family("ChromaRadiance", _RADIANCE, "pixels", _PLAIN, "26, cfg 3.5"),
    "OmniGen2": Family("Omnigen2", _OMNIGEN2, "kl16", _WITH_MASK, "20, cfg 5"),
    "Boogu": Family("Boogu", _BOOGU, "kl16", _WITH_MASK, "25, cfg 4; turbo: 4, cfg 1", since=NEWER),
    "Mage-Flow": Family(
        "MageFlow",
        {**_QWEN, "image_model": "mage_flow", "in_channels": 128},
        "flux 2",
        _PLAIN,
        "30, cfg 5; turbo: 4, cfg 1",
        since=NEWER,
        pixels=128,
    ),
    "Ideogram 4": Family(
        "Ideogram4", _IDEOGRAM, "flux 2", _WITH_MASK, "20, cfg 4", since=NEWER, pixels=128
    ),
    "ERNIE-Image": Family(
        "ErnieImage",
        _ERNIE,
        "flux 2",
        _PLAIN,
        "20, cfg 4; turbo: 8, cfg 1",
        since=NEWER,
        pixels=128,
    ),
    "Kandinsky 5 Image": Family(
        "Kandinsky5Image", _KANDINSKY, "kl16", Prompt(32, 16), "50, cfg 3.5", since=NEWER
    ),
    "Qwen-Image, Qwen-Image-Edit": Family(
        "QwenImage",
        _QWEN,
        "wan",
        _PLAIN,
        "20, cfg 2.5; Lightning LoRA: 4 or 8, cfg 1",
        poses="qwen",
    ),
    "Krea 2": Family("Krea2", _KREA, "wan", Prompt(64), "turbo: 8, cfg 1", since=NEWER),
    "JoyImage": Family("JoyImage", _JOY, "wan", _WITH_MASK, "40, cfg 4", since=NEWER),
    "Cosmos Predict2": Family(
        "CosmosT2IPredict2", _COSMOS, "wan", Prompt(1024, tokens=_PADDED), "35, cfg 4"
    ),
    "Anima": Family(
        "Anima", {**_COSMOS, "image_model": "anima"}, "wan", _OF_ANIMA, "30, cfg 4", since=NEWER
    ),
    "Wan 2.1, 2.2 14B (as image model)": Family(
        "WAN21_T2V", _WAN, "wan", Prompt(32, tokens=_PADDED), "20, cfg 3.5"
    ),
}

EDITS = {
    "Flux.1 dev, Krea",
    "Flux.1 Kontext",
    "Flux.1 schnell",
    "LongCat-Image",
    "Flux.2 dev",
    "Flux.2 klein",
    "Z-Image",
    "Z-Image in pixels",
    "OmniGen2",
    "Boogu",
    "Mage-Flow",
    "Qwen-Image, Qwen-Image-Edit",
    "Krea 2",
    "JoyImage",
}
"""Families whose networks take reference latents."""

LEFT_OUT = {
    "Segmind_Vega": "is SDXL with fewer layers, as SSD1B",
    "KOALA_700M": "is SDXL with fewer layers, as SSD1B",
    "KOALA_1B": "is SDXL with fewer layers, as SSD1B",
    "Stable_Zero123": "turns one picture of a thing",
    "SD_X4Upscaler": "enlarges pictures",
    "SDXL_instructpix2pix": "is SDXL with the input of SD 1.5 instruct-pix2pix",
    "SD21UnclipH": "is SD 2.1 unCLIP with a wider image encoder",
    "HunyuanDiT1": "is HunyuanDiT 1.2 with another schedule",
    "HunyuanImage21Refiner": "refines a finished picture",
    "PiD": "enlarges pictures",
}
"""Classes of image models of the host that are not tried, and why."""
NO_PICTURES = (
    "SV3D",
    "SVD",
    "StableAudio",
    "GenmoMochi",
    "LTX",
    "HunyuanVideo",
    "CosmosT2V",
    "CosmosI2V",
    "CosmosI2VPredict2",
    "WAN",
    "Hunyuan3D",
    "ACEStep",
    "Kandinsky5",
    "CogVideo",
    "SeedVR",
    "MiniMax",
    "TripoSplat",
    "Trellis",
    "RT_DETR",
    "DepthAnything",
    "SAM3",
)
"""How the names of the host's classes begin that draw videos, sound or bodies, or read pictures."""
