"""Pictures of one plain colour each, for tests that look at what is on the screen."""

from __future__ import annotations

import colorsys
import time

import torch
from comfy_api.latest import io

_CATEGORY = "interpolation tests"


class TestColors(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestColors",
            category=_CATEGORY,
            description="A batch of plain pictures, from red to violet where `shift` is 0.",
            inputs=[
                io.Int.Input("count", default=17, min=1, max=100_000),
                io.Int.Input("size", default=64, tooltip="Side of the pictures in pixels."),
                io.Float.Input("shift", default=0.0, step=0.001, tooltip="Of hues, in turns."),
                io.Float.Input("delay", default=0.0, tooltip="Seconds to sleep before."),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, count: int, size: int, shift: float, delay: float) -> io.NodeOutput:
        time.sleep(delay)
        colors = _colors(count, shift)
        return io.NodeOutput(colors[:, None, None].expand(-1, size, size, -1).contiguous())


def _colors(count: int, shift: float) -> torch.Tensor:
    """`(count, 3)` in 0..1, as `comfy_view.colors` has them in bytes."""
    hues = [0.8 * place / max(1, count - 1) + shift for place in range(count)]
    bytes_ = [[round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, 1, 0.9)] for hue in hues]
    return torch.tensor(bytes_) / 255
