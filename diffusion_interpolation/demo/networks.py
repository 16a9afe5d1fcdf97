"""The networks of the demo: Stable Diffusion and Lumina 2 in miniature, a CLIP pair, and a reader.

All but the reader are the ordinary classes of diffusers and transformers with small configurations,
so that the weights load wherever weights of those families load. Pictures are 128 x 128, latents
`(n, 4, 16, 16)`; both denoisers share the autoencoder and the text tower.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from . import world

if TYPE_CHECKING:
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        FlowMatchEulerDiscreteScheduler,
        Lumina2Transformer2DModel,
        UNet2DConditionModel,
    )
    from transformers import CLIPModel, CLIPTokenizer

SIZE = 128
SHRINK = 8
GRID = SIZE // SHRINK  # height and width of the latents
TOKENS = 32
TEXT_WIDTH = 128
# Stable Diffusion 1's; the autoencoder is made to fit it, not the reverse
LATENT_SCALE = 0.18215
FLOW_SHIFT = 3.0
START, END = "<|startoftext|>", "<|endoftext|>"


def autoencoder() -> AutoencoderKL:
    """A KL autoencoder that shrinks pictures eight times, as Stable Diffusion's does."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(32, 64, 96, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=LATENT_SCALE,
    )


def unet() -> UNet2DConditionModel:
    """The first denoiser, predicting v, with cross-attention to the caption at 8 x 8 and 4 x 4."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=GRID,
        block_out_channels=(64, 128, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
    )


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
        prediction_type="v_prediction",
    )


def transformer() -> Lumina2Transformer2DModel:
    """The second denoiser: Lumina 2's NextDiT, predicting `clean - noise` at time `1 - sigma`."""
    from diffusers import Lumina2Transformer2DModel

    return Lumina2Transformer2DModel(
        sample_size=GRID,
        patch_size=2,
        in_channels=4,
        hidden_size=192,
        num_layers=5,
        num_refiner_layers=1,
        num_attention_heads=6,
        num_kv_heads=6,
        multiple_of=256,
        ffn_dim_multiplier=0.6667,
        axes_dim_rope=(8, 12, 12),
        axes_lens=(80, 64, 64),
        cap_feat_dim=TEXT_WIDTH,
    )


def flow_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The time steps of the flow."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=FLOW_SHIFT)


def clip(vocabulary: int) -> CLIPModel:
    """A CLIP pair: the text tower conditions the denoiser, both together rank pictures."""
    from transformers import CLIPConfig, CLIPModel

    shared = {
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 512,
        "num_attention_heads": 4,
        "projection_dim": 128,
    }
    text = {
        **shared,
        "num_hidden_layers": 3,
        "vocab_size": vocabulary,
        "max_position_embeddings": TOKENS,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }
    vision = {**shared, "num_hidden_layers": 4, "image_size": SIZE, "patch_size": 16}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def write_tokenizer(corpus: Iterable[str], folder: Path) -> None:
    """Train a byte-level BPE vocabulary on texts, and write the files of a `CLIPTokenizer`.

    Each word of a small `corpus` becomes one token, in lower case. `folder` is made if it is
    missing.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Whitespace(),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(corpus, trainer)
    learned = json.loads(bpe.to_str())["model"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [tuple(pair) for pair in learned["merges"]]
    words = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TOKENS, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids `(n, TOKENS)`."""
    return tokenizer(
        texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
    ).input_ids


class Reader(nn.Module):
    """Reads a puppet's numbers off a picture.

    From pictures `(n, 3, 128, 128)` in 0..1 to `(n, len(world.NUMBERS))`.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (24, 48, 80, 112, 112)
        layers: list[nn.Module] = []
        for before, after in zip((3, *widths[:-1]), widths, strict=True):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
            layers += [nn.Conv2d(after, after, 3, 1, 1), nn.GroupNorm(8, after), nn.SiLU()]
        self.picture = nn.Sequential(*layers, nn.Flatten())
        self.numbers = nn.Sequential(
            nn.Linear(widths[-1] * (SIZE // 32) ** 2, 320),
            nn.SiLU(),
            nn.Linear(320, len(world.NUMBERS)),
        )
        middle, spread = _typical_numbers()
        self.register_buffer("middle", middle)
        self.register_buffer("spread", spread)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.middle + self.spread * self.numbers(self.picture(pictures * 2 - 1))


def _typical_numbers() -> tuple[Tensor, Tensor]:
    puppets = world.sample(4096, torch.Generator().manual_seed(0))
    return puppets.mean(0), puppets.std(0)
