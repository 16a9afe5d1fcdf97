"""Line plots drawn with Pillow, which every host has."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

SIZE = (640, 400)
_MARGIN = (96, 48, 32, 72)  # left, top, right, bottom
_INK, _FAINT, _LINE = (220, 220, 220), (70, 70, 70), (255, 170, 60)
_BACKGROUND = (24, 24, 24)
_TICKS = 4


def line_plot(
    points: Mapping[float, float], title: str, x_name: str, last: float | None = None
) -> Image.Image:
    """A picture of `SIZE` with `points` (x to y) joined by a line, both axes fitted to them.

    With `last` the x axis goes on to there, for points that are yet to come. Raises `ValueError`
    for no points.
    """
    if not points:
        raise ValueError("plot: got no points, needs at least one")
    image = Image.new("RGB", SIZE, _BACKGROUND)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(22)
    ends = [] if last is None else [last]
    x_range, y_range = _range([*points, *ends]), _range(points.values())
    left, top, right, bottom = _frame()
    draw.text((left, 12), title, _INK, font)
    draw.text(((left + right) / 2, SIZE[1] - 8), x_name, _INK, font, anchor="mb")
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        x, y = left + share * (right - left), bottom - share * (bottom - top)
        draw.line([(left, y), (right, y)], _FAINT)
        draw.text((left - 8, y), f"{_at(y_range, share):.3g}", _INK, font, anchor="rm")
        draw.text((x, bottom + 8), f"{_at(x_range, share):.3g}", _INK, font, anchor="mt")
    places = [
        (
            left + _share(x_range, x) * (right - left),
            bottom - _share(y_range, y) * (bottom - top),
        )
        for x, y in sorted(points.items())
    ]
    draw.line(places, _LINE, 2, joint="curve")
    for x, y in places:
        draw.ellipse([x - 2, y - 2, x + 2, y + 2], _LINE)
    return image


def _frame() -> tuple[int, int, int, int]:
    left, top, right, bottom = _MARGIN
    return left, top, SIZE[0] - right, SIZE[1] - bottom


def _range(values: object) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _at(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def _share(ends: tuple[float, float], value: float) -> float:
    return (value - ends[0]) / (ends[1] - ends[0])
