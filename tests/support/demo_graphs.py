"""Prompts of ComfyUI's API around the embedded demo, for tests against a real host."""

from __future__ import annotations

from typing import Any

from comfy_host import Graph, Node, Run, Server
from torch import Tensor

from diffusion_interpolation.demo import world
from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.demo.pair import pair
from diffusion_interpolation.poses.format import write_poses

POSITIVE, NEGATIVE = "a puppet", "a double exposure"
SMALL = 64
"""Pixels of a side of the pictures that most tests make."""
BISECTOR = {
    "preset": "custom",
    "frames_per_gap": 3,
    "loop": False,
    "max_denoise": 0.55,
    "min_denoise": 0.30,
    "denoise_curve": "linear",
    "candidates": 2,
    "scheduler": "ddim_uniform",
    "steps": 6,
    "sampler_name": "euler",
    "cfg": 4.0,
    "blend": "lerp",
    "seed": 0,
}
INVERT = {
    "steps": 4,
    "learning_rate": 0.25,
    "cfg": 4.0,
    "min_denoise": 0.33,
    "max_denoise": 0.67,
    "seed": 0,
    "draws": 2,
    "augmentations": 0,
}


class Demo:
    """The loader of the demo and its two prompts in a graph, with keyframes of `side` pixels.

    The networks take pictures that are smaller than their own, and draw them in a fourth of the
    time.
    """

    def __init__(self, graph: Graph, network: str = "unet", side: int = SMALL) -> None:
        self.graph = graph
        self.node = graph.add("PuppetDemo", positive=POSITIVE, negative=NEGATIVE, network=network)
        self.model, self.clip, self.vae = (self.node[i] for i in range(3))
        self.control_net, self.reranker = self.node[3], self.node[4]
        self.keyframes, self.poses = self.node[5], self.node[6]
        if side != SIZE:
            scaled = {"upscale_method": "area", "crop": "disabled", "width": side, "height": side}
            self.keyframes = graph.add("ImageScale", image=self.node[5], **scaled)[0]
        self.positive, self.negative = (
            graph.add("CLIPTextEncode", clip=self.clip, text=text)[0]
            for text in (POSITIVE, NEGATIVE)
        )

    def _sources(self) -> dict[str, Any]:
        """What both whole-path nodes take."""
        names = ("model", "vae", "keyframes", "positive", "negative")
        return {name: getattr(self, name) for name in names}

    def bisector(self, **changes: Any) -> Node:
        """A FrameBisector with reranker and poses; None leaves an input out."""
        inputs = {
            **self._sources(),
            "reranker": self.reranker,
            "control_net": self.control_net,
            "poses": self.poses,
            **BISECTOR,
            **changes,
        }
        return self.graph.add("FrameBisector", **_given(inputs))

    def invert(self, **changes: Any) -> Node:
        """A TextualInvert."""
        inputs = {**self._sources(), **INVERT, **changes}
        return self.graph.add("TextualInvert", **_given(inputs))

    def lerp(self, latents: list[str | int], **changes: Any) -> Node:
        """A NoisyLatentLerp half-way, at the bisector's highest level."""
        inputs = {
            "model": self.model,
            "latents": latents,
            "position": 0.5,
            "denoise": BISECTOR["max_denoise"],
            **{key: BISECTOR[key] for key in ("scheduler", "steps", "blend", "seed")},
            "candidates": 2,
            **changes,
        }
        return self.graph.add("NoisyLatentLerp", **inputs)

    def denoise(self, noisy: Node, **changes: Any) -> Node:
        """A ConditionedDenoise of what NoisyLatentLerp made."""
        inputs = {
            "model": self.model,
            "noisy_latent": noisy[0],
            "sigmas": noisy[1],
            "sampler": self.graph.add("KSamplerSelect", sampler_name="euler")[0],
            "positive": self.positive,
            "negative": self.negative,
            "cfg": BISECTOR["cfg"],
            "position": noisy[2],
            "seed": BISECTOR["seed"],
            "control_net": self.control_net,
            "poses": self.poses,
            **changes,
        }
        return self.graph.add("ConditionedDenoise", **_given(inputs))

    def scores(self, server: Server, reranker: list[str | int]) -> dict[int, float]:
        """Run the graph with a CLIPRerank of the keyframes; their scores by number."""
        best = self.graph.add("CLIPRerank", images=self.keyframes, reranker=reranker, keep=1)
        run, _ = run_with(server, self.graph, best=best[0])
        lines = run.outputs[best.id]["text"][0].splitlines()
        return {int(line.split()[1].strip(":")): float(line.split()[-1]) for line in lines}


def run_with(server: Server, graph: Graph, **outputs: list) -> tuple[Run, dict[str, Tensor]]:
    """Run `graph`, and give what its `outputs` are, exactly; nothing may go wrong."""
    for name, link in outputs.items():
        graph.add("TestTensor", any=link, name=name)
    run = server.run(graph.prompt)
    assert not run.node_errors
    assert run.error is None, run.error["exception_message"]
    return run, {name: server.tensor(name) for name in outputs}


def tensors(server: Server, graph: Graph, **outputs: list) -> dict[str, Tensor]:
    """As `run_with`, without the run."""
    return run_with(server, graph, **outputs)[1]


def demo_poses() -> list[dict[str, Any]]:
    """The poses of the demo's two puppets as POSE_KEYPOINT."""
    return write_poses(world.poses(pair(), SIZE), (SIZE, SIZE))


def _given(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if value is not None}
