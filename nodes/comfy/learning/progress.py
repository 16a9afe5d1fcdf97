"""The progress of learning: the host's bar, and the curve of the loss."""

from __future__ import annotations

import torch
from torch import Tensor

import comfy.model_management
import comfy.utils

from ....diffusion_interpolation.charts.plot import SIZE, line_plot
from ....diffusion_interpolation.pictures import to_tensor


class LossProgress:
    """The bar of the node, and the loss so far as a picture in the node, of a `title`."""

    def __init__(self, steps: int, evaluate_every: int, title: str) -> None:
        self._title = title
        self._bar = comfy.utils.ProgressBar(max(1, steps))
        self._steps, self._every, self._losses = steps, evaluate_every, {}

    def step(self, step: int, loss: float) -> None:
        """Count a step as done; `loss` is that of the latest step that was evaluated."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        every, steps = self._every, self._steps
        evaluated = step if step == steps else step - step % every
        preview = None
        if evaluated not in self._losses:
            self._losses[evaluated] = loss
            # one point is no curve yet
            if len(self._losses) > 1:
                preview = ("JPEG", line_plot(self._losses, self._title, "step", steps), SIZE[0])
        self._bar.update_absolute(step, steps, preview)


def loss_curve(losses: dict[int, float], title: str) -> Tensor:
    """The loss curve as IMAGE `(1, h, w, 3)`, black where nothing was learned."""
    if not losses:
        return torch.zeros(1, SIZE[1], SIZE[0], 3)
    return to_tensor([line_plot(losses, title, "step")]).movedim(1, -1)
