"""Keeps frames in ComfyUI between runs, in a fraction of the free memory.

A run holds all its pictures once, in its output (`frame_sink.py`). The pictures here are copies of
some of them for the next run: as many as an eighth of the free memory holds, counted as if the
copies were not there. The other stores are small beside that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import comfy.model_management as memory
import torch
from comfy.cli_args import args

from ...diffusion_interpolation.method.choice.frame_cache import FrameCache, Store
from .running_prompt import running_server


def _share(of: int) -> Callable[[int], int]:
    """Return 1 / `of` of the memory that would be free if the cache were empty."""
    return lambda held: (memory.get_free_memory(torch.device("cpu")) + held) // of


# of all runs since the host's start, so that one with other picks makes only what they change
_PICTURES = Store(_share(8))
_LATENTS = Store(_share(8))
_ABOUT = Store(_share(32))
KEYFRAMES = Store(_share(32))
"""Latents of keyframes, which are never dropped for frames, as all frames depend on them."""


def holds_nothing() -> bool:
    """Return whether ComfyUI was told to keep no results, so that frames are not kept either."""
    return args.cache_none


def frame_cache(context: bytes) -> FrameCache | None:
    """Return the cache for frames that depend on `context`; None where the host keeps nothing."""
    return None if holds_nothing() else FrameCache(context, _ABOUT, _LATENTS, _PICTURES)


def fit() -> None:
    """Drop what no longer fits because other programs or models have taken memory."""
    for store in (_PICTURES, _LATENTS, _ABOUT, KEYFRAMES):
        store.fit()


def watch_prompts() -> None:
    """Make the host call `fit` whenever it gets a prompt, even one without our nodes."""
    server = running_server()
    if server is not None:
        server.add_on_prompt_handler(_fit_first)


def _fit_first(prompt: Any) -> Any:
    fit()
    return prompt


def release(size: int, needed: bool = False) -> int:
    """Drop up to `size` bytes, pictures first, and return how many; `needed` as in `Store`."""
    freed = 0
    for store in (_PICTURES, _LATENTS, _ABOUT):
        before = store.used
        store.shrink(max(0, before - (size - freed)), needed)
        freed += before - store.used
        if freed >= size:
            break
    return freed


def join_memory_pressure() -> None:
    """Have the host ask for this memory, too, when it lacks some before the prompt has ended.

    Newer hosts have one callback for that, which they set again for every prompt.
    """
    state = sys.modules.get("comfy.memory_management")
    hosts = getattr(state, "extra_ram_release_callback", None)
    if hosts is None or getattr(hosts, "releases_frames", False):
        return

    def callback(target: int, free_active: bool = False, **options: Any) -> int:
        lacking = target - memory.get_free_memory(torch.device("cpu"))
        freed = release(lacking, needed=free_active) if lacking > 0 else 0
        return freed + hosts(target, free_active=free_active, **options)

    callback.releases_frames = True
    state.set_ram_cache_release_state(callback, state.RAM_CACHE_HEADROOM)
