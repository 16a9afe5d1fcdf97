"""Pictures of one plain colour each, for tests that look at what is on the screen."""

from __future__ import annotations

import colorsys
import time

import torch
from comfy_api.latest import io

from .node import node


@node(
    "TestColors",
    [
        io.Int.Input("count", default=17, min=1, max=100_000),
        io.Int.Input("size", default=64, tooltip="Side of the pictures in pixels."),
        io.Float.Input("shift", default=0.0, step=0.001, tooltip="Of hues, in turns."),
        io.Float.Input("delay", default=0.0, tooltip="Seconds to sleep before."),
    ],
    io.Image.Output(),
)
def plain(count: int, size: int, shift: float, delay: float) -> torch.Tensor:
    """A batch of plain pictures, from red to violet where `shift` is 0."""
    time.sleep(delay)
    return _colors(count, shift)[:, None, None].expand(-1, size, size, -1).contiguous()


def _colors(count: int, shift: float) -> torch.Tensor:
    """`(count, 3)` in 0..1, as `comfy_view.colors` has them in bytes."""
    hues = [0.8 * place / max(1, count - 1) + shift for place in range(count)]
    bytes_ = [[round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, 1, 0.9)] for hue in hues]
    return torch.tensor(bytes_) / 255
