"""Nodes that make inputs of less common kinds, as other packs do."""

from __future__ import annotations

from dataclasses import dataclass
from json import loads
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from .node import node


@node(
    "TestChannels",
    [
        io.Image.Input("images"),
        io.Int.Input("channels", min=1, max=8),
        io.Float.Input("alpha", default=1.0, optional=True),
    ],
    io.Image.Output(),
)
def in_channels(images: torch.Tensor, channels: int, alpha: float = 1.0) -> torch.Tensor:
    """Grey pictures of so many channels: grey, grey and alpha, RGB, RGB and alpha, or more, which
    no picture has."""
    grey = images[..., :3].mean(-1, keepdim=True)
    colours = grey.repeat(1, 1, 1, channels if channels % 2 else channels - 1)
    return colours if channels % 2 else torch.cat([colours, torch.full_like(grey, alpha)], -1)


@node("TestScorer", [], io.Custom("RERANKER").Output())
def scorer() -> Any:
    """A reranker that is a function from pictures to numbers: how dark they are."""
    return lambda pictures: -pictures.mean((1, 2, 3))


@node(
    "TestSizes",
    [
        io.Image.Input("images"),
        io.String.Input("sides", tooltip="As 64, 32; nothing gives an empty batch."),
    ],
    io.Image.Output(is_output_list=True),
)
def sizes(images: torch.Tensor, sides: str) -> list[torch.Tensor]:
    """A list of batches: the pictures at each of the sides, cut off."""
    return [images[:, : int(side)] for side in sides.split(",") if side] or [images[:0]]


def _with(conditioning: Any, held: dict[str, Any]) -> Any:
    """A conditioning that holds something besides, in each of its entries."""
    return [[states, {**rest, **held}] for states, rest in conditioning]


@node("TestExtras", [io.Conditioning.Input("conditioning")], io.Conditioning.Output())
def extras(conditioning: Any) -> Any:
    """Puts into a prompt what the text encoders of HiDream and others put there beside the states,
    and something that no file can hold."""
    held = {
        "conditioning_llama3": torch.arange(24.0, dtype=torch.float16).reshape(1, 3, 4, 2),
        "t5xxl_ids": torch.arange(5, dtype=torch.int32),
        "reference_latents": [torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2)],
        "guidance": 3.5,
        "control": object(),
    }
    return _with(conditioning, held)


@dataclass
class Settings:
    weights: torch.Tensor


@node(
    "TestArrays",
    [io.Conditioning.Input("conditioning"), io.Float.Input("number")],
    io.Conditioning.Output(),
    hidden=[io.Hidden.extra_pnginfo],
)
def arrays(hidden: Any, conditioning: Any, number: float) -> Any:
    """Puts into a prompt, and into what is saved beside pictures, things of packs that have no
    plain answer to `==`, or no JSON."""
    array = np.full(3, number)
    if isinstance(hidden.extra_pnginfo, dict):
        hidden.extra_pnginfo["seen"] = array
    return _with(conditioning, {"embeds": array, "settings": Settings(torch.full((2,), number))})


@node(
    "TestHeld",
    [
        io.Conditioning.Input("conditioning"),
        io.String.Input("key"),
        io.String.Input("numbers", tooltip="As JSON; whole numbers make a tensor of those."),
    ],
    io.Conditioning.Output(),
)
def held(conditioning: Any, key: str, numbers: str) -> Any:
    """A conditioning that holds a tensor besides, as other packs may put it."""
    return _with(conditioning, {key: torch.tensor(loads(numbers))})


@node("TestSigmas", [io.String.Input("numbers")], io.Sigmas.Output())
def sigmas(numbers: str) -> torch.Tensor:
    """Sigmas as they are typed, with a comma between."""
    return torch.tensor([float(number) for number in numbers.split(",")])


@node("TestPoses", [io.String.Input("json")], io.Custom("POSE_KEYPOINT").Output())
def poses(json: str) -> Any:
    """POSE_KEYPOINT as JSON, as another pack would make it."""
    return loads(json)


@node("TestWord", [io.String.Input("word")], io.AnyType.Output())
def word(word: str) -> str:
    """A word for any input, a list of choices among them."""
    return word


@node("TestOddLatent", [io.Combo.Input("what", options=["empty", "parts"])], io.Latent.Output())
def odd_latent(what: str) -> dict[str, Any]:
    """No latents, or on newer hosts those of a picture with sound."""
    if what == "empty":
        return {"samples": torch.zeros(0, 4, 8, 8)}
    from comfy.nested_tensor import NestedTensor

    return {"samples": NestedTensor((torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8)))}


@node(
    "TestClipFolder",
    [io.String.Input("folder"), io.String.Input("name")],
    io.AnyType.Output(),
)
def clip_folder(folder: str, name: str) -> str:
    """Tells open-clip of the architectures in a folder, and gives the name of one."""
    import open_clip

    open_clip.add_model_config(folder)
    return name
