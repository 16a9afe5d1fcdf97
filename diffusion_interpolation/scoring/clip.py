"""CLIP models as image encoders, and as scorers by prompts (method, step 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from ..extras import OPEN_CLIP, require
from ..models.memory import Batches
from ..resize import resize
from .contract import EmbeddingScorer

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MAX_PIXELS = 8 * 1024 * 1024
"""Pixels of the pictures that CLIP is given at once: 96 MiB, and as much again to resize them."""


@dataclass(frozen=True)
class ClipPair:
    """A CLIP model as two functions to unit vectors.

    One takes pictures `(n, 3, h, w)` in 0..1, the other a list of texts. Both run where the weights
    of `network` are, which may be moved; None where it is not ours to move.
    """

    embed_pictures: Callable[[Tensor], Tensor]
    embed_texts: Callable[[list[str]], Tensor]
    network: nn.Module | None = None

    def scorer(self, positives: list[str], negative: str) -> EmbeddingScorer:
        """`cos(clip(picture), clip(positive)) - cos(clip(picture), clip(negative))` (the paper's).

        With several positive prompts, the mean of their cosines.
        """
        *towards, away = self.embed_texts([*positives, negative])
        direction = torch.stack(towards).mean(0) - away
        return EmbeddingScorer(
            lambda pictures: _in_batches(self.embed_pictures, pictures),
            lambda seen: seen @ direction.to(seen),
        )


def _in_batches(embed: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """The embeddings of all `pictures`, in batches of about `MAX_PIXELS` that fit in memory.

    CLIP sees small pictures, but it is the whole ones that are moved to its device and resized.
    """
    size = max(1, MAX_PIXELS // (pictures.shape[2] * pictures.shape[3]))
    return Batches(size).run(lambda rows: embed(pictures[rows]), len(pictures))


def normalise(
    pictures: Tensor,
    size: int,
    mean: tuple[float, ...] = CLIP_MEAN,
    std: tuple[float, ...] = CLIP_STD,
) -> Tensor:
    """Pictures `(n, 3, h, w)` in 0..1 as CLIP was trained on them, `(n, 3, size, size)`.

    The shorter side is resized (bicubic) to `size`, the middle cut out, mean and standard
    deviation are taken off.
    """
    height, width = pictures.shape[2:]
    if (height, width) != (size, size):
        wanted = (size * height // min(height, width), size * width // min(height, width))
        pictures = resize(pictures, wanted, "bicubic").clamp(0, 1)
    top, left = (round((side - size) / 2) for side in pictures.shape[2:])
    middle = pictures[:, :, top : top + size, left : left + size]
    shift, scale = (torch.tensor(v).to(middle)[:, None, None] for v in (mean, std))
    return (middle - shift) / scale


def open_clip_pair(name: str, weights: Path, device: torch.device | str = "cpu") -> ClipPair:
    """A CLIP of open-clip's architecture `name` with `weights` from a local safetensors file.

    Weights trained by OpenAI need a `-quickgelu` name. Raises `ValueError` for an unknown name, a
    missing file, a file that is not this CLIP, and where open-clip is not installed.
    """
    require("reranker", OPEN_CLIP)
    import open_clip

    weights = Path(weights)
    if weights.suffix != ".safetensors" or not weights.is_file():
        raise ValueError(
            f"reranker: got {weights}, needs an existing .safetensors file of a CLIP model"
        )
    if name not in open_clip.list_models():
        raise ValueError(
            f"reranker: got the architecture {name!r}, needs one of open-clip's, such as ViT-L-14"
        )
    try:
        model, _, _ = open_clip.create_model_and_transforms(
            name, pretrained=str(weights), device=device
        )
    except (RuntimeError, KeyError, ValueError, AssertionError, SafetensorError) as error:
        raise _no_clip(weights, f"a {name} CLIP of open-clip", error) from error
    _check_finite(weights, model)
    tokenizer, visual = open_clip.get_tokenizer(name), model.visual
    size = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size

    @torch.no_grad()
    def embed_pictures(pictures: Tensor) -> Tensor:
        pictures = pictures.float().to(_place(model))
        pixels = normalise(pictures, size, visual.image_mean, visual.image_std)
        return model.encode_image(pixels, normalize=True)

    @torch.no_grad()
    def embed_texts(texts: list[str]) -> Tensor:
        _check_lengths([len(tokenizer.encode(text)) + 2 for text in texts], model.context_length)
        return model.encode_text(tokenizer(texts).to(_place(model)), normalize=True)

    return ClipPair(embed_pictures, embed_texts, model)


def transformers_pair(
    folder: Path, device: torch.device | str = "cpu", tokenizer_folder: Path | None = None
) -> ClipPair:
    """A CLIP in a local folder as transformers saves it: safetensors, config and tokenizer.

    The tokenizer may lie in `tokenizer_folder` instead. Raises `ValueError` where the folder holds
    no CLIP, or not all of it.
    """
    from transformers import CLIPModel, CLIPTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    options = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    try:
        model, report = CLIPModel.from_pretrained(folder, **options)
        # "fast" in version 4 of transformers, where the other one reads no tokenizer.json
        place = tokenizer_folder or folder
        tokenizer = CLIPTokenizerFast.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _no_clip(folder, "a folder with a CLIP of transformers", error) from error
    if report["missing_keys"]:
        raise ValueError(f"reranker: {folder} lacks the weights {min(report['missing_keys'])}")
    _check_finite(folder, model.float().to(device))
    size, length = (
        model.config.vision_config.image_size,
        model.config.text_config.max_position_embeddings,
    )

    @torch.no_grad()
    def embed_pictures(pictures: Tensor) -> Tensor:
        pixels = normalise(pictures.float().to(_place(model)), size)
        return _unit(model.get_image_features(pixel_values=pixels))

    @torch.no_grad()
    def embed_texts(texts: list[str]) -> Tensor:
        _check_lengths([len(ids) for ids in tokenizer(texts, verbose=False).input_ids], length)
        tokens = tokenizer(texts, padding="max_length", max_length=length, return_tensors="pt")
        return _unit(model.get_text_features(tokens.input_ids.to(_place(model))))

    return ClipPair(embed_pictures, embed_texts, model)


READERS: dict[str, Callable[[Path, str, torch.device | str], ClipPair]] = {
    "folder": lambda place, _, device: transformers_pair(place, device),
    "file": lambda place, architecture, device: open_clip_pair(architecture, place, device),
}
"""What reads a CLIP from a place on this machine, by the kind of the place."""


def load_pair(place: Path, architecture: str, device: torch.device | str = "cpu") -> ClipPair:
    """Return the CLIP in a folder of transformers, or in a file of open-clip's `architecture`."""
    return READERS["folder" if place.is_dir() else "file"](place, architecture, device)


def _place(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _unit(features: Any) -> Tensor:
    """Unit vectors; since version 5 transformers wraps features in an object."""
    return F.normalize(getattr(features, "pooler_output", features), dim=-1)


def _no_clip(place: Path, wanted: str, error: Exception) -> ValueError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return ValueError(f"reranker: {place} is not {wanted} ({reason})")


def _check_finite(place: Path, model: nn.Module) -> None:
    model.eval().requires_grad_(False)
    for key, weights in model.named_parameters():
        if not weights.isfinite().all():
            raise ValueError(f"reranker: {place}, {key} holds NaN or infinity")


def _check_lengths(lengths: list[int], limit: int) -> None:
    if max(lengths) > limit:
        raise ValueError(f"rerank prompt: has {max(lengths)} tokens, CLIP reads at most {limit}")
