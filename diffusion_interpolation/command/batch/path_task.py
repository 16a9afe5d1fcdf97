"""Makes one path on some of the actors, and sends back what is finished, piece by piece."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...method.frame_info import FrameInfo
from ...models.conditioning_file import load_inversion, save_inversion
from ...models.ray_model import RayModel
from ...poses.pose import Pose
from ...scoring.clip import ClipPair
from ..job import Job
from ..making import bisection_of, learned_prompts, made_for, scorer_of, write_views
from ..networks import load_model, load_reranker
from ..run_folder import OUTPUTS, encoded


@dataclass(frozen=True)
class Networks:
    """Loads the networks of a job. Those of jobs that want the same ones are equal."""

    job: Job

    def __call__(self) -> LoadedNetworks:
        """Return the networks, on the device of the actor."""
        return LoadedNetworks(self.job)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Networks) and self._wanted == other._wanted

    def __hash__(self) -> int:
        return hash(self._wanted)

    @property
    def _wanted(self) -> tuple[Any, ...]:
        job = self.job
        return job.networks, job.machine, job.sampling.steps, bool(job.people.pose)


class LoadedNetworks:
    """The networks of a job in an actor's memory; the reranker once it is needed."""

    def __init__(self, job: Job) -> None:
        self._job, self._pair = job, None
        self.model = load_model(job)
        self.model.checkpointing(job.machine.checkpointing)

    @property
    def pair(self) -> ClipPair:
        if self._pair is None:
            self._pair = load_reranker(self._job)
        return self._pair

    def has_pair(self) -> bool:
        return self.pair is not None


@dataclass(frozen=True)
class Work:
    """What is needed to make a path, or what is left of one: `finished` latents by number."""

    job: Job
    pictures: Tensor
    poses: Sequence[list[Pose]] | None
    size: tuple[int, int]
    finished: Mapping[int, Tensor]
    conditioning: bytes | None


@dataclass(frozen=True)
class Piece:
    """Something that is finished: learned prompts, a frame, or a step that leads to them.

    `share` is the part of the path's work that is done; `files` are to be written.
    """

    stage: str
    share: float
    seconds: float
    index: int | None = None
    files: tuple[bytes, ...] = ()


def make_path(work: Work, workers: Sequence[Any]) -> Iterator[Piece]:
    """Yield the pieces of a path as soon as they are finished."""
    begun, networks = time.perf_counter(), Networks(work.job)
    # on one actor, so that a step of learning is the same on any number of them
    alone, model = RayModel(workers[:1], networks), RayModel(workers, networks)
    yield Piece("model", 0, time.perf_counter() - begun)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "conditioning.safetensors"
        if work.conditioning is None:
            learned = learned_prompts(work.job, alone, work.pictures)
            if work.job.learning.steps:
                save_inversion(file, learned, made_for(work.job))
                content = (file.read_bytes(),)
                yield Piece("prompts", 0, time.perf_counter() - begun, files=content)
        else:
            file.write_bytes(work.conditioning)
            learned = load_inversion(file)[0]
    scorer = scorer_of(work.job, lambda: _pair(model))
    bisection = bisection_of(work.job, model, scorer, learned, work.poses, work.size)
    slots = {slot.index: slot for slots in bisection.path.slots() for slot in slots}
    costs = {index: bisection.evaluations(slot) for index, slot in slots.items()}
    done = sum(costs[index] for index in work.finished)
    for frame in bisection.frames(model.encode(work.pictures), work.finished):
        done += costs[frame.info.index]
        passed = time.perf_counter() - begun
        share = done / sum(costs.values())
        yield Piece("frames", share, passed, frame.info.index, encoded(frame))


def _pair(model: RayModel) -> ClipPair | None:
    """The reranker of the actors, which share its pictures."""
    if not model.ask("has_pair"):
        return None
    return ClipPair(
        lambda pictures: model.by_rows("pair.embed_pictures", pictures),
        lambda texts: model.ask("pair.embed_texts", texts),
    )


def make_views(job: Job, pictures: Sequence[bytes], frames: Sequence[FrameInfo]) -> list[bytes]:
    """Return the files of `OUTPUTS` for a path with these pictures, as their files hold them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"{index}.png" for index in range(len(pictures))]
        for file, content in zip(files, pictures, strict=True):
            file.write_bytes(content)
        write_views(job, folder, files, frames)
        return [(folder / output).read_bytes() for output in OUTPUTS]
