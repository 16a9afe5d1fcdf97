"""The node that mends colours of frames that stray from those of the keyframes."""

from __future__ import annotations

import comfy.model_management
from comfy_api.latest import io
from torch import Tensor

from ..diffusion_interpolation.method.colours.tracing import match_colours, read_places
from ..diffusion_interpolation.method.matching.correspondence import Correspondence
from .common.images import to_rgb
from .common.inputs import found_by
from .common.types import CATEGORY, CorrespondenceType


class MatchColors(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MatchColors",
            display_name="Match Colors",
            category=CATEGORY,
            description="Mends the colours of frames that stray from the way between two "
            "keyframes. Things are followed from frame to frame, or along a correspondence of the "
            "keyframes, and what cannot be followed stays as it is.",
            **found_by("color match", "color transfer", "deflicker", "drift"),
            inputs=_inputs(),
            outputs=[
                io.Image.Output(
                    "matched",
                    display_name="frames",
                    tooltip="The same frames with mended colours. The keyframes are unchanged.",
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        frames: Tensor,
        strength: float,
        keyframes: str = "",
        correspondence: list[Correspondence] | None = None,
    ) -> io.NodeOutput:
        pictures, device = to_rgb("frames", frames), comfy.model_management.get_torch_device()
        places = read_places(keyframes, len(pictures))
        made = match_colours(pictures, places, strength, device, correspondence)
        return io.NodeOutput(made.movedim(1, -1))


def _inputs() -> list[io.Input]:
    return [
        io.Image.Input(
            "frames",
            tooltip="The frames in order as one batch, the keyframes included: from Frame "
            "Bisector, or of any video.",
        ),
        io.Float.Input(
            "strength",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            tooltip="How much of each correction is applied. At 1 all of it. At 0 the "
            "frames stay as they are.",
        ),
        io.String.Input(
            "keyframes",
            default="",
            optional=True,
            tooltip="The numbers of the frames whose colours are right, counted from 0: 0, 16, 32. "
            "Frames before the first of them stay as they are, and so do frames after the "
            "last, unless the correspondence is that of a loop. Leave it empty where these are "
            "the first and the last frame.",
        ),
        CorrespondenceType.Input(
            "correspondence",
            optional=True,
            tooltip="What is where in neighbouring keyframes, from Match Keyframes. Use it for "
            "drawings; photographs are mended more without it. A thing that is in both "
            "keyframes then takes the mix of its two colours, and a thing that is in one "
            "keyframe only is left as it is in the frame. Without a correspondence, or where "
            "it has too few points, things are followed from frame to frame, and each takes "
            "the mix of its colours at both ends.",
        ),
    ]
