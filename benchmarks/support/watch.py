"""Time spent in networks, whoever calls them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass
class Watch:
    """Seconds spent in the outermost forward passes of networks, and how many there were."""

    seconds: float = 0.0
    passes: int = 0
    depth: int = 0
    started: float = 0.0
    handles: list = field(default_factory=list)

    def before(self, *_: object) -> None:
        if self.depth == 0:
            self.started = _now()
        self.depth += 1

    def after(self, *_: object) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.seconds += _now() - self.started
            self.passes += 1


def _now() -> float:
    """Seconds, once a GPU has done what it was told."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def watched() -> Iterator[Watch]:
    """Time every forward pass within."""
    watch = Watch()
    hooks = (
        nn.modules.module.register_module_forward_pre_hook(watch.before),
        nn.modules.module.register_module_forward_hook(watch.after),
    )
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()
