"""Nodes for tests: tiny random models of the host's own classes, and models that misbehave."""

from __future__ import annotations

import gc

from comfy_api.latest import ComfyExtension, io

# each of these modules adds its nodes to the list
from . import (  # noqa: F401
    calls,
    changes,
    checkpoints,
    coarse,
    colors,
    disk,
    noise,
    odd_inputs,
    outputs,
    patches,
)
from .node import NODES


class TestModels(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> TestModels:
    # the host also collects garbage after prompts, and need not search all modules for it
    gc.freeze()
    gc.enable()
    return TestModels()
