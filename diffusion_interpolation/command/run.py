"""The main job: pictures in, the frames between them and a slider page out."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path as File

from torch import Tensor
from tqdm import tqdm

from ..method.learning.inversion import Inversion
from ..method.matching.moved_neighbours import AlongMap
from ..models.conditioning_file import load_inversion, save_inversion
from ..models.diffusers.model import DiffusersModel
from ..pictures import to_tensor
from ..scoring.contract import Scorer
from .job import Job
from .making import (
    along_map,
    bisection_of,
    learned_prompts,
    made_for,
    scorer_of,
    write_views,
)
from .networks import load_model, load_reranker
from .prepared import Prepared

log = logging.getLogger(__name__)


def run(job: Job) -> File:
    """Make the frames of `job` and everything that shows them; returns the page.

    If the folder has a part of the very same run, the run continues from it. Raises `ValueError`
    for what the user can mend.
    """
    return _Run(job).make()


class Stages:
    """Seconds by stage, and the progress bar of the one that runs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: float = 1, done: float = 0) -> Iterator[tqdm]:
        """A bar from `done` to `total`, whatever they count; a line at the end in a log file."""
        begun, watched = time.perf_counter(), sys.stderr.isatty()
        form = "{desc:<22} {percentage:3.0f}% |{bar:30}| {elapsed}, {remaining} left{postfix}"
        try:
            with tqdm(
                total=total, initial=done, desc=name, bar_format=form, disable=not watched
            ) as bar:
                yield bar
                bar.update(bar.total - bar.n)
            if not watched:
                log.info("%s: %.1f s", name, time.perf_counter() - begun)
        finally:
            seconds = self.seconds.get(name, 0) + time.perf_counter() - begun
            self.seconds[name] = round(seconds, 2)


class _Run(Prepared):
    """A job under way on this machine, with its networks once they are needed."""

    def __init__(self, job: Job) -> None:
        self.stages = Stages()
        super().__init__(job)

    @cached_property
    def model(self) -> DiffusersModel:
        with self.stages.stage("loading the model"):
            return load_model(self.job)

    @cached_property
    def scorer(self) -> Scorer | None:
        """What ranks candidates, if there is something to rank by."""
        return scorer_of(self.job, self.model, lambda: load_reranker(self.job))

    def make(self) -> File:
        """Make what is not made yet; returns the page."""
        self._open_folder()
        finished = self.folder.latents()
        if self.missing(finished):
            try:
                self._make_frames(finished)
            finally:
                self.folder.write_record({"finished": False, "seconds": self.stages.seconds})
        return self._write_outputs(made_earlier=len(finished))

    def _open_folder(self) -> None:
        if self.job.output.overwrite:
            # nothing is removed for a run that cannot begin
            _ = self.model, self.scorer
        self.open()
        self.stages.seconds |= self.folder.seconds()

    def _make_frames(self, finished: dict[int, Tensor]) -> None:
        model, scorer, pictures = self.model, self.scorer, to_tensor(self.pictures)
        latents = _encode(model, pictures)
        learned = self._conditioning(pictures)
        along = self._along(learned, pictures)
        bisection = bisection_of(self.job, model, scorer, learned, self.poses, self.size, along)
        slots = [slot for slots in self.path.slots() for slot in slots]
        work = {slot.index: bisection.evaluations(slot) for slot in slots}
        if finished:
            log.info("continuing after %d finished frames", len(finished))
        done = sum(work[index] for index in finished)
        with self.stages.stage("frames", sum(work.values()), done) as bar:
            frames = bisection.frames(latents, finished)
            for made, frame in enumerate(frames, start=len(finished) + 1):
                self.folder.save(frame)
                bar.set_postfix_str(f"frame {made} of {len(work)}", refresh=False)
                bar.update(work[frame.info.index])

    def _along(self, learned: Inversion, pictures: Tensor) -> AlongMap:
        told = self.job, self.model, learned, self.poses, pictures
        if not self.job.matching.match:
            return along_map(*told)
        with self.stages.stage("matching the images"):
            return along_map(*told)

    def _conditioning(self, pictures: Tensor) -> Inversion:
        """The conditioning of the keyframes: learned now or before, or that of the prompt."""
        job, file = self.job, self.folder.conditioning
        if file.is_file():
            return load_inversion(file)[0]
        if not job.learning.steps:
            return learned_prompts(job, self.model, pictures)
        self.model.checkpointing(job.machine.checkpointing)
        with self.stages.stage("textual inversion", job.learning.steps) as bar:

            def show(_: int, loss: float) -> None:
                bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
                bar.update()

            learned = learned_prompts(job, self.model, pictures, show)
        save_inversion(file, learned, made_for(job))
        return learned

    def _write_outputs(self, made_earlier: int) -> File:
        folder = self.folder
        files = [folder.frame(index) for index in range(self.path.frames)]
        frames = self.known()
        with self.stages.stage("animation and page", 3) as bar:
            write_views(self.job, folder.path, files, frames, folder.strips(), bar.update)
        self.write_record(self.stages.seconds, made_earlier, frames)
        return folder.path / "index.html"


def _encode(model: DiffusersModel, keyframes: Tensor) -> Tensor:
    try:
        return model.encode(keyframes)
    except ValueError as error:
        raise ValueError(f"{error}; --size WIDTHxHEIGHT resizes them") from error
