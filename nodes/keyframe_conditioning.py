"""The node that gives every keyframe a prompt of its own."""

from __future__ import annotations

import logging
import math

from comfy_api.latest import io
from torch import Tensor

from ..diffusion_interpolation.models.contract import PromptEmbeddings, stack
from .comfy.conditioning import (
    Conditioning,
    differences,
    read_conditioning,
    write_conditioning,
)
from .types import CATEGORY

MAX_REPEATS = 4
CLIP_CHUNK = 77
"""Tokens that CLIP reads at once; longer prompts have several such chunks."""
WIDTH_OF_XL = 2048

log = logging.getLogger(__name__)


class KeyframeConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KeyframeConditioning",
            display_name="Keyframe Conditioning",
            category=CATEGORY,
            description="Joins prompts so that each keyframe has its own prompt. The prompts of "
            "first come before those of second. For more than two keyframes, connect several of "
            "these nodes in a row.",
            inputs=[
                io.Conditioning.Input("first", tooltip="The prompts of the earlier keyframes."),
                io.Conditioning.Input(
                    "second", tooltip="The prompts of the keyframes after those of first."
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    "conditioning",
                    display_name="conditioning",
                    tooltip="One conditioning with a row for each keyframe.",
                )
            ],
        )

    @classmethod
    def execute(cls, first: Conditioning, second: Conditioning) -> io.NodeOutput:
        texts, rests = zip(
            read_conditioning("first", first), read_conditioning("second", second), strict=True
        )
        _check_alike(*texts)
        length = _common_length(*texts)
        alike = [
            PromptEmbeddings(_repeated(text.embeddings, length), text.pooled) for text in texts
        ]
        shown = {}
        if differing := differences(*rests):
            warning = (
                f"The prompts differ in {', '.join(differing)} as well; "
                "for every keyframe this is as in first, and what second has is not used."
            )
            log.warning("KeyframeConditioning: %s", warning)
            shown = {"text": (warning,)}
        return io.NodeOutput(write_conditioning(stack(alike), rests[0]), ui=shown or None)


def _common_length(first: PromptEmbeddings, second: PromptEmbeddings) -> int:
    """The number of tokens to which both prompts are repeated.

    Cross-attention sees no difference between tokens and their repetition. In joint attention
    tokens take part in the softmax of the picture, so that a repetition counts double.
    """
    lengths = first.embeddings.shape[1], second.embeddings.shape[1]
    if lengths[0] == lengths[1]:
        return lengths[0]
    if not all(map(_is_for_cross_attention, (first, second))):
        raise ValueError(
            f"second: got {lengths[1]} tokens, first {lengths[0]}; this kind of model needs the "
            "same number of tokens in both, so add words to the shorter prompt or take some away "
            "from the longer one"
        )
    length = math.lcm(*lengths)
    if length > MAX_REPEATS * min(lengths):
        raise ValueError(
            f"second: got {lengths[1]} tokens, first {lengths[0]}; both would be repeated to "
            f"{length} tokens, but at most {MAX_REPEATS * min(lengths)} are allowed, so shorten "
            "the longer prompt"
        )
    return length


def _is_for_cross_attention(text: PromptEmbeddings) -> bool:
    """Whether only CLIP can have made the tokens, as for Stable Diffusion 1, 2 and XL.

    CLIP fills whole chunks. States of XL are as wide as those of some language models, which have
    no pooled output, and all other models with joint attention have wider states.
    """
    _, tokens, width = text.embeddings.shape
    narrow = width < WIDTH_OF_XL or (width == WIDTH_OF_XL and text.pooled is not None)
    return narrow and tokens % CLIP_CHUNK == 0


def _repeated(states: Tensor, length: int) -> Tensor:
    return states.repeat(1, length // states.shape[1], 1)


def _check_alike(first: PromptEmbeddings, second: PromptEmbeddings) -> None:
    got, want = _kind(second), _kind(first)
    if got != want:
        raise ValueError(
            f"second: got text of {got}, first of {want}; both must come from the "
            "text encoder of one model"
        )


def _kind(text: PromptEmbeddings) -> str:
    pooled = "no" if text.pooled is None else f"{text.pooled.shape[-1]} wide"
    return f"width {text.embeddings.shape[-1]} with {pooled} pooled output"
