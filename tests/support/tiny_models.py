"""Tiny random Stable Diffusion models, in the real classes of diffusers and transformers."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffusion_interpolation.demo.networks import TOKENS, write_tokenizer
from diffusion_interpolation.models.diffusers.model import DiffusersModel

FAMILIES = ("sd1", "sd2", "xl")
SIDE = 8
"""The side of a latent in these tests; pictures and hints are twice as large."""
_WIDTHS = {"sd1": (16,), "sd2": (24,), "xl": (16, 24)}
SCHEDULE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
}
"""What all families have in common."""


def model(family: str, tokenizers: Path, control: bool = True, **options: Any) -> DiffusersModel:
    """The model of a family, always with the same weights; five steps unless told otherwise."""
    more = {"controlnet": controlnet(family)} if control else {}
    return DiffusersModel(**parts(family, tokenizers), **more, **{"steps": 5, **options})


def parts(family: str, tokenizers: Path) -> dict[str, Any]:
    """What `DiffusersModel` is made of, but for a ControlNet; `tokenizers` is a saved tokenizer."""
    from transformers import CLIPTokenizer

    torch.manual_seed(FAMILIES.index(family))
    first = CLIPTokenizer.from_pretrained(tokenizers)
    # XL's second tokenizer fills up with exclamation marks, not with the end of the text
    second = CLIPTokenizer.from_pretrained(tokenizers, pad_token="!")
    return {
        "vae": _stir(_vae(family)),
        "unet": _stir(_unet(family)),
        "scheduler": _scheduler(family),
        "text_encoders": [_stir(encoder) for encoder in _text_encoders(family, first)],
        "tokenizers": [first, second][: len(_WIDTHS[family])],
    }


def save_tokenizer(folder: Path) -> Path:
    """A tokenizer that knows a few words."""
    write_tokenizer(["a red puppet waves", "a blue dog sleeps on the grass, far away!"], folder)
    return folder


def pipeline(family: str, parts: dict[str, Any], controlnet: nn.Module | None = None) -> Any:
    """The parts in diffusers' own pipeline."""
    import diffusers

    name = f"StableDiffusion{'XL' if family == 'xl' else ''}{'ControlNet' if controlnet else ''}"
    names = ("text_encoder", "text_encoder_2"), ("tokenizer", "tokenizer_2")
    given = {key: parts[key] for key in ("vae", "unet", "scheduler")}
    given |= dict(zip(names[0], parts["text_encoders"], strict=False))
    given |= dict(zip(names[1], parts["tokenizers"], strict=False))
    if controlnet:
        given["controlnet"] = controlnet
    if family != "xl":
        given |= {"safety_checker": None, "feature_extractor": None}
        given["requires_safety_checker"] = False
    made = getattr(diffusers, f"{name}Pipeline")(**given)
    made.set_progress_bar_config(disable=True)
    return made


def controlnet(family: str, **changes: Any) -> nn.Module:
    """A ControlNet for the model of the same family."""
    from diffusers import ControlNetModel

    torch.manual_seed(7)
    config = _unet_config(family)
    del config["up_block_types"]
    return _stir(ControlNetModel(conditioning_embedding_out_channels=(4, 8), **config, **changes))


def lumina() -> Any:
    """A Lumina 2 in diffusers' own pipeline, whose autoencoder makes 8 x 8 pixels one."""
    import diffusers

    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(8, 8, 8, 16),
        norm_num_groups=4,
        scaling_factor=0.36,
        shift_factor=0.12,
    )
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(4, 4, 4),
        axes_lens=(300, 16, 16),
        cap_feat_dim=16,
    )
    encoder, tokenizer = _gemma()
    made = diffusers.Lumina2Pipeline(
        transformer=_stir(transformer),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=6.0),
        vae=_stir(vae),
        text_encoder=_stir(encoder),
        tokenizer=tokenizer,
    )
    made.set_progress_bar_config(disable=True)
    return made


def _gemma() -> tuple[nn.Module, Any]:
    """A Gemma 2 that reads letter by letter."""
    from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer

    letters = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *string.ascii_letters, *".,-<>"]
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    tokenizer = GemmaTokenizer(vocabulary, add_bos_token=True)
    config = Gemma2Config(
        vocab_size=len(letters),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=64,
        query_pre_attn_scalar=8,
    )
    return Gemma2Model(config), tokenizer


def _stir(network: nn.Module) -> nn.Module:
    """Noise on every weight: what starts at zero, like a ControlNet's ends, would hide mistakes."""
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.05 * torch.randn_like(weights)
    return network


def _vae(family: str) -> nn.Module:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        sample_size=2 * SIDE,
        scaling_factor=0.13025 if family == "xl" else 0.18215,
        force_upcast=family == "xl",
    )


def _unet(family: str) -> nn.Module:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(sample_size=SIDE, **_unet_config(family))


def _unet_config(family: str) -> dict[str, Any]:
    """Attention on the upper level, in XL on the lower one."""
    blocks, heads = ["CrossAttnDownBlock2D", "DownBlock2D"], 2
    if family != "sd1":
        heads = (2, 4)
    if family == "xl":
        blocks = blocks[::-1]
    return {
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "down_block_types": blocks,
        "up_block_types": [block.replace("Down", "Up") for block in reversed(blocks)],
        "cross_attention_dim": sum(_WIDTHS[family]),
        "attention_head_dim": heads,
        "use_linear_projection": family != "sd1",
        **(_XL_CONFIG if family == "xl" else {}),
    }


# six numbers of time, each 8 wide, and pooled states of 24
_XL_CONFIG = {
    "transformer_layers_per_block": (1, 2),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 24,
}


def _scheduler(family: str) -> Any:
    """What these models are published with."""
    import diffusers

    if family == "sd1":
        return diffusers.PNDMScheduler(**SCHEDULE, skip_prk_steps=True)
    if family == "xl":
        return diffusers.EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="leading")
    options = {"prediction_type": "v_prediction", "set_alpha_to_one": False}
    return diffusers.DDIMScheduler(**SCHEDULE, **options, clip_sample=False)


def _text_encoders(family: str, tokenizer: Any) -> list[nn.Module]:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def config(width: int) -> CLIPTextConfig:
        return CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=width,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=TOKENS,
            # the originals by OpenAI have the quick one, those of OpenCLIP the exact
            hidden_act="quick_gelu" if width == 16 else "gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )

    kinds = CLIPTextModel, CLIPTextModelWithProjection
    return [kind(config(w)) for kind, w in zip(kinds, _WIDTHS[family], strict=False)]
