"""A node that changes things in place, as some packs do: what comes out is what went in."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

from .node import node

CHANGES: dict[str, Callable[[Any], None]] = {}


def _change(act: Callable[[Any], None]) -> Callable[[Any], None]:
    CHANGES[act.__name__] = act
    return act


@_change
def options(model: Any) -> None:
    inner = model.model_options["model_function_wrapper"]
    model.model_options["model_function_wrapper"] = lambda *call: inner(*call) * 0.9


@_change
def patches(model: Any) -> None:
    name = "diffusion_model.out.2.weight"
    weight = model.model.state_dict()[name]
    assert model.add_patches({name: ("diff", (weight.clone() * 0.2,))}) == [name]


@_change
def object_patch(model: Any) -> None:
    sampling = copy.deepcopy(model.get_model_object("model_sampling"))
    sampling.set_sigmas(sampling.sigmas * 1.2)
    model.add_object_patch("model_sampling", sampling)


@_change
def decoder(vae: Any) -> None:
    decode = vae.decode
    vae.decode = lambda *args, **named: decode(*args, **named) * 0.5


@_change
def hint(control_net: Any) -> None:
    control_net.preprocess_image = lambda pictures: 1 - pictures


@_change
def strength(conditioning: Any) -> None:
    conditioning[0][1]["control"].strength = 0.2


@node(
    "TestChange",
    [io.AnyType.Input("any"), io.Combo.Input("what", options=["", *CHANGES])],
    io.AnyType.Output(),
)
def change(any: Any, what: str) -> Any:
    """Changes the very object that it hands on."""
    if what:
        CHANGES[what](any)
    return any


@node("TestPressure", [io.AnyType.Input("any")], io.AnyType.Output(), is_output_node=True)
def pressure(any: Any) -> Any:
    """Has the host release all memory that it can, as before it loads a model."""
    # older hosts have nothing of the kind
    state = sys.modules.get("comfy.memory_management")
    if hasattr(state, "extra_ram_release"):
        state.extra_ram_release(2**60)
    return any


@node("TestCopy", [io.AnyType.Input("any")], io.AnyType.Output())
def copied(any: Any) -> Any:
    """A copy that can be changed without harm to other tests."""
    return any.copy() if hasattr(any, "set_cond_hint") else copy.copy(any)
