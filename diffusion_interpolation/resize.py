"""Resizing that works on every kind of device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

# MPS, XPU and DirectML lack resizing with antialiasing in several versions of PyTorch.
_WITH_ANTIALIASING = ("cpu", "cuda", "meta")


def resize(pictures: Tensor, size: Sequence[int], mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """Return pictures `(n, c, h, w)` at `size` (height, width), antialiased, on their own device.

    They are resized on the CPU where their device may be unable to.
    """
    able = pictures if pictures.device.type in _WITH_ANTIALIASING else pictures.cpu()
    return F.interpolate(able, tuple(size), mode=mode, antialias=True).to(pictures.device)
