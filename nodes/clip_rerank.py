"""The node that keeps the best of several candidates (method, step 6)."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..diffusion_interpolation.scoring.contract import Scorer
from .common.images import to_rgb
from .common.types import CATEGORY, Reranker


class CLIPRerank(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CLIPRerank",
            display_name="CLIP Rerank",
            category=CATEGORY,
            description="Scores pictures by how much more they look like the reranker's positive "
            "prompt than like its negative prompt, and keeps the pictures with the best scores.",
            inputs=[
                io.Image.Input("images", tooltip="The candidates as one batch."),
                Reranker.Input(
                    "reranker",
                    tooltip="What gives each picture its score. It comes from Load Reranker, "
                    "Reranker From CLIP or Puppet Demo.",
                ),
                io.Int.Input(
                    "keep",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="How many pictures to keep, the best first. A number above the number "
                    "of pictures keeps all of them.",
                ),
                io.Latent.Input(
                    "latents",
                    optional=True,
                    tooltip="The latents of the candidates. The node then also gives the latents "
                    "of the pictures that it keeps.",
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, images: Tensor, reranker: Scorer, keep: int, latents: dict[str, Any] | None = None
    ) -> io.NodeOutput:
        if latents is not None and len(latents["samples"]) != len(images):
            raise ValueError(
                f"latents: got {len(latents['samples'])} for {len(images)} images, needs as many"
            )
        scores = reranker(to_rgb("images", images)).cpu()
        if not scores.isfinite().all():
            raise FloatingPointError("reranker: it gave scores that are not finite")
        order = scores.argsort(descending=True, stable=True)
        best = order[:keep].to(images.device)
        lines = "\n".join(f"candidate {i}: {scores[i]:+.4f}" for i in order.tolist())
        return io.NodeOutput(images[best], _chosen(latents, best), lines, ui={"text": (lines,)})


def _chosen(latents: dict[str, Any] | None, best: Tensor) -> Any:
    """The same ones of everything that has a row for each candidate."""
    if latents is None:
        return ExecutionBlocker("CLIPRerank has no latents to give: connect its input latents")
    count = len(latents["samples"])
    chosen = dict(latents)
    for key, value in latents.items():
        if isinstance(value, Tensor) and len(value) == count:
            chosen[key] = value[best.to(value.device)]
        elif isinstance(value, list) and len(value) == count:
            chosen[key] = [value[i] for i in best.tolist()]
    return chosen


def _outputs() -> list[io.Output]:
    return [
        io.Image.Output(
            "best_images",
            display_name="images",
            tooltip="The kept pictures, the best first.",
        ),
        io.Latent.Output(
            "best_latents",
            display_name="latents",
            tooltip="The latents of the kept pictures, if the input latents is connected.",
        ),
        io.String.Output(
            "scores",
            display_name="scores",
            tooltip="One line for each candidate, the best first. Preview as Text shows the lines.",
        ),
    ]
