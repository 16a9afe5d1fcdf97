"""What is to be seen on a page."""

from __future__ import annotations

import io

from PIL import Image
from playwright.sync_api import Locator


def bar_is_seen(bar: Locator) -> bool:
    """Whether a slider's bar, its thumb in the middle, is another colour than what is around it."""
    shot = Image.open(io.BytesIO(bar.screenshot())).convert("RGB")
    width, height = shot.size
    around = shot.getpixel((width // 8, 4))
    sides = [shot.getpixel((x, height // 2)) for x in (width // 8, width - width // 8)]
    return all(max(abs(a - b) for a, b in zip(side, around, strict=True)) > 50 for side in sides)
