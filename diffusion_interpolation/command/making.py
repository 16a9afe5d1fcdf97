"""What a path of the command is made with: the same on one machine and on many."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path as File
from typing import Any

from torch import Tensor

from ..method.bisection import Bisection
from ..method.choice.candidates import THUMBNAIL
from ..method.frame_info import FrameInfo
from ..method.guide import Guide
from ..method.learning.inversion import Inversion, invert
from ..method.matching.anchors import pose_anchors
from ..method.matching.correspondence import match_keyframes
from ..method.matching.moved_neighbours import NO_MAP, AlongMap
from ..method.path import Path
from ..models.conditioning_file import MadeFor
from ..models.contract import Codec, LearnableModel
from ..pictures import write_mp4, write_webp
from ..poses.pose import Pose
from ..scoring.clip import ClipPair
from ..scoring.contract import Scorer
from ..scoring.likeness import likeness
from .job import Job
from .page import Picture, write_page

log = logging.getLogger(__name__)


def scorer_of(job: Job, codec: Codec, load: Callable[[], ClipPair | None]) -> Scorer | None:
    """Return what ranks candidates, or None if there is only one for each frame.

    Where there is no CLIP, or neither a positive nor a negative prompt for it, candidates are
    ranked by their likeness to their neighbours, by the latents of `codec`; or by nothing, where
    `smoothness_weight` is 0, and each frame has one candidate.
    """
    if job.frames.candidates == 1:
        return None
    positives = [job.text.rerank_prompt] if job.text.rerank_prompt else job.text.prompt
    negative = job.text.rerank_negative_prompt or job.text.negative_prompt
    if not any(positives) and not negative:
        return _likeness(job, codec, "no prompt to rank candidates by")
    pair = load()
    if pair is None:
        return _likeness(job, codec, "no --reranker")
    return pair.scorer(positives, negative)


def _likeness(job: Job, codec: Codec, reason: str) -> Scorer | None:
    found = likeness(job.frames, codec)
    so = "one candidate a frame" if found is None else "ranked by likeness to the neighbours"
    log.info("%s: %s", reason, so)
    return found


def learned_prompts(
    job: Job, model: Any, pictures: Tensor, on_step: Callable[[int, float], None] | None = None
) -> Inversion:
    """Return the prompts of the keyframes `(N, 3, h, w)`: learned, or as they are written."""
    text = job.text
    positive = model.encode_text(text.prompt)
    negative = model.encode_text([text.negative_prompt], negative=True)
    if not job.learning.steps:
        return Inversion(positive, negative, {})
    return invert(model, pictures, positive, negative, job.learning, on_step)


def made_for(job: Job) -> MadeFor:
    """Return what prompts were learned for, as their file says it."""
    return MadeFor(job.sampling.cfg, job.networks.model, job.text.prompt, job.text.negative_prompt)


def bisection_of(
    job: Job,
    model: LearnableModel,
    scorer: Scorer | None,
    learned: Inversion,
    poses: Sequence[list[Pose]] | None,
    size: tuple[int, int],
    along: AlongMap = NO_MAP,
) -> Bisection:
    """Return what makes the frames of a job from their neighbours; `size` is (width, height)."""
    guide = Guide(
        learned.positive,
        learned.negative,
        job.sampling.cfg,
        poses,
        size[::-1],
        job.poses.strength_at_keyframes,
        job.poses.strength_half_way,
        job.poses.pose_motion,
    )
    path = _path_of(job)
    return Bisection(model, path, guide, job.frames, scorer, thumbnail=THUMBNAIL, along=along)


def _path_of(job: Job) -> Path:
    return Path.of(job.output.frames, len(job.pictures.images))


def along_map(
    job: Job,
    model: Any,
    learned: Inversion,
    poses: Sequence[list[Pose]] | None,
    pictures: Tensor,
) -> AlongMap:
    """Return what is done along the map of the keyframes, if the job has `match`.

    `pictures` `(N, 3, h, w)` are the keyframes, and `poses` are the people in them, in pixels.
    """
    if not job.matching.match:
        return NO_MAP
    anchors = None if poses is None else pose_anchors(poses, tuple(pictures.shape[2:]))
    gaps = match_keyframes(model, learned.positive, pictures, anchors)
    for gap, ends in zip(gaps, pairwise(job.pictures.images), strict=True):
        if not len(gap):
            log.info("%s and %s have too little in common to be matched", *ends)
    return AlongMap.of(model, _path_of(job), gaps, pictures, job.frames.match_colors)


def write_views(
    job: Job,
    folder: File,
    files: Sequence[File],
    frames: Sequence[FrameInfo],
    strips: Sequence[Picture | None],
    on_file: Callable[[], Any] = lambda: None,
) -> None:
    """Write the animations and the page of a path whose pictures are `files`.

    `strips` show the candidates of each frame side by side, where there are several.
    """
    write_webp(folder / "path.webp", files, job.output.fps)
    on_file()
    write_mp4(folder / "path.mp4", files, job.output.fps)
    on_file()
    write_page(
        folder / "index.html",
        files,
        " → ".join(image.stem for image in job.pictures.images),
        frames=frames,
        strips=strips,
        prompts=job.text.prompt,
        settings=_shown_settings(job),
        autoplay=True,
    )


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
        "match": "yes" if job.matching.match else "no",
        "seed": str(s.seed),
    }
