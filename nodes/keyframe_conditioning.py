"""The node that gives every keyframe a prompt of its own."""

from __future__ import annotations

import logging
import math

from comfy_api.latest import io
from torch import Tensor

from ..diffusion_interpolation.model import Text, stack
from .comfy_model import Conditioning, read_conditioning, write_conditioning
from .types import CATEGORY

MOST_REPEATS = 4

log = logging.getLogger(__name__)


class KeyframeConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KeyframeConditioning",
            display_name="Keyframe Conditioning",
            category=CATEGORY,
            description="Puts prompts in a row, one for each keyframe: a prompt of its own for the "
            "first, the second, and so on. Chain it for more than two.",
            inputs=[
                io.Conditioning.Input("first", tooltip="Prompts of the earlier keyframes."),
                io.Conditioning.Input("second", tooltip="Prompts of the keyframes after those."),
            ],
            outputs=[
                io.Conditioning.Output(
                    "conditioning",
                    display_name="conditioning",
                    tooltip="One entry with a row for each keyframe.",
                )
            ],
        )

    @classmethod
    def execute(cls, first: Conditioning, second: Conditioning) -> io.NodeOutput:
        texts, rests = zip(
            read_conditioning("first", first), read_conditioning("second", second), strict=True
        )
        _check_alike(*texts)
        lost = sorted(set(rests[1]) - set(rests[0]))
        if lost:
            log.warning("KeyframeConditioning: second's %s are left out", ", ".join(lost))
        length = _common_length(*(text.states.shape[1] for text in texts))
        alike = [Text(_repeated(text.states, length), text.pooled) for text in texts]
        return io.NodeOutput(write_conditioning(stack(alike), rests[0]))


def _common_length(first: int, second: int) -> int:
    """Tokens that both are repeated to, as the host does: cross-attention sees no difference."""
    length = math.lcm(first, second)
    if length > MOST_REPEATS * min(first, second):
        raise ValueError(
            f"second: got {second} tokens, first {first}; want prompts of about the same length"
        )
    return length


def _repeated(states: Tensor, length: int) -> Tensor:
    return states.repeat(1, length // states.shape[1], 1)


def _check_alike(first: Text, second: Text) -> None:
    got, want = _kind(second), _kind(first)
    if got != want:
        raise ValueError(
            f"second: got text of {got}, first of {want}; want both from one model's text encoder"
        )


def _kind(text: Text) -> str:
    pooled = "no" if text.pooled is None else f"{text.pooled.shape[-1]} wide"
    return f"width {text.states.shape[-1]} with {pooled} pooled output"
