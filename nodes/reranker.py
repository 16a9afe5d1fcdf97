"""The nodes that make a reranker: from a CLIP file, or from the host's own CLIP models."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import comfy.model_management as memory
import folder_paths
import torch
from comfy_api.latest import io
from torch import Tensor
from torch.nn import functional as F

from ..diffusion_interpolation.scoring.clip import ClipPair, open_clip_pair
from ..diffusion_interpolation.scoring.contract import EmbeddingScorer
from .common.model_files import file_state, loadable
from .common.types import CATEGORY, Reranker
from .networks.hosted import hosted

FOLDER = "rerankers"
ARCHITECTURES = (
    "ViT-L-14-quickgelu",
    "ViT-L-14",
    "ViT-L-14-336-quickgelu",
    "ViT-B-16-quickgelu",
    "ViT-B-16",
    "ViT-B-32-quickgelu",
    "ViT-B-32",
    "ViT-H-14",
    "ViT-H-14-quickgelu",
    "ViT-g-14",
    "ViT-bigG-14",
    "EVA02-L-14",
    "RN50-quickgelu",
)

folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


def prompt_inputs(
    positive: str = "high quality, detailed",
    negative: str = "blurry, distorted, double exposure",
) -> list[io.Input]:
    """What to rank by, with defaults."""
    return [
        io.String.Input(
            "positive",
            multiline=True,
            default=positive,
            placeholder="positive",
            tooltip="What the chosen frames should look like. Each line is a prompt, and all lines "
            "have equal weight.",
        ),
        io.String.Input(
            "negative",
            multiline=True,
            default=negative,
            placeholder="negative",
            tooltip="What the chosen frames should not look like. All lines together are one "
            "prompt.",
        ),
    ]


def reranker_output() -> io.Output:
    return Reranker.Output(
        "reranker",
        display_name="reranker",
        tooltip="The reranker, for CLIP Rerank, Frame Bisector and Path Metrics.",
    )


class LoadReranker(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadReranker",
            display_name="Load Reranker",
            category=CATEGORY,
            description="Loads a CLIP of open-clip, which chooses among candidates, from a "
            f".safetensors file in models/{FOLDER}.",
            inputs=[
                io.Combo.Input(
                    "clip_file",
                    options=loadable(FOLDER),
                    tooltip=f"A CLIP of open-clip, as a .safetensors file in models/{FOLDER}. "
                    "Press R to list a new file.",
                ),
                io.Combo.Input(
                    "architecture",
                    options=list(ARCHITECTURES),
                    default=ARCHITECTURES[0],
                    tooltip="The architecture of the model in the file. Weights trained by OpenAI "
                    "need a name with -quickgelu.",
                ),
                *prompt_inputs(),
            ],
            outputs=[reranker_output()],
        )

    @classmethod
    def fingerprint_inputs(cls, clip_file: str | None, **_: object) -> str:
        return file_state(FOLDER, clip_file)

    @classmethod
    def execute(
        cls, clip_file: str, architecture: str, positive: str, negative: str
    ) -> io.NodeOutput:
        file = folder_paths.get_full_path_or_raise(FOLDER, clip_file)
        pair = _loaded(architecture, Path(file), file_state(FOLDER, clip_file))
        return io.NodeOutput(pair_scorer(pair, positive, negative))


class RerankerFromCLIP(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RerankerFromCLIP",
            display_name="Reranker From CLIP",
            category=CATEGORY,
            description="Makes a reranker from a CLIP and a CLIP Vision that ComfyUI has loaded. "
            "Both must be halves of the same CLIP. The text half must have its projection, which "
            "the usual clip_l.safetensors lacks.",
            inputs=[
                io.Clip.Input(
                    "clip", tooltip="The text half, with its projection, from a full CLIP file."
                ),
                io.ClipVision.Input("clip_vision", tooltip="The vision half of the same CLIP."),
                *prompt_inputs(),
            ],
            outputs=[reranker_output()],
        )

    @classmethod
    def execute(cls, clip: Any, clip_vision: Any, positive: str, negative: str) -> io.NodeOutput:
        pair = ClipPair(
            lambda pictures: F.normalize(_vision(clip_vision, pictures), dim=-1),
            lambda texts: _embed_texts(clip, clip_vision, texts),
        )
        scorer = pair_scorer(pair, positive, negative)
        return io.NodeOutput(replace(scorer, depends_on=clip_vision))


@lru_cache(maxsize=1)
def _loaded(architecture: str, file: Path, state: str) -> ClipPair:
    """`state`, that of the file, makes a replaced one be read again."""
    return hosted_pair(open_clip_pair(architecture, file))


def hosted_pair(pair: ClipPair) -> ClipPair:
    """`pair` under the host's memory management."""
    device, offload_device = memory.text_encoder_device(), memory.text_encoder_offload_device()
    bring = hosted(pair.network, device, offload_device)

    def embed_pictures(pictures: Tensor) -> Tensor:
        bring()
        return pair.embed_pictures(pictures)

    def embed_texts(texts: list[str]) -> Tensor:
        bring()
        return pair.embed_texts(texts)

    return ClipPair(embed_pictures, embed_texts, pair.network)


def pair_scorer(pair: ClipPair, positive: str, negative: str) -> EmbeddingScorer:
    """A scorer of prompts as a user types them; raises `ValueError` where both are empty."""
    lines = [line.strip() for line in positive.splitlines() if line.strip()]
    if not lines and not negative.strip():
        raise ValueError(
            "positive: got nothing, and nothing in negative, needs a prompt to rank by"
        )
    return pair.scorer(lines or [""], " ".join(negative.split()))


def _vision(clip_vision: Any, pictures: Tensor) -> Tensor:
    return clip_vision.encode_image(pictures.movedim(1, -1))["image_embeds"].float()


def _embed_texts(clip: Any, clip_vision: Any, texts: list[str]) -> Tensor:
    """Projected embeddings by the encoder of `clip` that is as wide as `clip_vision`."""
    width = _vision(clip_vision, torch.zeros(1, 3, 32, 32)).shape[-1]
    name, encoder = _encoder(clip, width)
    clip.load_model()
    encoder.reset_clip_options()
    device = clip.patcher.load_device
    encoder.set_clip_options({"projected_pooled": True, "execution_device": device})
    try:
        pooled = [encoder.encode_token_weights(clip.tokenize(text)[name])[1] for text in texts]
    finally:
        encoder.reset_clip_options()
    return F.normalize(torch.cat(pooled).float(), dim=-1)


def _encoder(clip: Any, width: int) -> tuple[str, Any]:
    """The key of its tokens and the encoder itself."""
    widths = {}
    for name in ("l", "g", "h"):
        encoder = getattr(clip.cond_stage_model, f"clip_{name}", None)
        projection = getattr(getattr(encoder, "transformer", None), "text_projection", None)
        if projection is None:
            continue
        weight = projection.weight
        widths[name] = weight.shape[0]
        if weight.shape[0] == width:
            if not _is_projection(weight):
                raise ValueError(
                    "clip: got a text encoder without its projection (text_projection), "
                    "needs one from a full CLIP file"
                )
            return name, encoder
    raise ValueError(
        f"clip: its text encoders project to {sorted(widths.values()) or 'nothing'}, "
        f"clip_vision gives {width}; it needs both halves of one CLIP"
    )


def _is_projection(weight: Tensor) -> bool:
    """Whether a text projection was in the file: where it was not, anything can be in its place.

    That is zeros, the identity, or whatever the memory held. Trained ones keep the length of what
    they project, about.
    """
    weight = weight.float().cpu()
    width = weight.shape[0]
    gain = weight.std().item() * width**0.5
    return 0.05 < gain < 20 and not torch.equal(weight, torch.eye(width))
