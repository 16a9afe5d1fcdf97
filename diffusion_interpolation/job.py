"""The main job: pictures in, the frames between them and a slider page out."""

from __future__ import annotations

import hashlib
import logging
import math
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path as File
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from . import __version__, demo
from .bisection import Bisection, Scorer, Settings
from .conditioning_file import load_inversion, save_inversion
from .demo.networks import SIZE
from .diffusers_model import DiffusersModel
from .files import write_whole
from .guide import Guide
from .inversion import Inversion, InversionSettings, invert
from .page import write_page
from .path import Path, check_levels
from .pictures import (
    Fit,
    Placement,
    fit_keyframes,
    keyframe_png,
    read_picture,
    to_tensor,
    write_mp4,
    write_webp,
)
from .pose import Pose, load_poses, match_people
from .rerank import ClipPair, open_clip_pair, transformers_pair
from .run_folder import RunFolder

log = logging.getLogger(__name__)

EMBEDDED = "demo"
PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "pillow")


@dataclass(frozen=True)
class ModelChoice:
    """Which networks a job runs on, and how."""

    model: str = EMBEDDED
    config: str | None = None
    controlnet: str | None = None
    reranker: str | None = None
    reranker_architecture: str = "ViT-L-14-quickgelu"
    allow_download: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    steps: int = 50
    batch_size: int = 16

    def load(self) -> DiffusersModel:
        """The diffusion model. Raises `ValueError` for what cannot be read, or run here."""
        _check_device(self.device)
        options: dict[str, Any] = {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "device": self.device,
            "dtype": getattr(torch, self.dtype),
        }
        if self.model == EMBEDDED:
            return demo.load_model(self.controlnet == EMBEDDED, **options)
        if File(self.model).suffix == ".safetensors":
            if not self.config:
                raise ValueError(
                    f"config: got none, but {self.model} is a single file, which wants the folder "
                    "with the configurations and tokenizers of such a model"
                )
            return DiffusersModel.from_single_file(
                self.model, self.config, self.controlnet, self.allow_download, **options
            )
        return DiffusersModel.from_folder(
            self.model, self.controlnet, self.allow_download, **options
        )

    def load_reranker(self) -> ClipPair | None:
        """The CLIP that chooses among candidates, if there is one."""
        if self.reranker is None:
            return demo.reranker(self.device) if self.model == EMBEDDED else None
        place = File(self.reranker)
        if place.is_dir():
            return transformers_pair(place, self.device)
        return open_clip_pair(self.reranker_architecture, place, self.device)


@dataclass(frozen=True)
class Job:
    """Everything that a run needs to know. `size` is (width, height)."""

    images: list[File]
    out: File
    prompts: list[str]
    negative: str = ""
    frames: int = 17
    cfg: float = 7.5
    networks: ModelChoice = field(default_factory=ModelChoice)
    bisection: Settings = field(default_factory=Settings)
    inversion_steps: int = 100
    learning_rate: float = InversionSettings.learning_rate
    checkpointing: bool = False
    rerank_prompt: str = ""
    rerank_negative: str = ""
    poses: list[File] = field(default_factory=list)
    people: str = "largest"
    size: tuple[int, int] | None = None
    fit: Fit = "cover"
    fps: float = 12.0
    overwrite: bool = False

    def path(self) -> Path:
        """The path; raises `ValueError` for settings that cannot be run."""
        if len(self.images) < 2:
            raise ValueError(f"images: got {len(self.images)}, a path needs at least 2")
        inside = [image for image in self.images if self.out.resolve() in image.resolve().parents]
        if inside:
            raise ValueError(f"images: {inside[0]} lies in the output folder {self.out}")
        if self.frames < 3:
            raise ValueError(f"frames: got {self.frames}, want at least 3, the inputs among them")
        if len(self.prompts) not in (1, len(self.images)):
            raise ValueError(
                f"prompt: got {len(self.prompts)}, want 1 or as many as images ({len(self.images)})"
            )
        check_levels(self.bisection.highest, self.bisection.lowest)
        if self.bisection.candidates < 1:
            raise ValueError(f"candidates: got {self.bisection.candidates}, want at least 1")
        if self.poses and not self.networks.controlnet:
            raise ValueError("pose: got poses, but no --controlnet, which takes them")
        self._check_numbers()
        return Path.of(self.frames, len(self.images))

    def _check_numbers(self) -> None:
        for name, value in (
            ("cfg", self.cfg),
            ("fps", self.fps),
            ("learning rate", self.learning_rate),
        ):
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: got {value}, want a finite number above 0")
        if self.inversion_steps < 0:
            raise ValueError(f"inversion steps: got {self.inversion_steps}, want 0 or more")
        if not 0 <= self.bisection.seed < 2**63:
            raise ValueError(f"seed: got {self.bisection.seed}, want 0 or more, less than 2^63")

    def identity(self, keyframes: list[Image.Image], poses: _Poses | None) -> dict[str, Any]:
        """What two runs must share for one to go on where the other stopped."""
        networks = asdict(self.networks)
        for name in ("allow_download", "batch_size"):
            del networks[name]
        return {
            "version": __version__,
            "images": [image.name for image in self.images],
            "pixels": [_fingerprint(picture.tobytes()) for picture in keyframes],
            "size": keyframes[0].size,
            "frames": self.frames,
            "prompts": self.prompts,
            "negative": self.negative,
            "cfg": self.cfg,
            **networks,
            **asdict(self.bisection),
            "inversion_steps": self.inversion_steps,
            "learning_rate": self.learning_rate,
            "rerank_prompt": self.rerank_prompt,
            "rerank_negative": self.rerank_negative,
            "poses": poses.fingerprint() if poses else None,
        }


@dataclass(frozen=True)
class _Poses:
    """The people of every keyframe, in pixels of a picture of `size` (height, width)."""

    people: list[list[Pose]]
    size: tuple[int, int]

    def fingerprint(self) -> str:
        joints = [[pose.points.tolist() for pose in people] for people in self.people]
        return _fingerprint(repr(joints).encode())


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


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


class _Networks:
    """The networks of a job, loaded when first asked for."""

    def __init__(self, job: Job, stages: Stages) -> None:
        self.job, self.stages = job, stages

    @cached_property
    def model(self) -> DiffusersModel:
        with self.stages.stage("loading the model"):
            return self.job.networks.load()

    @cached_property
    def scorer(self) -> Scorer | None:
        """What ranks candidates; None, said aloud, where there is nothing to rank by."""
        job = self.job
        if job.bisection.candidates == 1:
            return None
        positives = [job.rerank_prompt] if job.rerank_prompt else job.prompts
        negative = job.rerank_negative or job.negative
        if not any(positives) and not negative:
            log.info("no prompt to rank candidates by: one candidate a frame")
            return None
        pair = job.networks.load_reranker()
        if pair is None:
            log.info("no --reranker: one candidate a frame")
            return None
        return pair.scorer(positives, negative)


def run(job: Job) -> File:
    """Make the frames of `job` and everything that shows them; returns the page.

    A folder with the finished part of the very same run is gone on with. Raises `ValueError` for
    what the user can mend.
    """
    path, stages = job.path(), Stages()
    networks = _Networks(job, stages)
    originals = [read_picture(image) for image in job.images]
    pictures = fit_keyframes(job.images, originals, job.size, job.fit)
    _check_size(job, pictures[0].size)
    poses = _read_poses(job, originals, pictures[0].size)
    folder = RunFolder(job.out, path.frames, job.identity(pictures, poses))
    if job.overwrite and networks.model:  # nothing is removed for a run that cannot begin
        folder.clear()
    folder.open()
    stages.seconds |= folder.seconds()
    for index, image, picture in zip(path.keyframes, job.images, pictures, strict=True):
        write_whole(folder.frame(index), keyframe_png(image, picture))
    finished = folder.finished()
    if len(finished) < path.frames - len(path.keyframes):
        try:
            _make_frames(job, path, folder, networks, to_tensor(pictures), poses, finished)
        finally:
            folder.write_record({"finished": False, "seconds": stages.seconds})
    return _write_outputs(job, path, folder, stages, made_earlier=len(finished))


def _check_device(name: str) -> None:
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {name} cannot be used ({reason})") from error


def _check_size(job: Job, size: tuple[int, int]) -> None:
    if job.networks.model == EMBEDDED and size != (SIZE, SIZE):
        raise ValueError(
            f"images: are {size[0]} x {size[1]}, but the embedded demo model draws puppets of "
            f"{SIZE} x {SIZE} only; give your own model with --model, or --size {SIZE}x{SIZE}"
        )


def _read_poses(job: Job, originals: list[Image.Image], size: tuple[int, int]) -> _Poses | None:
    """Poses of pictures fitted to `size` (width, height), one list of paired people a keyframe."""
    if not job.poses:
        return None
    poses, (height, width) = load_poses(job.poses)
    if len(poses) != len(originals):
        raise ValueError(f"pose: got {len(poses)} for {len(originals)} images, want one for each")
    people = []
    for original, persons in zip(originals, match_people(poses, job.people), strict=True):
        shares = [pose.scaled(1 / width, 1 / height) for pose in persons]
        placement = Placement.of(original.size, size, job.fit)
        people.append([pose.scaled(*original.size).scaled(*placement) for pose in shares])
    return _Poses(people, (size[1], size[0]))


def _make_frames(
    job: Job,
    path: Path,
    folder: RunFolder,
    networks: _Networks,
    keyframes: Tensor,
    poses: _Poses | None,
    finished: dict[int, Tensor],
) -> None:
    model, stages = networks.model, networks.stages
    latents = _encode(model, keyframes)
    learned = _conditioning(job, folder, stages, model, keyframes)
    guide = Guide(
        learned.positive,
        learned.negative,
        job.cfg,
        poses=poses and poses.people,
        pose_size=poses.size if poses else (0, 0),
    )
    bisection = Bisection(model, path, guide, job.bisection, networks.scorer)
    work = {slot.index: bisection.cost(slot) for slots in path.slots() for slot in slots}
    if finished:
        log.info("going on after %d finished frames", len(finished))
    done = sum(work[index] for index in finished)
    with stages.stage("frames", sum(work.values()), done) as bar:
        frames = bisection.frames(latents, finished)
        for made, frame in enumerate(frames, start=len(finished) + 1):
            folder.save(frame)
            bar.set_postfix_str(f"frame {made} of {len(work)}", refresh=False)
            bar.update(work[frame.index])


def _encode(model: DiffusersModel, keyframes: Tensor) -> Tensor:
    try:
        return model.encode(keyframes)
    except ValueError as error:
        raise ValueError(f"{error}; --size WIDTHxHEIGHT resizes them") from error


def _conditioning(
    job: Job, folder: RunFolder, stages: Stages, model: DiffusersModel, keyframes: Tensor
) -> Inversion:
    """The conditioning of the keyframes: learned now or before, or that of the prompt."""
    if folder.conditioning.is_file():
        return load_inversion(folder.conditioning)[0]
    positive, negative = model.encode_text(job.prompts), model.encode_text([job.negative])
    settings = InversionSettings(
        steps=job.inversion_steps,
        learning_rate=job.learning_rate,
        cfg=job.cfg,
        seed=job.bisection.seed,
    )
    if not job.inversion_steps:
        return Inversion(positive, negative, {})
    with stages.stage("textual inversion", job.inversion_steps) as bar:

        def show(_: int, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            bar.update()

        model.checkpointing(job.checkpointing)
        learned = invert(model, keyframes, positive, negative, settings, show)
    made_for = {"prompts": job.prompts, "negative": job.negative, "cfg": job.cfg}
    save_inversion(folder.conditioning, learned, {**made_for, "model": job.networks.model})
    return learned


def _write_outputs(
    job: Job, path: Path, folder: RunFolder, stages: Stages, made_earlier: int
) -> File:
    files = [folder.frame(index) for index in range(path.frames)]
    facts = [_facts(path, folder, index) for index in range(path.frames)]
    page = folder.path / "index.html"
    with stages.stage("animation and page", 3) as bar:
        write_webp(folder.path / "path.webp", files, job.fps)
        bar.update()
        write_mp4(folder.path / "path.mp4", files, job.fps)
        bar.update()
        write_page(
            page,
            files,
            _title(job),
            positions=[fact["position"] for fact in facts],
            prompts=job.prompts,
            settings=_shown_settings(job),
        )
    folder.write_record(
        {
            "finished": True,
            "seconds": stages.seconds,
            "frames_made_earlier": made_earlier,
            "versions": _versions(),
            "frames": facts,
        }
    )
    return page


def _facts(path: Path, folder: RunFolder, index: int) -> dict[str, Any]:
    if index in path.keyframes:
        return {"index": index, "position": path.keyframes.index(index), "keyframe": True}
    return {"index": index, **folder.facts(index)}


def _title(job: Job) -> str:
    return " → ".join(image.stem for image in job.images)


def _shown_settings(job: Job) -> dict[str, str]:
    s = job.bisection
    return {
        "negative prompt": job.negative,
        "model": job.networks.model,
        "frames": str(job.frames),
        "noise levels": f"{s.highest:g} to {s.lowest:g}, {s.curve}",
        "steps": str(job.networks.steps),
        "cfg": f"{job.cfg:g}",
        "inversion steps": str(job.inversion_steps),
        "candidates": str(s.candidates),
        "poses": "yes" if job.poses else "no",
        "seed": str(s.seed),
    }


def _versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"diffusion_interpolation": __version__, "python": platform.python_version(), **found}
