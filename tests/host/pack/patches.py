"""What other packs put on a model, each in a small form that is awkward to learn through."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import comfy.ldm.modules.attention as attention
import comfy.model_management as memory
import torch
from comfy.patcher_extension import CallbacksMP, PatcherInjection, WrappersMP
from comfy_api.latest import io

from . import models
from .node import node

_FREE_MEMORY, _RESERVED = memory.get_free_memory, memory.extra_reserved_memory


def _without_way_back(*args: Any, **options: Any) -> torch.Tensor:
    """A kernel that PyTorch knows nothing of."""
    options["_inside_attn_wrapper"] = True
    with torch.no_grad():
        return attention.attention_pytorch(*args, **options)


def kernel(model: Any) -> None:
    options = model.model_options["transformer_options"]
    options["optimized_attention_override"] = lambda _, *args, **more: _without_way_back(
        *args, **more
    )


def global_kernel(model: Any) -> None:
    """Put into the host's modules while the model runs, as some packs do."""
    modules = [attention]
    if hasattr(models.comfy.ldm.flux, "math"):
        modules.append(models.comfy.ldm.flux.math)
    before = [module.optimized_attention for module in modules]

    def put(_: Any) -> None:
        for module in modules:
            module.optimized_attention = _without_way_back

    def take(_: Any) -> None:
        for module, function in zip(modules, before, strict=True):
            module.optimized_attention = function

    model.add_callback(CallbacksMP.ON_PRE_RUN, put)
    model.add_callback(CallbacksMP.ON_CLEANUP, take)


def optimized_attention(*args: Any, **options: Any) -> torch.Tensor:
    """What `from comfy.ldm.modules.attention import optimized_attention` may bring here: a kernel
    that a flag has chosen for all models, such as --use-sage-attention."""
    return _without_way_back(*args, **options)


optimized_attention.__module__ = attention.__name__


def imported_kernel(model: Any) -> None:
    """Attend to the prompt in a module of their own, as adapters for pictures do."""

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, told: Any) -> torch.Tensor:
        return optimized_attention(q, k, v, told["n_heads"])

    for place in ("input", "middle", "output"):
        for number in range(12):
            model.set_model_attn2_replace(attend, place, number)


def no_grad(model: Any) -> None:
    def wrapper(executor: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with torch.no_grad():
            return executor(*args, **options)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "sleepy", wrapper)


def cached(model: Any) -> None:
    """Every second call gives what the one before it made."""
    last: list[torch.Tensor] = []

    def wrapper(apply: Callable[..., Any], call: dict[str, Any]) -> torch.Tensor:
        known = call["c"]["transformer_options"]["sample_sigmas"]
        assert (known == call["timestep"][0]).any()
        if last and last[0].shape == call["input"].shape:
            return last.pop()
        last[:] = [apply(call["input"], call["timestep"], **call["c"])]
        return last[0]

    # a pack's name says what it does
    wrapper.__module__ = "custom_nodes.comfyui-teacache.nodes"
    model.set_model_unet_function_wrapper(wrapper)


def told(model: Any) -> None:
    """Ask for all that the host's sampler tells."""

    def wrapper(executor: Callable[..., Any], *args: Any, **options: Any) -> Any:
        found = options.get("transformer_options") or args[-1]
        halves, rows = found["cond_or_uncond"], len(args[0])
        assert len(found["uuids"]) == len(halves) == len(set(found["uuids"]))
        assert len(found["sigmas"]) * len(halves) == rows
        assert (found["sample_sigmas"] == found["sigmas"][0]).any()
        return executor(*args, **options)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "asks", wrapper)


def in_place(model: Any) -> None:
    """Work on activations where they are, before and after they are used."""

    def output(h: torch.Tensor, skip: torch.Tensor, _: Any) -> tuple[torch.Tensor, torch.Tensor]:
        h[:, : h.shape[1] // 2] *= 1.0 + 0.1 * h.mean(1, keepdim=True)
        skip.mul_(0.9)
        return h, skip

    def queries(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, _: Any) -> Any:
        k.mul_(q.mean((1, 2), keepdim=True))
        return q.mul_(0.9), k, v

    model.set_model_output_block_patch(output)
    model.set_model_attn2_patch(queries)


def inference_tensors(model: Any) -> None:
    """Bring weights that were made while nodes run."""
    scale = torch.full((1, 1, 1), 0.9)
    assert scale.is_inference()

    def queries(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, _: Any) -> Any:
        return q * scale, k, v * scale

    model.set_model_attn2_patch(queries)


def injection(model: Any) -> None:
    """Add a layer beside one of the model's, as LoRA loaders do in bypass mode."""
    layer = next(
        module
        for name, module in model.model.diffusion_model.named_modules()
        if isinstance(module, torch.nn.Linear) and ("to_q" in name or "qkv" in name)
    )
    down = torch.randn(4, layer.in_features) / layer.in_features
    up = torch.randn(layer.out_features, 4)
    before = layer.forward

    def forward(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        return before(x, *args, **options) + torch.nn.functional.linear(
            torch.nn.functional.linear(x, down), up
        )

    def inject(_: Any) -> None:
        layer.forward = forward

    def eject(_: Any) -> None:
        layer.forward = before

    model.set_injections("bypass", [PatcherInjection(inject, eject)])


_PATCHES = {
    patch.__name__: patch
    for patch in (
        kernel,
        global_kernel,
        imported_kernel,
        no_grad,
        cached,
        told,
        in_place,
        inference_tensors,
        injection,
    )
}


@node(
    "TestPatch",
    [io.Model.Input("model"), io.Combo.Input("patch", options=list(_PATCHES))],
    io.Model.Output(),
)
def patch(model: Any, patch: str) -> Any:
    """A model patched as another pack would do it."""
    patched = model.clone()
    _PATCHES[patch](patched)
    return patched


@node(
    "TestLora",
    [io.Model.Input("model"), io.Float.Input("strength", default=1.0)],
    io.Model.Output(),
)
def lora(model: Any, strength: float) -> Any:
    """A model patched as LoRA loaders patch it, on its first output layer."""
    patched, name = model.clone(), "diffusion_model.out.2.weight"
    weight = patched.model.state_dict()[name]
    difference = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    added = {name: ("diff", (difference * weight.std(),))}
    assert patched.add_patches(added, strength) == [name]
    return patched


@node(
    "TestLatentFormat",
    [io.Model.Input("model"), io.Float.Input("scale", default=2.0)],
    io.Model.Output(),
)
def latent_format(model: Any, scale: float) -> Any:
    """The model with another scale of latents put over its own."""
    patched = model.clone()
    changed = copy(model.get_model_object("latent_format"))
    changed.scale_factor *= scale
    patched.add_object_patch("latent_format", changed)
    return patched


@node(
    "TestFreeMemory",
    [
        io.Model.Input("model"),
        io.Float.Input("mebibytes", min=-1.0, max=1e9, tooltip="-1: as it is."),
    ],
    io.Model.Output(),
)
def free_memory(model: Any, mebibytes: float) -> Any:
    """The model, and from now on a host that has so little free memory."""

    def free(device: Any = None, torch_free_too: bool = False) -> Any:
        size = mebibytes * 2**20
        return (size, size) if torch_free_too else size

    memory.get_free_memory = _FREE_MEMORY if mebibytes < 0 else free
    memory.extra_reserved_memory = _RESERVED if mebibytes < 0 else int
    return model
