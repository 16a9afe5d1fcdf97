"""How good a path is: measures over its frames, each with its formula.

`d` is a perceptual distance between pictures, given by the caller and to be named with every
figure. A cross-fade has the lowest PPL of all, so a low PPL alone does not make a path good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]
"""From two batches of pictures `(n, 3, h, w)` in 0..1 to `n` distances."""

Features = Callable[[Tensor], Tensor]
"""From pictures `(n, 3, h, w)` in 0..1 to `(n, width)`."""


@dataclass(frozen=True)
class PathMeasures:
    """The measures of one path that need no truth (method, "Measures").

    `steps` are the distances `d(x_i, x_{i+1})` of adjacent frames, `(frames - 1,)`, and `ends` is
    `d(x_0, x_n)`.
    """

    steps: Tensor
    ends: float

    @property
    def ppl(self) -> float:
        """Perceptual path length `sum_i d(x_i, x_{i+1})`."""
        return self.steps.sum().item()

    @property
    def rppd(self) -> float:
        """`PPL / d(x_0, x_n)`; 1 for a straight way, infinite for ends that are alike."""
        return self.ppl / self.ends if self.ends else float("inf")

    @property
    def pdv(self) -> float:
        """Variance of the steps about their mean, over their number; 0 for constant speed."""
        return self.steps.var(correction=0).item()

    @property
    def step_next_to_inputs(self) -> float:
        """The larger of the steps next to the two inputs, in medians of all steps."""
        largest = torch.maximum(self.steps[0], self.steps[-1])
        return (largest / self.steps.median()).item()


def measure_path(frames: Tensor, distance: Distance) -> PathMeasures:
    """The measures of the frames of a path, its two inputs among them.

    Frames are pictures `(n, 3, h, w)`, or whatever `distance` takes, `(n, ...)`. Raises
    `ValueError` for fewer than three.
    """
    if len(frames) < 3:
        raise ValueError(f"frames: got {len(frames)}, needs at least 3, the two inputs among them")
    steps = distance(frames[:-1], frames[1:]).float().cpu()
    return PathMeasures(steps, distance(frames[:1], frames[-1:]).item())


def feature_distance(features: Features) -> Distance:
    """The length `|f(x) - f(y)|` of the way between features that have length 1."""
    return lambda a, b: torch.linalg.vector_norm(features(a) - features(b), dim=-1)
