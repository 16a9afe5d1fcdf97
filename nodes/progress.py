"""What the user sees of a node at work: the bar, and pictures in the node."""

from __future__ import annotations

import time
from typing import Any

import comfy.utils
import latent_preview
from PIL import Image
from torch import Tensor

from ..diffusion_interpolation.pictures import ContactSheet, to_image

PAUSE = 0.25  # seconds between pictures: a browser needs no more, and each costs time
PREVIEW_SIZE = 512


class Progress:
    """The bar of a node, in units of one latent through one step of the sampler."""

    def __init__(self, model: Any, total: int) -> None:
        self._bar = comfy.utils.ProgressBar(total)
        self._model, self._total, self._done = model, total, 0
        self._previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self._last = 0.0

    def step(self, rows: int, denoised: Tensor) -> None:
        """`rows` more units are done; shows the first of the latents `denoised`."""
        self._done += rows
        self._show(self._preview(denoised) if self._previewer and self._due() else None)

    def _preview(self, denoised: Tensor) -> tuple[str, Image.Image, int]:
        return self._previewer.decode_latent_to_preview_image("JPEG", denoised)

    def _due(self) -> bool:
        if time.monotonic() - self._last < PAUSE:
            return False
        self._last = time.monotonic()
        return True

    def _show(self, preview: tuple[str, Image.Image, int] | None = None) -> None:
        self._bar.update_absolute(self._done, self._total, preview)


class FrameProgress(Progress):
    """As `Progress`, and shows every finished frame at its place on a contact sheet."""

    def __init__(self, model: Any, total: int, frames: int, keyframes: Tensor) -> None:
        """`keyframes` are pictures `(n, 3, h, w)` in 0..1."""
        super().__init__(model, total)
        height, width = keyframes.shape[2:]
        self._sheet = ContactSheet(frames, (width, height), PREVIEW_SIZE)
        self._missing = frames

    def add(self, index: int, picture: Tensor) -> None:
        """Frame number `index` is `picture` `(3, h, w)` in 0..1."""
        self._sheet.paste(index, to_image(picture))
        self._missing -= 1
        # the last one stays in the node
        self._show(self._picture() if self._due() or not self._missing else None)

    def _preview(self, denoised: Tensor) -> tuple[str, Image.Image, int]:
        return self._picture()

    def _picture(self) -> tuple[str, Image.Image, int]:
        return "JPEG", self._sheet.image.copy(), PREVIEW_SIZE
