"""Runs one execution of Frame Bisector: frames to their files, to the front end, to the output."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...diffusion_interpolation.method.bisection import Bisection
from ...diffusion_interpolation.method.candidates import Frame
from ...diffusion_interpolation.method.frame_info import FrameInfo, planned
from .files import FrameFiles
from .memory import holds_nothing, join_memory_pressure
from .progress import FrameProgress


class MadeFrames(NamedTuple):
    """All frames of a path in order, the keyframes included."""

    images: Tensor
    """`(n, h, w, 3)` in 0..1."""
    latents: Tensor
    """`(n, c, h', w')`."""
    lines: list[str]
    """A line for each frame that was made, and warnings."""
    ui: dict[str, Any]
    """What the front end needs to know."""


class FrameRun:
    """The frames of one execution."""

    def __init__(self, bisection: Bisection, pictures: Tensor, keyframes: Tensor) -> None:
        """`keyframes` are the latents of `pictures`."""
        self.bisection, self.path = bisection, bisection.path
        self.pictures, self.keyframes = pictures.cpu(), keyframes
        self.frames = planned(self.path)
        slots = [slot for slots in self.path.slots() for slot in slots]
        self.work = {slot.index: bisection.evaluations(slot) for slot in slots}
        self.warning = ""

    def make(self, hidden: Any) -> MadeFrames:
        """Make all frames; `hidden` is what the host tells a node of the prompt and workflow.

        An error in one frame ends the node, so that the host does not take a part of the frames for
        all of them. The files and the cache keep the frames that are finished by then.
        """
        made: dict[int, Frame] = {}
        progress = FrameProgress(sum(self.work.values()))
        self.bisection.model.sampler.on_step = progress.step
        with FrameFiles(self.frames, hidden, self.bisection.settings.seed) as files:
            for index, picture in zip(self.path.keyframes, self.pictures, strict=True):
                files.add(self.frames[index], picture)
            join_memory_pressure()
            for frame in self.bisection.frames(self.keyframes):
                files.add(frame.info, frame.picture, frame.thumbnails)
                made[frame.info.index] = replace(frame, thumbnails=None)
                progress.frame_done(self.work[frame.info.index])
            self.warning = files.failure = files.failure or self._forgotten()
        lines = self._lines(made)
        ui = {**files.ui(), "text": tuple(lines)}
        return MadeFrames(*self._outputs(made), lines, ui)

    def _forgotten(self) -> str:
        """Say how many frames the next run makes again because memory cannot hold them."""
        if holds_nothing():
            return "Every run makes all frames, because ComfyUI was started with --cache-none."
        lost = self.path.frames - len(self.bisection.known(self.keyframes))
        if not lost:
            return ""
        return (
            f"The free memory cannot hold {lost} of {self.path.frames} frames, so the next run "
            "makes these again."
        )

    def _outputs(self, made: dict[int, Frame]) -> tuple[Tensor, Tensor]:
        """Pictures `(n, h, w, 3)` and latents of all frames in order."""
        pictures = {index: frame.picture for index, frame in made.items()}
        latents = {index: frame.latent for index, frame in made.items()}
        ends = self.path.keyframes
        pictures |= dict(zip(ends, self.pictures, strict=True))
        latents |= dict(zip(ends, self.keyframes, strict=True))
        images = torch.stack([pictures[index].movedim(0, -1) for index in sorted(pictures)])
        return images, torch.stack([latents[index] for index in sorted(latents)])

    def _lines(self, made: dict[int, Frame]) -> list[str]:
        """Return a line for each frame that was made, each pick without a frame, and a warning."""
        strays = self.bisection.picks.strays(info.position for info in self.frames if info.parents)
        return [
            *(_line(made[index].info) for index in sorted(made)),
            *(f"pick {pick} is left out, since no frame is there" for pick in strays),
            *([self.warning] if self.warning else []),
        ]


def _line(info: FrameInfo) -> str:
    where = f"frame {info.index}, position {info.position:g}, depth {info.depth}"
    chosen = f"candidate {info.candidate}{' (picked)' if info.picked else ''}"
    if not info.scores:
        return f"{where}: {chosen}" if info.candidate or info.picked else where
    scores = ", ".join(f"{score:+.4f}" for score in info.scores)
    # after a re-roll they are not counted from 0
    numbers = f"{info.first} to {info.first + info.count - 1}: " if info.first else ""
    return f"{where}: {chosen} of {numbers}{scores}"
