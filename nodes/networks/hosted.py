"""Puts networks that are not ComfyUI's own under its memory management."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management as memory
import comfy.model_patcher
from torch import nn


def hosted(network: nn.Module, device: Any, offload_device: Any) -> Callable[[], None]:
    """Return a function that brings `network` to `device`; later the host may move it away.

    As a whole, since a network that is not of the host's classes cannot be used in part.
    """
    # in a list of its own: the host marks what it moves, and not every network lets it
    patcher = comfy.model_patcher.ModelPatcher(nn.ModuleList([network]), device, offload_device)
    return lambda: memory.load_models_gpu([patcher], force_full_load=True)
