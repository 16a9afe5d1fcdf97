"""Nodes for tests: tiny random models of the host's own classes, and models that misbehave."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from json import loads
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import ComfyExtension, io
from safetensors.torch import save_file

from . import models, odd_inputs
from .changes import TestChange, TestCopy, TestPressure
from .colors import TestColors
from .disk import TestSlowDisk
from .noise import TestNoise, TestPercent
from .patches import TestFreeMemory, TestOverflow, TestPatch, TestQuantised

_CATEGORY = "interpolation tests"

Apply = Callable[..., torch.Tensor]


class TestCheckpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestCheckpoint",
            category=_CATEGORY,
            description="A tiny model with random weights.",
            inputs=[io.Combo.Input("kind", options=models.KINDS), io.Int.Input("seed", default=0)],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, kind: str, seed: int) -> io.NodeOutput:
        return io.NodeOutput(
            models.model(kind, seed), models.clip(kind, seed), models.vae(kind, seed)
        )


class TestControlNet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestControlNet",
            category=_CATEGORY,
            description="A ControlNet with random weights for a tiny model.",
            inputs=[
                io.Combo.Input("kind", options=models.CONTROLLED_KINDS),
                io.Int.Input("seed", default=0),
            ],
            outputs=[io.ControlNet.Output()],
        )

    @classmethod
    def execute(cls, kind: str, seed: int) -> io.NodeOutput:
        return io.NodeOutput(models.controlnet(kind, seed))


class TestNaN(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestNaN",
            category=_CATEGORY,
            description="A model of which nothing but NaN comes.",
            inputs=[io.Model.Input("model")],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        return io.NodeOutput(_around_calls(model, lambda call: call() * float("nan")))


class TestCount(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestCount",
            category=_CATEGORY,
            description="A model that writes how often it was called to calls_<name>.txt.",
            inputs=[
                io.Model.Input("model"),
                io.String.Input("name", default="model"),
                io.Float.Input("delay", default=0.0, tooltip="Seconds to sleep in each call."),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any, name: str, delay: float) -> io.NodeOutput:
        file, calls = _output_file(f"calls_{name}.txt"), 0
        file.write_text("0")

        def count(call: Apply) -> torch.Tensor:
            nonlocal calls
            calls += 1
            file.write_text(str(calls))
            time.sleep(delay)
            return call()

        return io.NodeOutput(_around_calls(model, count))


class TestBrokenVAE(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestBrokenVAE",
            category=_CATEGORY,
            description="A VAE that decodes a few times and then fails.",
            inputs=[
                io.Vae.Input("vae"),
                io.Int.Input("good_calls", default=0),
                io.Int.Input("bad_calls", default=1000, optional=True),
            ],
            outputs=[io.Vae.Output()],
        )

    @classmethod
    def execute(cls, vae: Any, good_calls: int, bad_calls: int = 1000) -> io.NodeOutput:
        calls = 0

        def decode(*args: Any, **options: Any) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if good_calls < calls <= good_calls + bad_calls:
                raise RuntimeError("decoding failed on purpose")
            return vae.decode(*args, **options)

        broken = copy.copy(vae)
        broken.decode = decode
        return io.NodeOutput(broken)


class TestNaNVAE(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestNaNVAE",
            category=_CATEGORY,
            description="A VAE of which, on one of its ways, nothing but NaN comes.",
            inputs=[io.Vae.Input("vae"), io.Combo.Input("way", options=["encode", "decode"])],
            outputs=[io.Vae.Output()],
        )

    @classmethod
    def execute(cls, vae: Any, way: str) -> io.NodeOutput:
        broken, good = copy.copy(vae), getattr(vae, way)
        setattr(broken, way, lambda *args, **options: good(*args, **options) * float("nan"))
        return io.NodeOutput(broken)


class TestTensor(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestTensor",
            category=_CATEGORY,
            description="Writes a tensor to <name>.safetensors, exactly.",
            inputs=[
                io.AnyType.Input(
                    "any", tooltip="IMAGE, MASK, SIGMAS, LATENT or the first of CONDITIONING."
                ),
                io.String.Input("name", default="tensor"),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, any: Any, name: str) -> io.NodeOutput:
        save_file({"tensor": _tensor(any)}, _output_file(f"{name}.safetensors"))
        return io.NodeOutput()


class TestEnd(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestEnd",
            category=_CATEGORY,
            description="Takes anything, so that what gives it runs.",
            inputs=[io.AnyType.Input("any")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, any: Any) -> io.NodeOutput:
        return io.NodeOutput()


class TestPoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestPoses",
            category=_CATEGORY,
            description="POSE_KEYPOINT as JSON, as another pack would make it.",
            inputs=[io.String.Input("json")],
            outputs=[io.Custom("POSE_KEYPOINT").Output()],
        )

    @classmethod
    def execute(cls, json: str) -> io.NodeOutput:
        return io.NodeOutput(loads(json))


class TestWord(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestWord",
            category=_CATEGORY,
            description="A word for any input, a list of choices among them.",
            inputs=[io.String.Input("word")],
            outputs=[io.AnyType.Output()],
        )

    @classmethod
    def execute(cls, word: str) -> io.NodeOutput:
        return io.NodeOutput(word)


class TestLora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestLora",
            category=_CATEGORY,
            description="A model patched as LoRA loaders patch it, on its first output layer.",
            inputs=[io.Model.Input("model"), io.Float.Input("strength", default=1.0)],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any, strength: float) -> io.NodeOutput:
        patched, name = model.clone(), "diffusion_model.out.2.weight"
        weight = patched.model.state_dict()[name]
        difference = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        patch = {name: ("diff", (difference * weight.std(),))}
        assert patched.add_patches(patch, strength) == [name]
        return io.NodeOutput(patched)


class TestHeld(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestHeld",
            category=_CATEGORY,
            description="A conditioning that holds a tensor besides, as other packs may put it.",
            inputs=[
                io.Conditioning.Input("conditioning"),
                io.String.Input("key"),
                io.String.Input(
                    "numbers", tooltip="As JSON; whole numbers make a tensor of those."
                ),
            ],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, conditioning: Any, key: str, numbers: str) -> io.NodeOutput:
        held = {key: torch.tensor(loads(numbers))}
        return io.NodeOutput([[states, {**rest, **held}] for states, rest in conditioning])


class TestLatentFormat(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestLatentFormat",
            category=_CATEGORY,
            description="The model with another scale of latents put over its own.",
            inputs=[io.Model.Input("model"), io.Float.Input("scale", default=2.0)],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any, scale: float) -> io.NodeOutput:
        patched = model.clone()
        latent_format = copy.copy(model.get_model_object("latent_format"))
        latent_format.scale_factor *= scale
        patched.add_object_patch("latent_format", latent_format)
        return io.NodeOutput(patched)


class TestPause(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestPause",
            category=_CATEGORY,
            description="The model as it is, once something else was done.",
            inputs=[io.Model.Input("model"), io.AnyType.Input("after")],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any, after: Any) -> io.NodeOutput:
        return io.NodeOutput(model)


class TestSizes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestSizes",
            category=_CATEGORY,
            description="A list of batches: the pictures at each of the sides, cut off.",
            inputs=[
                io.Image.Input("images"),
                io.String.Input("sides", tooltip="As 64, 32; nothing gives an empty batch."),
            ],
            outputs=[io.Image.Output(is_output_list=True)],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, sides: str) -> io.NodeOutput:
        return io.NodeOutput(
            [images[:, : int(side)] for side in sides.split(",") if side] or [images[:0]]
        )


class TestNoVAE(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestNoVAE",
            category=_CATEGORY,
            description="What a checkpoint without a VAE gives for one.",
            inputs=[],
            outputs=[io.Vae.Output()],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(None)


class TestDemoClip(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestDemoClip",
            category=_CATEGORY,
            description="Both halves of the embedded demo's CLIP in the host's own classes.",
            inputs=[io.Clip.Input("clip"), io.Boolean.Input("projection", default=True)],
            outputs=[io.Clip.Output(), io.ClipVision.Output()],
        )

    @classmethod
    def execute(cls, clip: Any, projection: bool) -> io.NodeOutput:
        return io.NodeOutput(*models.demo_clip(clip, projection))


def _around_calls(model: Any, around: Callable[[Apply], torch.Tensor]) -> Any:
    """The model with `around` called for each call of it, and inside of it the call itself."""
    model = model.clone()
    inner = model.model_options.get("model_function_wrapper")

    def wrapper(apply: Apply, call: dict[str, Any]) -> torch.Tensor:
        if inner:
            return around(lambda: inner(apply, call))
        return around(lambda: apply(call["input"], call["timestep"], **call["c"]))

    model.set_model_unet_function_wrapper(wrapper)
    return model


def _tensor(value: Any) -> torch.Tensor:
    if isinstance(value, dict):
        value = value["samples"]
    if isinstance(value, list) and hasattr(value[0], "weights"):
        # the map of the first gap between keyframes
        return torch.cat([value[0].first, value[0].second, value[0].weights[:, None]], 1)
    if isinstance(value, list):
        value = value[0][0]
    return value.detach().cpu().contiguous().clone()


def _output_file(name: str) -> Path:
    return Path(folder_paths.get_output_directory()) / name


class TestModels(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            TestCheckpoint,
            TestControlNet,
            TestNaN,
            TestCount,
            TestBrokenVAE,
            TestNaNVAE,
            TestTensor,
            TestPoses,
            TestEnd,
            TestWord,
            TestLora,
            TestHeld,
            TestLatentFormat,
            TestSizes,
            TestNoVAE,
            TestPause,
            TestDemoClip,
            TestColors,
            TestChange,
            TestCopy,
            TestPressure,
            TestSlowDisk,
            *odd_inputs.NODES,
            TestNoise,
            TestPercent,
            TestPatch,
            TestOverflow,
            TestFreeMemory,
            TestQuantised,
        ]


async def comfy_entrypoint() -> TestModels:
    return TestModels()
