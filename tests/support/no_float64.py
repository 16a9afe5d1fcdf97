"""A stand-in for a device without float64, as MPS is, for machines that have none.

Tensors say that they are on `mps`, but the CPU computes them. As on the real device, float64 there
is a `TypeError`, and so is an operation on floating-point tensors of both devices. Resizing with
antialiasing is a `NotImplementedError`, as in older versions of PyTorch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

MPS = torch.device("mps")


class OnMps(Tensor):
    """A tensor that says it is on MPS."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class WithoutFloat64(TorchFunctionMode):
    """Within, `device="mps"` gives such tensors."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


def _run(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    leaves = tree_leaves((args, kwargs))
    on_mps = any(isinstance(leaf, OnMps) for leaf in leaves)
    to_mps = any(isinstance(leaf, torch.device) and leaf.type == "mps" for leaf in leaves)
    if on_mps and function == Tensor.device.__get__:
        return MPS
    moves = function in (Tensor.to, Tensor.cpu)
    if on_mps and not moves and any(map(_is_on_cpu, leaves)):
        raise TypeError(f"{function}: got tensors on mps and on the CPU")
    if on_mps and function is interpolate and kwargs.get("antialias"):
        raise NotImplementedError("aten::_upsample_bicubic2d_aa is not implemented for MPS")
    # of `a.to(b)` it is b that says where to
    stays = on_mps if not moves else isinstance((*args, None)[1], OnMps | torch.dtype) and on_mps
    args, kwargs = tree_map(_without_mps, (args, kwargs))
    with torch._C.DisableTorchFunction():
        result = function(*args, **kwargs)
    return tree_map(_on_mps, result) if stays or to_mps else result


def _is_on_cpu(leaf: Any) -> bool:
    """Numbers and indices may be on the CPU."""
    tensor = isinstance(leaf, Tensor) and not isinstance(leaf, OnMps)
    return tensor and leaf.ndim > 0 and leaf.is_floating_point()


def _without_mps(leaf: Any) -> Any:
    if isinstance(leaf, OnMps):
        return leaf.as_subclass(Tensor)
    return torch.device("cpu") if isinstance(leaf, torch.device) else leaf


def _on_mps(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    if leaf.dtype == torch.float64:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
    return leaf.as_subclass(OnMps)
