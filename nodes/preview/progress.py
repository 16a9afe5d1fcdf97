"""Shows the progress of a node: the bar, and a picture in the node."""

from __future__ import annotations

import time
from typing import Any

import comfy.utils
import latent_preview
from PIL import Image
from torch import Tensor

PAUSE = 0.25  # seconds between pictures: a browser needs no more, and each costs time


class Progress:
    """The bar of a node, in units of one latent through one step of the sampler."""

    def __init__(self, model: Any, total: int) -> None:
        self._bar = comfy.utils.ProgressBar(total)
        self._model, self._total, self._done = model, total, 0
        latent_format = model.get_model_object("latent_format")
        self._previewer = latent_preview.get_previewer(model.load_device, latent_format)
        self._last = 0.0

    def step(self, rows: int, denoised: Tensor) -> None:
        """Count `rows` more units as done, and show the first of the latents `denoised`."""
        self._done += rows
        preview = self._preview(denoised) if self._previewer and self._due() else None
        self._bar.update_absolute(self._done, self._total, preview)

    def _preview(self, denoised: Tensor) -> tuple[str, Image.Image, int]:
        return self._previewer.decode_latent_to_preview_image("JPEG", denoised)

    def _due(self) -> bool:
        if time.monotonic() - self._last < PAUSE:
            return False
        self._last = time.monotonic()
        return True


class FrameProgress:
    """The bar of a run of frames, in units of one latent through one step of the sampler.

    It shows no pictures, since every finished frame is shown by itself.
    """

    def __init__(self, total: int) -> None:
        self._bar = comfy.utils.ProgressBar(total)
        self._done, self._finished = 0, 0
        self.evaluations = 0
        """Units that were not done before, in an earlier run."""

    def step(self, rows: int, denoised: Tensor) -> None:
        """Count `rows` more units as done."""
        self.evaluations += rows
        self._advance(self._done + rows)

    def frame_done(self, units: int) -> None:
        """Count a frame of `units` as finished; some of its units may have been counted before."""
        self._finished += units
        self._advance(max(self._done, self._finished))

    def _advance(self, done: int) -> None:
        self._done = done
        # it also looks whether the run was cancelled
        self._bar.update_absolute(done)
