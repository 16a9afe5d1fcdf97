"""Nodes that make inputs of less common kinds, as other packs do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

_CATEGORY = "interpolation tests"


class TestChannels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestChannels",
            category=_CATEGORY,
            description="Grey pictures of so many channels: grey, grey and alpha, RGB, RGB and "
            "alpha, or more, which no picture has.",
            inputs=[io.Image.Input("images"), io.Int.Input("channels", min=1, max=8)],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, channels: int) -> io.NodeOutput:
        grey = images[..., :3].mean(-1, keepdim=True)
        colours = grey.repeat(1, 1, 1, channels if channels % 2 else channels - 1)
        alpha = torch.full_like(grey, 0.5)
        return io.NodeOutput(colours if channels % 2 else torch.cat([colours, alpha], -1))


class TestScorer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestScorer",
            category=_CATEGORY,
            description="A reranker that is a function from pictures to numbers: how dark they "
            "are.",
            inputs=[],
            outputs=[io.Custom("RERANKER").Output()],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(lambda pictures: -pictures.mean((1, 2, 3)))


class TestExtras(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestExtras",
            category=_CATEGORY,
            description="Puts into a prompt what the text encoders of HiDream and others put there "
            "beside the states, and something that no file can hold.",
            inputs=[io.Conditioning.Input("conditioning")],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, conditioning: Any) -> io.NodeOutput:
        extras = {
            "conditioning_llama3": torch.arange(24.0, dtype=torch.float16).reshape(1, 3, 4, 2),
            "t5xxl_ids": torch.arange(5, dtype=torch.int32),
            "reference_latents": [torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2)],
            "guidance": 3.5,
            "control": object(),
        }
        return io.NodeOutput([[states, {**rest, **extras}] for states, rest in conditioning])


class TestArrays(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestArrays",
            category=_CATEGORY,
            description="Puts into a prompt, and into what is saved beside pictures, things of "
            "packs that have no plain answer to `==`, or no JSON.",
            inputs=[io.Conditioning.Input("conditioning"), io.Float.Input("number")],
            outputs=[io.Conditioning.Output()],
            hidden=[io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(cls, conditioning: Any, number: float) -> io.NodeOutput:
        array = np.full(3, number)
        if isinstance(cls.hidden.extra_pnginfo, dict):
            cls.hidden.extra_pnginfo["seen"] = array
        held = {"embeds": array, "settings": Settings(torch.full((2,), number))}
        return io.NodeOutput([[states, {**rest, **held}] for states, rest in conditioning])


@dataclass
class Settings:
    weights: torch.Tensor


class TestSigmas(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestSigmas",
            category=_CATEGORY,
            description="Sigmas as they are typed, with a comma between.",
            inputs=[io.String.Input("numbers")],
            outputs=[io.Sigmas.Output()],
        )

    @classmethod
    def execute(cls, numbers: str) -> io.NodeOutput:
        return io.NodeOutput(torch.tensor([float(number) for number in numbers.split(",")]))


class TestOddLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestOddLatent",
            category=_CATEGORY,
            description="No latents, or on newer hosts those of a picture with sound.",
            inputs=[io.Combo.Input("what", options=["empty", "parts"])],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, what: str) -> io.NodeOutput:
        if what == "empty":
            return io.NodeOutput({"samples": torch.zeros(0, 4, 8, 8)})
        from comfy.nested_tensor import NestedTensor

        parts = torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8)
        return io.NodeOutput({"samples": NestedTensor(parts)})


class TestExtra(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestExtra",
            category=_CATEGORY,
            description="What a prompt holds under a key, as text with types and shapes.",
            inputs=[io.Conditioning.Input("conditioning"), io.String.Input("key")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, conditioning: Any, key: str) -> io.NodeOutput:
        return io.NodeOutput(ui={"text": (_said(conditioning[0][1].get(key)),)})


def _said(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {value.tolist()}"
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return repr(value)


class TestClipFolder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestClipFolder",
            category=_CATEGORY,
            description="Tells open-clip of the architectures in a folder, and gives the name of "
            "one.",
            inputs=[io.String.Input("folder"), io.String.Input("name")],
            outputs=[io.AnyType.Output()],
        )

    @classmethod
    def execute(cls, folder: str, name: str) -> io.NodeOutput:
        import open_clip

        open_clip.add_model_config(folder)
        return io.NodeOutput(name)


NODES = [
    TestChannels,
    TestScorer,
    TestExtras,
    TestArrays,
    TestSigmas,
    TestOddLatent,
    TestExtra,
    TestClipFolder,
]
