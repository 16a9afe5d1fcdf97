"""This package's own way, and its parts changed one at a time."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffusion_interpolation.method.bisection import Bisection
from diffusion_interpolation.scoring.likeness import likeness_scorer

from .registry import EMBEDDED_DEFAULTS, ROWS, Task, maker

DENOISE = (
    (0.35, 0.15),
    (0.45, 0.20),
    (0.45, 0.30),
    (0.55, 0.20),
    (0.55, 0.40),
    (0.65, 0.30),
    (0.65, 0.40),
    (0.75, 0.40),
)
"""Pairs of `max_denoise` and `min_denoise` that are compared with the default's."""


@maker("bisection")
def bisection(task: Task) -> Tensor:
    """Make frames as this package makes them."""
    return work(task)


@maker("ranked by latents")
def ranked_by_latents(task: Task) -> Tensor:
    """Rank candidates by the likeness of their latents to those of both neighbours alone."""
    return work(task, scorer=likeness_scorer(task.model))


def work(task: Task, **more: Any) -> Tensor:
    """Make frames by a bisection that takes `more`."""
    words = EMBEDDED_DEFAULTS["prompt"], EMBEDDED_DEFAULTS["negative_prompt"]
    more.setdefault("scorer", task.clip.scorer(*words) if task.way.ranked else None)
    made = Bisection(task.model, task.path, task.guide, task.settings, **more)
    frames = task.pictures.new_zeros(task.path.frames, *task.pictures.shape[1:])
    for frame in made.frames(task.model.encode(task.pictures)):
        frames[frame.info.index] = frame.picture
    return frames


ROWS["default"] = {"default": {}}
ROWS["parts"] = {
    "straight limbs": {"motion": "straight"},
    "slerp": {"blend": "slerp"},
    "ranked when finished": {"rank_fraction": 1.0},
    "smoothness weight 0": {"smoothness_weight": 0.0},
    "one candidate": {"ranked": False},
    "ranked by latents": {"maker": "ranked by latents"},
    "cfg 4": {"cfg": 4.0},
    "no poses": {"posed": False},
    "inversion": {"inversion_steps": 100},
}
ROWS["sweep"] = {
    **{
        f"denoise {high:g} to {low:g}": {"max_denoise": high, "min_denoise": low}
        for high, low in DENOISE
    },
    **{f"candidates {n}": {"candidates": n, "min_candidates": min(n, 3)} for n in (2, 3, 8)},
    **{f"smoothness weight {w}": {"smoothness_weight": float(w)} for w in (1, 2, 8)},
    **{f"cfg {scale:g}": {"cfg": scale} for scale in (1.0, 1.5, 3.0)},
    "ranked at a quarter": {"rank_fraction": 0.25},
    "exact": {"blend": "exact"},
    "10 steps": {"steps": 10},
    "40 steps": {"steps": 40},
}
ROWS["few steps"] = {
    f"{steps} steps, {least} at least": {"steps": steps, "min_steps": least}
    for steps in (4, 8)
    for least in (1, 2, 4)
}
