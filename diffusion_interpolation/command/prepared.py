"""A job with its pictures and poses read, and the folder that it writes."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Collection
from importlib import metadata
from typing import Any

from PIL import Image

from .. import __version__
from ..demo.networks import SIZE
from ..files import write_whole
from ..method.frame_info import FrameInfo, planned
from ..pictures import Placement, fit_keyframes, keyframe_png, read_picture, to_tensor
from ..poses.detection import detect
from ..poses.format import pose_file, read_pictures
from ..poses.pose import Pose, match_people
from .job import EMBEDDED_MODELS, Job
from .networks import load_find, resolved
from .run_folder import RunFolder

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "pillow")


class Prepared:
    """The keyframes of a job in their size, the paired people in them, and the job's folder.

    Raises `ValueError` for what the user can mend.
    """

    def __init__(self, job: Job) -> None:
        self.path = job.path()
        # before anything is compared with an earlier run, whose model may have changed on the hub
        self.job = job = resolved(job)
        given = job.pictures
        originals = [read_picture(image) for image in given.images]
        self.pictures = fit_keyframes(given.images, originals, given.size, given.fit)
        self.size = self.pictures[0].size
        _check_size(job, self.size)
        self.poses = self._people(originals)
        self.folder = RunFolder(job.output.out, self.path.frames, self._identity())

    def _people(self, originals: list[Image.Image]) -> list[list[Pose]] | None:
        """The paired people of every keyframe in its pixels, if there are any."""
        people = self.job.people
        if not people.pose:
            return None
        if people.detected:
            posed = detect(to_tensor(self.pictures), load_find(self.job))
        else:
            posed = _read_poses(self.job, originals, self.size)
        return match_people(posed, people.people, people.pairing, people.fill_joints)

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

    def open(self) -> None:
        """Make the folder, or continue with it (`RunFolder.open`), and write the keyframes.

        What another run has made there goes before, where that is wanted.
        """
        if self.job.output.overwrite:
            self.folder.clear()
        self.folder.open()
        named = zip(self.path.keyframes, self.job.pictures.images, self.pictures, strict=True)
        for index, image, picture in named:
            write_whole(self.folder.frame(index), keyframe_png(image, picture))

    def missing(self, finished: Collection[int]) -> int:
        """Return the number of frames that are still to be made, besides those `finished`."""
        return self.path.frames - len(self.path.keyframes) - len(finished)

    def known(self) -> list[FrameInfo]:
        """Return what is known of all frames once they are made; there is no more of keyframes."""
        return [
            self.folder.info(frame.index) if frame.parents else frame
            for frame in planned(self.path)
        ]

    def write_record(
        self, seconds: dict[str, float], made_earlier: int, frames: list[FrameInfo]
    ) -> None:
        """Write `path.json` of a finished path."""
        self.folder.write_record(
            {
                "finished": True,
                "seconds": seconds,
                "frames_made_earlier": made_earlier,
                "versions": _versions(),
                "frames": [frame.to_json() for frame in frames],
            }
        )


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _check_size(job: Job, size: tuple[int, int]) -> None:
    if job.networks.model in EMBEDDED_MODELS and size != (SIZE, SIZE):
        raise ValueError(
            f"images: are {size[0]} x {size[1]}, but the embedded models draw puppets of "
            f"{SIZE} x {SIZE} only; give your own model with --model, or --size {SIZE}x{SIZE}"
        )


def _read_poses(job: Job, originals: list[Image.Image], size: tuple[int, int]) -> list[list[Pose]]:
    """The people that files say are in every keyframe, in pixels of pictures fitted to `size`."""
    pictures = read_pictures([entry for file in job.people.pose for entry in pose_file(file)])
    if len(pictures) != len(originals):
        raise ValueError(
            f"pose: got {len(pictures)} for {len(originals)} images, needs one for each"
        )
    posed = []
    for number, (original, picture) in enumerate(zip(originals, pictures, strict=True)):
        placement = Placement.of(original.size, size, job.pictures.fit)
        poses = picture.on((original.height, original.width), number)
        posed.append([pose.scaled(*placement) for pose in poses])
    return posed


def _versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"diffusion_interpolation": __version__, "python": platform.python_version(), **found}
