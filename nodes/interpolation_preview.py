"""The node that shows any pictures as one sequence behind a slider."""

from __future__ import annotations

import comfy.utils
from comfy_api.latest import io
from torch import Tensor

from ..diffusion_interpolation.method.frame_info import evenly_spaced
from .common.images import to_rgb
from .common.inputs import found_by
from .common.types import CATEGORY
from .preview.files import FrameFiles, lost_runs


class InterpolationPreview(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="InterpolationPreview",
            display_name="Interpolation Preview",
            category=CATEGORY,
            description="Shows any frames in a slider. When you drag the slider, one picture "
            "becomes the other.",
            **found_by("slider", "flip through frames", "morph"),
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="The frames in order, as a batch or as a list of pictures or batches. "
                    "They need not have the same size.",
                ),
            ],
            is_input_list=True,
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> int:
        return lost_runs()

    @classmethod
    def execute(cls, images: list[Tensor]) -> io.NodeOutput:
        """`images` are batches `(n, h, w, c)`."""
        pictures = [picture for batch in images for picture in to_rgb("images", batch)]
        if not pictures:
            raise ValueError("images: got none, needs at least 1")
        # it also looks whether the run was cancelled
        bar = comfy.utils.ProgressBar(len(pictures))
        frames = evenly_spaced(len(pictures))
        with FrameFiles(frames, cls.hidden) as files:
            for info, picture in zip(frames, pictures, strict=True):
                bar.update_absolute(info.index)
                files.add(info, picture)
            bar.update_absolute(len(pictures))
        return io.NodeOutput(ui=files.ui())
