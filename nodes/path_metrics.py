"""The node that says how even a path is, by a perceptual distance (method, "Measures")."""

from __future__ import annotations

import comfy.utils
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..diffusion_interpolation.metrics import PathMeasures, feature_distance, measure_path
from ..diffusion_interpolation.pictures import to_tensor
from ..diffusion_interpolation.plot import line_plot
from ..diffusion_interpolation.rerank import Scorer
from .images import to_rgb
from .types import CATEGORY, Reranker

_BATCH = 16


class PathMetrics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PathMetrics",
            display_name="Path Metrics",
            category=CATEGORY,
            description="Measures how long and how even the way through some frames is, to the "
            "eyes of the reranker's CLIP, and draws the steps between them.",
            inputs=[
                io.Image.Input(
                    "images", tooltip="The frames in order, one batch, with both inputs."
                ),
                Reranker.Input(
                    "reranker",
                    tooltip="Whose CLIP compares the frames; its prompts do not matter here.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "measures",
                    display_name="measures",
                    tooltip="A line for each measure. Preview as Text shows it.",
                ),
                io.Image.Output(
                    "plot",
                    display_name="plot",
                    tooltip="The distance of each frame from the one before.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: Tensor, reranker: Scorer) -> io.NodeOutput:
        seen = _embeddings(reranker, to_rgb("images", images))
        # they are seen already
        measures = measure_path(seen, feature_distance(lambda features: features))
        lines = "\n".join(_lines(measures))
        plot = _plot(measures)
        preview = ui.PreviewImage(plot, cls=cls).as_dict()
        return io.NodeOutput(lines, plot, ui={**preview, "text": (lines,)})


def _embeddings(scorer: Scorer, pictures: Tensor) -> Tensor:
    """What the scorer sees in pictures `(n, 3, h, w)`, in batches, looking for a cancel."""
    bar, parts = comfy.utils.ProgressBar(len(pictures)), []
    for part in pictures.split(_BATCH):
        parts.append(scorer.embed(part).float().cpu())
        bar.update(len(part))
    return torch.cat(parts)


def _lines(measures: PathMeasures) -> list[str]:
    return [
        f"PPL {measures.ppl:.4g}: the length of the way",
        f"rPPD {measures.rppd:.4g}: in straight ways from the first frame to the last",
        f"PDV {measures.pdv:.4g}: variance of the steps; 0 is constant speed",
        f"beside the inputs {measures.beside_inputs:.4g}: the larger step there, in median steps",
    ]


def _plot(measures: PathMeasures) -> Tensor:
    """As an IMAGE."""
    steps = dict(enumerate(measures.steps.tolist(), start=1))
    return to_tensor([line_plot(steps, "distance from the frame before", "frame")]).movedim(1, -1)
