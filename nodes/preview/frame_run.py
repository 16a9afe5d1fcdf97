"""Runs one execution of Frame Bisector: frames to their files, to the front end, to the output."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor

from ...diffusion_interpolation.method.bisection import Bisection
from ...diffusion_interpolation.method.frame_info import FrameInfo, planned
from ...diffusion_interpolation.method.path import Slot
from ..common.notes import STRAY, TIME, WORK, Note
from .files import NOTHING, About, FrameFiles
from .frame_sink import FrameSink
from .memory import holds_nothing, join_memory_pressure
from .progress import FrameProgress
from .speed import expected, remember


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

    def __init__(
        self,
        bisection: Bisection,
        pictures: Tensor,
        keyframes: Tensor,
        about: About = NOTHING,
    ) -> None:
        """`keyframes` are the latents of `pictures`.

        With `about.loop` the last of them is the first once more, which makes no frame.
        """
        self.bisection, self.path = bisection, bisection.path
        self.pictures, self.keyframes = pictures.cpu(), keyframes
        self.count = self.path.frames - about.loop
        self.frames = [self._in_loop(info) for info in planned(self.path)[: self.count]]
        slots = [slot for slots in self.path.slots() for slot in slots]
        self.work = {slot.index: bisection.evaluations(slot) for slot in slots}
        strays = bisection.picks.strays(slot.position for slot in slots)
        notes = *about.notes, *(Note(STRAY, {"pick": str(pick)}) for pick in strays)
        if about.settings:
            known = bisection.known(keyframes)
            price = self._price([slot for slot in slots if slot.index not in known])
            notes = *notes, *price
        self.about = about._replace(notes=notes)

    def _price(self, slots: list[Slot]) -> list[Note]:
        """Say how much work it is to make some frames."""
        if not slots:
            return []
        candidates = sum(map(self.bisection.plan.count, slots))
        work = sum(self.work[slot.index] for slot in slots)
        counts = {"candidates": candidates, "frames": len(slots), "evaluations": work}
        duration = expected(self._kind(), work)
        times = [Note(TIME, {"time": duration}, running=True)] if duration else []
        return [Note(WORK, counts, running=True), *times]

    def _kind(self) -> tuple[Any, ...]:
        """What runs have in common that take the same time for each latent."""
        return self.bisection.model.sampler.network, self.pictures.shape[2:]

    def make(self, hidden: Any) -> MadeFrames:
        """Make all frames; `hidden` is what the host tells a node of the prompt and workflow.

        An error in one frame ends the node, so that the host does not take a part of the frames for
        all of them. The files and the cache keep the frames that are finished by then.
        """
        with FrameFiles(self.frames, hidden, self.about) as files:
            sink = FrameSink(files, self.count, self.pictures, self.keyframes)
            self._fill(sink)
            files.finish()
            files.failure = files.failure or self._forgotten()
            lines = self._lines(sink.made, files.failure)
        return MadeFrames(sink.images, sink.latents, lines, {**files.ui(), "text": tuple(lines)})

    def _fill(self, sink: FrameSink) -> None:
        """Put the keyframes and then the frames between them into `sink`."""
        progress, start = FrameProgress(sum(self.work.values())), time.monotonic()
        self.bisection.model.sampler.on_step = progress.step
        for place, *made in zip(self.path.keyframes, self.pictures, self.keyframes, strict=True):
            if place < self.count:
                sink.add(self.frames[place], *made)
        join_memory_pressure()
        for frame in self.bisection.frames(self.keyframes):
            sink.add(self._in_loop(frame.info), frame.picture, frame.latent, frame.thumbnails)
            progress.frame_done(self.work[frame.info.index])
        remember(self._kind(), progress.evaluations, time.monotonic() - start)

    def _in_loop(self, info: FrameInfo) -> FrameInfo:
        """What is known of a frame, whose right parent may be the first frame of a loop."""
        return replace(info, parents=tuple(parent % self.count for parent in info.parents))

    def _forgotten(self) -> str:
        """Say how many frames the next run makes again because memory cannot hold them."""
        if holds_nothing():
            return "Every run makes all frames, because ComfyUI was started with --cache-none."
        lost = self.path.frames - len(self.bisection.known(self.keyframes))
        if not lost:
            return ""
        return (
            f"The free memory cannot hold {lost} of {self.count} frames, so the next run "
            "makes these again."
        )

    def _lines(self, made: Mapping[int, FrameInfo], warning: str) -> list[str]:
        """Return the notes, a line for each frame that was made, and a warning."""
        return [
            *map(str, self.about.notes),
            *(_line(made[index]) for index in sorted(made)),
            *([warning] if warning else []),
        ]


def _line(info: FrameInfo) -> str:
    where = f"frame {info.index}, position {info.position:g}, depth {info.depth}: "
    where += f"{info.steps} steps from sigma {info.start:.3g}"
    chosen = f"candidate {info.candidate}{' (picked)' if info.picked else ''}"
    if not info.scores:
        return f"{where}, {chosen}" if info.candidate or info.picked else where
    scores = ", ".join(f"{score:+.4f}" for score in info.scores)
    # after a re-roll they are not counted from 0
    numbers = f"{info.first} to {info.first + info.count - 1}: " if info.first else ""
    return f"{where}, {chosen} of {numbers}{scores}"
