"""Models and VAEs whose calls are counted, delayed or spoilt."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from comfy_api.latest import io

from .node import node
from .outputs import output_file

Apply = Callable[..., torch.Tensor]


@node("TestNaN", [io.Model.Input("model")], io.Model.Output())
def nan(model: Any) -> Any:
    """A model of which nothing but NaN comes."""
    return _around_calls(model, lambda call: call() * float("nan"))


@node(
    "TestCount",
    [
        io.Model.Input("model"),
        io.String.Input("name", default="model"),
        io.Float.Input("delay", default=0.0, tooltip="Seconds to sleep in each call."),
    ],
    io.Model.Output(),
)
def count(model: Any, name: str, delay: float) -> Any:
    """A model that writes how often it was called to calls_<name>.txt."""
    file, calls = output_file(f"calls_{name}.txt"), 0
    file.write_text("0")

    def counted(call: Apply) -> torch.Tensor:
        nonlocal calls
        calls += 1
        file.write_text(str(calls))
        time.sleep(delay)
        return call()

    return _around_calls(model, counted)


@node("TestPause", [io.Model.Input("model"), io.AnyType.Input("after")], io.Model.Output())
def pause(model: Any, after: Any) -> Any:
    """The model as it is, once something else was done."""
    return model


@node("TestOverflow", [io.Model.Input("model"), io.Int.Input("calls")], io.Model.Output())
def overflow(model: Any, calls: int) -> Any:
    """A model that gives NaN from its n-th call with gradients on."""
    seen = 0

    def spoilt(call: Apply) -> torch.Tensor:
        nonlocal seen
        seen += torch.is_grad_enabled()
        result = call()
        return result * float("nan") if seen > calls else result

    return _around_calls(model, spoilt)


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


@node(
    "TestBrokenVAE",
    [
        io.Vae.Input("vae"),
        io.Int.Input("good_calls", default=0),
        io.Int.Input("bad_calls", default=1000, optional=True),
    ],
    io.Vae.Output(),
)
def broken_vae(vae: Any, good_calls: int, bad_calls: int = 1000) -> Any:
    """A VAE that decodes a few times and then fails."""
    calls = 0

    def decode(*args: Any, **options: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if good_calls < calls <= good_calls + bad_calls:
            raise RuntimeError("decoding failed on purpose")
        return vae.decode(*args, **options)

    broken = copy.copy(vae)
    broken.decode = decode
    return broken


@node(
    "TestNaNVAE",
    [io.Vae.Input("vae"), io.Combo.Input("way", options=["encode", "decode"])],
    io.Vae.Output(),
)
def nan_vae(vae: Any, way: str) -> Any:
    """A VAE of which, on one of its ways, nothing but NaN comes."""
    broken, good = copy.copy(vae), getattr(vae, way)
    setattr(broken, way, lambda *args, **options: good(*args, **options) * float("nan"))
    return broken
