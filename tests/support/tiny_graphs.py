"""Parts of prompts around the tiny random models of tests/host/pack."""

from __future__ import annotations

from comfy_host import Graph, Node

KINDS = ["sd15", "sd2", "sdxl", "sd3", "flux"]


def sample(graph: Graph, model: list, latent: list, positive: list, negative: list) -> Node:
    return graph.add(
        "KSampler",
        model=model,
        latent_image=latent,
        positive=positive,
        negative=negative,
        seed=1,
        steps=2,
        cfg=2.0,
        sampler_name="euler",
        scheduler="normal",
        denoise=1.0,
    )
