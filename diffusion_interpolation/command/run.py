"""The main job: pictures in, the frames between them and a slider page out."""

from __future__ import annotations

import hashlib
import logging
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import metadata
from pathlib import Path as File
from typing import Any

from PIL import Image
from torch import Tensor
from tqdm import tqdm

from .. import __version__
from ..demo.networks import SIZE
from ..files import write_whole
from ..method.bisection import Bisection
from ..method.frame_info import FrameInfo, planned
from ..method.guide import Guide
from ..method.learning.inversion import Inversion, invert
from ..models.conditioning_file import MadeFor, load_inversion, save_inversion
from ..models.diffusers.model import DiffusersModel
from ..pictures import (
    Placement,
    fit_keyframes,
    keyframe_png,
    read_picture,
    to_tensor,
    write_mp4,
    write_webp,
)
from ..poses.format import pose_file, read_pictures
from ..poses.pose import Pose, match_people
from ..scoring.contract import Scorer
from .job import EMBEDDED_MODELS, Job
from .networks import load_model, load_reranker, resolved
from .page import write_page
from .run_folder import RunFolder

log = logging.getLogger(__name__)

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "pillow")


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
        """A bar from `done` to `total`, whatever they count."""
        begun = time.perf_counter()
        form = "{desc:<22} {percentage:3.0f}% |{bar:30}| {elapsed}, {remaining} left{postfix}"
        try:
            with tqdm(total=total, initial=done, desc=name, bar_format=form) as bar:
                yield bar
                bar.update(bar.total - bar.n)
        finally:
            seconds = self.seconds.get(name, 0) + time.perf_counter() - begun
            self.seconds[name] = round(seconds, 2)


class _Run:
    """A job under way: its keyframes, its folder, and its networks once they are needed."""

    def __init__(self, job: Job) -> None:
        self.path, self.stages = job.path(), Stages()
        # before anything is compared with an earlier run, whose model may have changed on the hub
        self.job = job = resolved(job)
        given = job.pictures
        originals = [read_picture(image) for image in given.images]
        self.pictures = fit_keyframes(given.images, originals, given.size, given.fit)
        self.size = self.pictures[0].size
        _check_size(job, self.size)
        self.poses = _read_poses(job, originals, self.size)
        self.folder = RunFolder(job.output.out, self.path.frames, self._identity())

    def _identity(self) -> dict[str, Any]:
        """What must be equal in two runs, so that one can continue where the other stopped."""
        joints = self.poses and [[pose.points.tolist() for pose in p] for p in self.poses]
        return {
            "version": __version__,
            **self.job.identity(),
            "size": self.size,
            "pixels": [_fingerprint(picture.tobytes()) for picture in self.pictures],
            "poses": joints and _fingerprint(repr(joints).encode()),
        }

    @cached_property
    def model(self) -> DiffusersModel:
        with self.stages.stage("loading the model"):
            return load_model(self.job)

    @cached_property
    def scorer(self) -> Scorer | None:
        """What ranks candidates; None, said aloud, where there is nothing to rank by."""
        job = self.job
        if job.frames.candidates == 1:
            return None
        positives = [job.text.rerank_prompt] if job.text.rerank_prompt else job.text.prompt
        negative = job.text.rerank_negative_prompt or job.text.negative_prompt
        if not any(positives) and not negative:
            log.info("no prompt to rank candidates by: one candidate a frame")
            return None
        pair = load_reranker(job)
        if pair is None:
            log.info("no --reranker: one candidate a frame")
            return None
        return pair.scorer(positives, negative)

    def make(self) -> File:
        """Make what is not made yet; returns the page."""
        self._open_folder()
        finished = self.folder.latents()
        if len(finished) < self.path.frames - len(self.path.keyframes):
            try:
                self._make_frames(finished)
            finally:
                self.folder.write_record({"finished": False, "seconds": self.stages.seconds})
        return self._write_outputs(made_earlier=len(finished))

    def _open_folder(self) -> None:
        if self.job.output.overwrite:
            # nothing is removed for a run that cannot begin
            _ = self.model, self.scorer
            self.folder.clear()
        self.folder.open()
        self.stages.seconds |= self.folder.seconds()
        named = zip(self.path.keyframes, self.job.pictures.images, self.pictures, strict=True)
        for index, image, picture in named:
            write_whole(self.folder.frame(index), keyframe_png(image, picture))

    def _make_frames(self, finished: dict[int, Tensor]) -> None:
        model, scorer, pictures = self.model, self.scorer, to_tensor(self.pictures)
        latents = _encode(model, pictures)
        learned = self._conditioning(pictures)
        guide = Guide(
            learned.positive,
            learned.negative,
            self.job.sampling.cfg,
            self.poses,
            (self.size[1], self.size[0]),
            self.job.poses.strength_at_keyframes,
            self.job.poses.strength_half_way,
            self.job.poses.pose_motion,
        )
        bisection = Bisection(model, self.path, guide, self.job.frames, scorer)
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

    def _conditioning(self, pictures: Tensor) -> Inversion:
        """The conditioning of the keyframes: learned now or before, or that of the prompt."""
        job, text, file = self.job, self.job.text, self.folder.conditioning
        if file.is_file():
            return load_inversion(file)[0]
        positive = self.model.encode_text(text.prompt)
        negative = self.model.encode_text([text.negative_prompt], negative=True)
        if not job.learning.steps:
            return Inversion(positive, negative, {})
        self.model.checkpointing(job.machine.checkpointing)
        with self.stages.stage("textual inversion", job.learning.steps) as bar:

            def show(_: int, loss: float) -> None:
                bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
                bar.update()

            learned = invert(self.model, pictures, positive, negative, job.learning, show)
        made_for = job.sampling.cfg, job.networks.model, text.prompt, text.negative_prompt
        save_inversion(file, learned, MadeFor(*made_for))
        return learned

    def _write_outputs(self, made_earlier: int) -> File:
        folder, fps = self.folder, self.job.output.fps
        files = [folder.frame(index) for index in range(self.path.frames)]
        frames = [self._known(frame) for frame in planned(self.path)]
        with self.stages.stage("animation and page", 3) as bar:
            write_webp(folder.path / "path.webp", files, fps)
            bar.update()
            write_mp4(folder.path / "path.mp4", files, fps)
            bar.update()
            write_page(
                folder.path / "index.html",
                files,
                " → ".join(image.stem for image in self.job.pictures.images),
                frames=frames,
                prompts=self.job.text.prompt,
                settings=_shown_settings(self.job),
            )
        folder.write_record(
            {
                "finished": True,
                "seconds": self.stages.seconds,
                "frames_made_earlier": made_earlier,
                "versions": _versions(),
                "frames": [frame.to_json() for frame in frames],
            }
        )
        return folder.path / "index.html"

    def _known(self, frame: FrameInfo) -> FrameInfo:
        """Return what is known of a finished frame; there is no more of keyframes."""
        return self.folder.info(frame.index) if frame.parents else frame


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _check_size(job: Job, size: tuple[int, int]) -> None:
    if job.networks.model in EMBEDDED_MODELS and size != (SIZE, SIZE):
        raise ValueError(
            f"images: are {size[0]} x {size[1]}, but the embedded models draw puppets of "
            f"{SIZE} x {SIZE} only; give your own model with --model, or --size {SIZE}x{SIZE}"
        )


def _read_poses(
    job: Job, originals: list[Image.Image], size: tuple[int, int]
) -> list[list[Pose]] | None:
    """The paired people of every keyframe, in pixels of pictures fitted to `size`."""
    people = job.people
    if not people.pose:
        return None
    pictures = read_pictures([entry for file in people.pose for entry in pose_file(file)])
    if len(pictures) != len(originals):
        raise ValueError(
            f"pose: got {len(pictures)} for {len(originals)} images, needs one for each"
        )
    posed = []
    for number, (original, picture) in enumerate(zip(originals, pictures, strict=True)):
        placement = Placement.of(original.size, size, job.pictures.fit)
        poses = picture.on((original.height, original.width), number)
        posed.append([pose.scaled(*placement) for pose in poses])
    return match_people(posed, people.people, people.pairing, people.fill_joints)


def _encode(model: DiffusersModel, keyframes: Tensor) -> Tensor:
    try:
        return model.encode(keyframes)
    except ValueError as error:
        raise ValueError(f"{error}; --size WIDTHxHEIGHT resizes them") from error


def _shown_settings(job: Job) -> dict[str, str]:
    s = job.frames
    return {
        "negative prompt": job.text.negative_prompt,
        "model": job.networks.model,
        "frames": str(job.output.frames),
        "denoise": f"{s.max_denoise:g} to {s.min_denoise:g}, {s.denoise_curve}",
        "steps": str(job.sampling.steps),
        "cfg": f"{job.sampling.cfg:g}",
        "inversion steps": str(job.learning.steps),
        "candidates": str(s.candidates),
        "poses": "yes" if job.people.pose else "no",
        "seed": str(s.seed),
    }


def _versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"diffusion_interpolation": __version__, "python": platform.python_version(), **found}
