"""Parts of prompts around the tiny random models of tests/host/pack."""

from __future__ import annotations

from typing import Any

from comfy_host import Graph, Node
from demo_graphs import BISECTOR

KINDS = ["sd15", "sd2", "sdxl", "sd3", "flux"]
SAMPLED_KINDS = [*KINDS, "zero snr", "cosxl", "playground"]
"""All ways to sample that the tiny models have."""


class Tiny:
    """A tiny model of a kind, its prompts, and two pictures with their latents."""

    def __init__(self, kind: str) -> None:
        self.graph = graph = Graph()
        self.model, self.clip, self.vae = (
            graph.add("TestCheckpoint", kind=kind, seed=0)[i] for i in range(3)
        )
        self.positive = self.prompt("a red puppet")
        self.negative = self.prompt("a blue dog")
        ends = [
            graph.add("EmptyImage", width=64, height=64, batch_size=1, color=color)[0]
            for color in (0xFF4000, 0x2060FF)
        ]
        self.keyframes = graph.add("ImageBatch", image1=ends[0], image2=ends[1])[0]

    def prompt(self, text: str) -> list:
        return self.graph.add("CLIPTextEncode", clip=self.clip, text=text)[0]

    def bisector(self, **changes: Any) -> Node:
        inputs = {"model": self.model, "vae": self.vae, "keyframes": self.keyframes}
        inputs |= {"positive": self.positive, "negative": self.negative}
        inputs |= {**BISECTOR, "steps": 6, **changes}
        return self.graph.add("FrameBisector", **inputs)

    def lerp(self, **changes: Any) -> Node:
        latents = self.graph.add("VAEEncode", pixels=self.keyframes, vae=self.vae)
        inputs = {"model": self.model, "latents": latents[0], "position": 0.5, "denoise": 0.55}
        inputs |= {"scheduler": "ddim_uniform", "steps": 10, "blend": "slerp", "seed": 0}
        return self.graph.add("NoisyLatentLerp", **{**inputs, "candidates": 2, **changes})


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
