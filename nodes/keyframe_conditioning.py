"""The node that gives every keyframe a prompt of its own."""

from __future__ import annotations

import logging

from comfy_api.latest import io

from ..diffusion_interpolation.models.prompts import PromptEmbeddings
from .comfy.conditioning import (
    Conditioning,
    joined,
    read_conditioning,
    unlike,
    write_conditioning,
)
from .common.types import CATEGORY

log = logging.getLogger(__name__)


class KeyframeConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KeyframeConditioning",
            display_name="Keyframe Conditioning",
            category=CATEGORY,
            description="Joins prompts so that each keyframe has its own prompt, of any length. "
            "The prompts of first come before those of second. For more than two keyframes, "
            "connect several of these nodes in a row.",
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
                    tooltip="One conditioning with the prompts of all keyframes.",
                )
            ],
        )

    @classmethod
    def execute(cls, first: Conditioning, second: Conditioning) -> io.NodeOutput:
        earlier, later = read_conditioning("first", first), read_conditioning("second", second)
        _check_alike(earlier.parts[-1], later.parts[0])
        both = joined([*earlier.parts, *later.parts])
        shown = {}
        if reasons := unlike(earlier.parts[-1], later.parts[0]):
            line = (
                f"The prompts of first and second differ in {', '.join(reasons)}, so the frames "
                "between them are predicted under both prompts, which takes longer."
            )
            log.info("KeyframeConditioning: %s", line)
            shown = {"text": (line,)}
        return io.NodeOutput(write_conditioning(both), ui=shown or None)


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
