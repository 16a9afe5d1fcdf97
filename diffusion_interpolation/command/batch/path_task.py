"""Makes one path in an actor, or in several, and sends back what is finished, piece by piece."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ...method.frame_info import FrameInfo
from ...models.conditioning_file import load_inversion, save_inversion
from ...models.ray_model import RayModel
from ...pictures import to_tensor
from ...poses.pose import Pose
from ...scoring.clip import ClipPair
from ..job import Job
from ..making import (
    along_map,
    bisection_of,
    learned_prompts,
    made_for,
    scorer_of,
    write_views,
)
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
        self._job = job
        self.model = load_model(job)
        self.model.checkpointing(job.machine.checkpointing)

    @cached_property
    def pair(self) -> ClipPair | None:
        return load_reranker(self._job)


@dataclass(frozen=True)
class Work:
    """What is needed to make a path, or what is left of one: `finished` latents by number."""

    job: Job
    pictures: Sequence[Image.Image]
    poses: Sequence[list[Pose]] | None
    size: tuple[int, int]
    finished: Mapping[int, Tensor]
    conditioning: bytes | None


@dataclass(frozen=True)
class Piece:
    """Something that is finished: learned prompts, a frame, or a step that leads to them.

    `share` is the part of the path's work that is done; `files` are to be written.
    """

    share: float = 0.0
    index: int | None = None
    files: tuple[bytes, ...] = ()


def make_path(
    held: Callable[[Networks], LoadedNetworks], work: Work, others: Sequence[Any]
) -> Iterator[Piece]:
    """Yield the pieces of a path as soon as they are finished.

    It runs in an actor, whose networks `held` gives. The actors `others` get a part of its batches.
    """
    networks, pictures = Networks(work.job), to_tensor(work.pictures)
    here = held(networks)
    yield Piece()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "conditioning.safetensors"
        if work.conditioning is None:
            learned = learned_prompts(work.job, here.model, pictures)
            if work.job.learning.steps:
                save_inversion(file, learned, made_for(work.job))
                yield Piece(files=(file.read_bytes(),))
        else:
            file.write_bytes(work.conditioning)
            learned = load_inversion(file)[0]
    model = RayModel(here, others, networks)
    scorer = scorer_of(work.job, model, lambda: _pair(here, model))
    along = along_map(work.job, model, learned, work.poses, pictures)
    bisection = bisection_of(work.job, model, scorer, learned, work.poses, work.size, along)
    slots = {slot.index: slot for slots in bisection.path.slots() for slot in slots}
    costs = {index: bisection.evaluations(slot) for index, slot in slots.items()}
    done = sum(costs[index] for index in work.finished)
    for frame in bisection.frames(model.encode(pictures), work.finished):
        done += costs[frame.info.index]
        yield Piece(done / sum(costs.values()), frame.info.index, encoded(frame))


def _pair(here: LoadedNetworks, model: RayModel) -> ClipPair | None:
    """The reranker, which all actors share the pictures for."""
    if here.pair is None:
        return None
    embed = partial(model.by_rows, "pair.embed_pictures")
    return ClipPair(embed, here.pair.embed_texts)


def make_views(
    job: Job,
    pictures: Sequence[bytes],
    frames: Sequence[FrameInfo],
    strips: Sequence[bytes | None],
) -> list[bytes]:
    """Return the contents of `path.webp`, `path.mp4` and `index.html`, in the order of `OUTPUTS`.

    `pictures` are the PNG files of all frames in order, and `frames` is what is known of each.
    `strips` are pictures of each frame's candidates side by side, or None where there is one.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"{index}.png" for index in range(len(pictures))]
        for file, content in zip(files, pictures, strict=True):
            file.write_bytes(content)
        write_views(job, folder, files, frames, strips)
        return [(folder / output).read_bytes() for output in OUTPUTS]
