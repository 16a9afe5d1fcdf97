"""Pictures side by side under their labels, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_INK, _BACKGROUND = (220, 220, 220), (24, 24, 24)
_GAP = 4
_LINE_HEIGHT = 12
"""A label is one such part of a picture's height, but not lower than `_LOWEST` pixels."""
_LOWEST = 20


def labelled_grid(pictures: Sequence[Image.Image], labels: Sequence[str]) -> Image.Image:
    """Return pictures of one size in rows of up to 3, each below its label.

    Raises `ValueError` where there is not a label for each picture.
    """
    if len(pictures) != len(labels) or not pictures:
        raise ValueError(f"labels: got {len(labels)}, needs one for each of {len(pictures)}")
    width, height = pictures[0].size
    line = max(_LOWEST, height // _LINE_HEIGHT)
    columns = min(3, len(pictures))
    rows = -(-len(pictures) // columns)
    cell = width + _GAP, height + line + _GAP
    grid = Image.new("RGB", (columns * cell[0] - _GAP, rows * cell[1] - _GAP), _BACKGROUND)
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(0.7 * line)
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = place % columns * cell[0], place // columns * cell[1]
        draw.text((left + width / 2, top + line / 2), label, _INK, font, anchor="mm")
        grid.paste(picture, (left, top + line))
    return grid
