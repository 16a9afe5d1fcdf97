"""What lets the host's networks be differentiated, whatever kernels and patches they run with.

Each context manager leaves the host as it was.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import comfy.ldm.modules.attention as attention
import comfy.model_management as memory

from ....diffusion_interpolation.models.checkpointing import map_tensors

_PLAIN_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_ATTENTION_NAMES = ("optimized_attention", "optimized_attention_masked")


def plain_attention(*args: Any, **options: Any) -> Tensor:
    """PyTorch's own attention, in place of any kernel that the host or a patch would take."""
    # newer hosts hand tensors over in containers
    container = getattr(attention, "AttentionTensorContainer", ())
    args = tuple(part.take() if isinstance(part, container) else part for part in args)
    # the host would look for an override otherwise
    return attention.attention_pytorch(*args, **{**options, "_inside_attn_wrapper": True})


def override_attention(_: Callable[..., Tensor], *args: Any, **options: Any) -> Tensor:
    """`plain_attention` as the host calls what is in `optimized_attention_override`."""
    return plain_attention(*args, **options)


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Within, the host's networks use only kernels that have a way back.

    `optimized_attention` is what the host's flags or a pack have chosen for all models; its fused
    rotary embeddings and norms have twins in plain PyTorch. Newer hosts leave more aside while
    `in_training`.
    """
    swaps = [(module, name, plain_attention) for module, name in _places_of_attention()]
    swaps += [(memory, "in_training", True), *_eager_kernels()]
    before = [(module, name, vars(module).get(name)) for module, name, _ in swaps]
    try:
        for module, name, value in swaps:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            # older hosts do not have `in_training`
            setattr(module, name, value or False)


def _places_of_attention() -> Iterator[tuple[Any, str]]:
    """Modules that call the host's attention, and by what name: its own, and those of packs."""
    for module_name, module in list(sys.modules.items()):
        for name in _ATTENTION_NAMES:
            # some modules are objects that import more when they are looked at
            found = getattr(module, "__dict__", {}).get(name)
            is_the_hosts = getattr(found, "__module__", None) == attention.__name__
            if found is not None and (is_the_hosts or module_name.startswith("comfy.")):
                yield module, name


def _eager_kernels() -> list[tuple[Any, str, Any]]:
    """The fused kernels of newer hosts' own library, with their twins."""
    try:
        import comfy_kitchen
        from comfy_kitchen.backends import eager
    except ImportError:
        return []
    return [
        (comfy_kitchen, name, twin)
        for name, twin in vars(eager).items()
        if ("rope" in name or "adaln" in name) and callable(twin) and hasattr(comfy_kitchen, name)
    ]


class NormalTensors(TorchFunctionMode):
    """Within, tensors made under `inference_mode` take part as copies that autograd can save.

    Patches bring such tensors from wherever they keep them. There is one copy of each. Weights that
    `leave_inference` leaves alone are left alone here, too.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._copies: dict[int, tuple[weakref.ref, Tensor]] = {}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = map_tensors(self._normal, (tuple(args), dict(kwargs or {})))
        return function(*args, **kwargs)

    def _normal(self, tensor: Tensor) -> Tensor:
        if not tensor.is_inference() or _is_converted(tensor, self._device):
            return tensor
        source, copy = self._copies.get(id(tensor), (lambda: None, tensor))
        if source() is not tensor:
            with torch.inference_mode(False):
                copy = tensor.clone()
            self._copies[id(tensor)] = weakref.ref(tensor), copy
        return copy


def leave_inference(network: nn.Module, device: torch.device) -> None:
    """Replace weights made under `inference_mode` by ordinary ones of the same values.

    Those that are converted whenever they are used stay.
    """
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.is_inference() and not _is_converted(weight, device):
                setattr(module, name, nn.Parameter(weight.detach().clone(), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_inference():
                setattr(module, name, buffer.clone())


def unpack_quantised(network: nn.Module) -> None:
    """Let quantised layers compute with unpacked weights: their kernels have no way back.

    The host unpacks the weights of a layer that has a function of its weight.
    """
    for module in network.modules():
        functions = getattr(module, "weight_function", None)
        weight = getattr(module, "weight", None)
        if isinstance(functions, list) and isinstance(weight, Tensor) and _is_quantised(weight):
            pack_quantised(module)
            module.weight_function = [*module.weight_function, _unpacked]


def pack_quantised(network: nn.Module) -> None:
    """The way back of `unpack_quantised`."""
    for module in network.modules():
        functions = vars(module).get("weight_function")
        if functions and _unpacked in functions:
            module.weight_function = [one for one in functions if one is not _unpacked]


def _unpacked(weight: Tensor) -> Tensor:
    return weight


def _is_converted(weight: Tensor, device: torch.device) -> bool:
    """Whether a layer on `device` computes with something that it makes of this weight."""
    if not isinstance(weight, nn.Parameter):
        return False
    return weight.device != device or _is_quantised(weight)


def _is_quantised(weight: Tensor) -> bool:
    """Whether a weight is stored in a type of its own, or in one that is not computed with."""
    return type(weight) not in (Tensor, nn.Parameter) or weight.dtype not in _PLAIN_TYPES


def steady(patcher: Any) -> Any:
    """`patcher`, or a copy of a model whose weights come and go by themselves while it runs.

    Such weights cannot be held for the way back. Raises `ValueError` where there can be no copy.
    """
    if not getattr(patcher, "is_dynamic", bool)():
        return patcher
    try:
        return patcher.get_non_dynamic_delegate()
    except RuntimeError as error:
        raise ValueError(
            f"model: its loader does not let it be held in memory ({error}), as learning needs; "
            "start ComfyUI with --disable-dynamic-vram"
        ) from error
