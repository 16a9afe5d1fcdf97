"""Ends of prompts, which write what reaches them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io
from safetensors.torch import save_file

from .node import node


@node(
    "TestTensor",
    [
        io.AnyType.Input(
            "any", tooltip="IMAGE, MASK, SIGMAS, LATENT or the first of CONDITIONING."
        ),
        io.String.Input("name", default="tensor"),
    ],
    is_output_node=True,
)
def tensor(any: Any, name: str) -> None:
    """Writes a tensor to <name>.safetensors, exactly."""
    if isinstance(any, dict):
        any = any["samples"]
    if isinstance(any, list) and hasattr(any[0], "weights"):
        # the map of the first gap between keyframes
        any = torch.cat([any[0].first, any[0].second, any[0].weights[:, None]], 1)
    if isinstance(any, list):
        any = any[0][0]
    saved = any.detach().cpu().contiguous().clone()
    save_file({"tensor": saved}, output_file(f"{name}.safetensors"))


@node("TestEnd", [io.AnyType.Input("any")], is_output_node=True)
def end(any: Any) -> None:
    """Takes anything, so that what gives it runs."""


@node(
    "TestExtra",
    [io.Conditioning.Input("conditioning"), io.String.Input("key")],
    is_output_node=True,
)
def extra(conditioning: Any, key: str) -> io.NodeOutput:
    """What a prompt holds under a key, as text with types and shapes."""
    return io.NodeOutput(ui={"text": (_said(conditioning[0][1].get(key)),)})


@node("TestWeights", [io.Model.Input("model")], is_output_node=True)
def weights(model: Any) -> io.NodeOutput:
    """The type of a model's weights, as text."""
    return io.NodeOutput(ui={"text": (str(model.model_dtype()),)})


def _said(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {value.tolist()}"
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return repr(value)


def output_file(name: str) -> Path:
    return Path(folder_paths.get_output_directory()) / name
