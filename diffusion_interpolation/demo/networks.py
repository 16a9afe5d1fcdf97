"""The networks of the demo: a Stable Diffusion in miniature, a CLIP pair, and a reader.

All but the reader are the ordinary classes of diffusers and transformers with small configurations,
so that the weights load wherever Stable Diffusion weights load. Pictures are 64 x 64, latents `(n,
4, 16, 16)`.
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
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTokenizer

SIZE = 64
TOKENS = 24
# Stable Diffusion 1's; the autoencoder is made to fit it, not the reverse
LATENT_SCALE = 0.18215
START, END = "<|startoftext|>", "<|endoftext|>"


def autoencoder() -> AutoencoderKL:
    """A KL autoencoder that shrinks pictures four times."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=(32, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=LATENT_SCALE,
    )


def unet() -> UNet2DConditionModel:
    """The denoiser, predicting v, with cross-attention to the caption at 8 x 8 and 4 x 4."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIZE // 4,
        block_out_channels=(64, 128, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
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


def clip(vocabulary: int) -> CLIPModel:
    """A CLIP pair: the text tower conditions the denoiser, both together rank pictures."""
    from transformers import CLIPConfig, CLIPModel

    shared = {
        "hidden_size": 128,
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
    vision = {**shared, "num_hidden_layers": 4, "image_size": SIZE, "patch_size": 8}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def write_tokenizer(corpus: Iterable[str], folder: Path) -> None:
    """Write a byte-level vocabulary in which every word of `corpus` is one token, as CLIP does."""
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

    From pictures `(n, 3, 64, 64)` in 0..1 to `(n, len(world.NUMBERS))`.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (32, 64, 96, 128)
        layers: list[nn.Module] = []
        for before, after in zip((3, *widths[:-1]), widths, strict=True):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
            layers += [nn.Conv2d(after, after, 3, 1, 1), nn.GroupNorm(8, after), nn.SiLU()]
        self.picture = nn.Sequential(*layers, nn.Flatten())
        self.numbers = nn.Sequential(
            nn.Linear(128 * 16, 256), nn.SiLU(), nn.Linear(256, len(world.NUMBERS))
        )
        middle, spread = _typical_numbers()
        self.register_buffer("middle", middle)
        self.register_buffer("spread", spread)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.middle + self.spread * self.numbers(self.picture(pictures * 2 - 1))


def _typical_numbers() -> tuple[Tensor, Tensor]:
    puppets = world.sample(4096, torch.Generator().manual_seed(0))
    return puppets.mean(0), puppets.std(0)
