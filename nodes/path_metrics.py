"""The node that says how even a path is, by a perceptual distance (method, "Measures")."""

from __future__ import annotations

import comfy.utils
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..diffusion_interpolation.charts.plot import line_plot
from ..diffusion_interpolation.pictures import to_tensor
from ..diffusion_interpolation.scoring.contract import ImageEncoder, Scorer, encoder_of
from ..diffusion_interpolation.scoring.metrics import PathMeasures, feature_distance, measure_path
from .common.images import to_rgb
from .common.types import CATEGORY, Reranker

_BATCH = 16


class PathMetrics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PathMetrics",
            display_name="Path Metrics",
            category=CATEGORY,
            description="Measures how long and how even a path of frames is, by the distances that "
            "the reranker's CLIP sees between them, and plots these distances.",
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="The frames in order as one batch, the keyframes at both ends "
                    "included.",
                ),
                Reranker.Input(
                    "reranker",
                    tooltip="The reranker whose CLIP compares the frames. Its prompts are not "
                    "used.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "measures",
                    display_name="measures",
                    tooltip="One line for each measure. Preview as Text shows the lines.",
                ),
                io.Image.Output(
                    "plot",
                    display_name="plot",
                    tooltip="A plot of the distance between each frame and the frame before it.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor, reranker: Scorer) -> io.NodeOutput:
        encoder = encoder_of(reranker)
        if encoder is None:
            raise ValueError(
                "reranker: got one that only scores pictures, needs one with an image encoder, "
                "such as a CLIP of Load Reranker"
            )
        seen = _embeddings(encoder, to_rgb("images", images))
        # they are seen already
        measures = measure_path(seen, feature_distance(lambda features: features))
        lines = "\n".join(_lines(measures))
        plot = _plot(measures)
        preview = ui.PreviewImage(plot, cls=cls).as_dict()
        return io.NodeOutput(lines, plot, ui={**preview, "text": (lines,)})


def _embeddings(encoder: ImageEncoder, pictures: Tensor) -> Tensor:
    """What the encoder sees in pictures `(n, 3, h, w)`, in batches, looking for a cancel."""
    bar, parts = comfy.utils.ProgressBar(len(pictures)), []
    for part in pictures.split(_BATCH):
        parts.append(encoder(part).float().cpu())
        bar.update(len(part))
    return torch.cat(parts)


def _lines(measures: PathMeasures) -> list[str]:
    return [
        f"PPL {measures.ppl:.4g}: the length of the path",
        f"rPPD {measures.rppd:.4g}: that length, divided by the distance between the two ends",
        f"PDV {measures.pdv:.4g}: the variance of the steps; it is 0 at constant speed",
        f"step next to the inputs {measures.step_next_to_inputs:.4g}: the larger of the two steps "
        "at the ends, in median steps",
    ]


def _plot(measures: PathMeasures) -> Tensor:
    """As an IMAGE."""
    steps = dict(enumerate(measures.steps.tolist(), start=1))
    return to_tensor([line_plot(steps, "distance from the frame before", "frame")]).movedim(1, -1)
