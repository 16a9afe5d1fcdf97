"""Reads prompts and poses of the keyframes, and checks them against each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from ...diffusion_interpolation.finite import check_finite
from ...diffusion_interpolation.method.guide import Guide
from ...diffusion_interpolation.models.prompts import (
    KeyframePrompts,
    PromptEmbeddings,
    Prompts,
    check_keyframes,
)
from ...diffusion_interpolation.poses.format import are_paired, read_poses
from ...diffusion_interpolation.poses.pose import match_people
from ...diffusion_interpolation.settings import PoseSettings
from .conditioning import Conditioning, Places, check_rows, count_rows, read_conditioning


class PoseOptions(NamedTuple):
    """What `pose_inputs` give, and the options of poses."""

    control_net: Any = None
    poses: Any = None
    settings: PoseSettings = PoseSettings()
    size: tuple[int, int] | None = None
    """Height and width of the keyframes, which the poses are fitted to."""


def read_prompts(
    positive: Conditioning,
    negative: Conditioning | None,
    cfg: float,
    keyframes: int | None,
    pose: PoseOptions | None = None,
) -> Guide:
    """The guide of `keyframes`, or of as many as there are rows where that is None.

    Raises `ValueError` for rows or poses that do not match the keyframes, a negative that is missed
    and poses without a ControlNet, or the reverse, and for other tensors than the prompt that have
    several rows but not one for each keyframe.
    """
    pose = pose or PoseOptions()
    text = read_conditioning("positive", positive)
    if keyframes is not None:
        check_keyframes(text, keyframes)
    if negative is None and cfg != 1:
        raise ValueError(
            f"negative: got none at cfg {cfg:g}, needs one; at cfg 1 the model does without"
        )
    away = text if negative is None else read_conditioning("negative", negative)
    if len(away) != 1 and negative is not None:
        raise ValueError(f"negative: got {len(away)} rows, needs 1: it is the same everywhere")
    away = away.parts[0].rows([0])
    named = [*(("positive", part) for part in text.parts), ("negative", away)]
    count = keyframes or _count_keyframes(text, [part for _, part in named])
    for name, part in named:
        _check_text(name, part)
        check_rows(name, part.extras, count)
    people, size = poses_of(pose, keyframes or len(text))
    return Guide(
        text,
        away,
        cfg,
        people,
        size,
        pose.settings.strength_at_keyframes,
        pose.settings.strength_half_way,
        pose.settings.pose_motion,
    )


def closed(guide: Guide, keyframes: int) -> Guide:
    """Return the guide of a path that goes on from the last of `keyframes` to the first again."""
    places = Places([*range(keyframes), 0])
    positive = guide.positive.map_extras(places.rest)
    if isinstance(positive, KeyframePrompts):
        positive = KeyframePrompts((*positive.parts, positive.parts[0].rows([0])))
    else:
        positive = positive.rows([*range(keyframes), 0])
    poses = guide.poses
    if poses is not None and len(poses) == keyframes:
        poses = [*poses, poses[0]]
    negative = guide.negative.map_extras(places.rest)
    return replace(guide, positive=positive, negative=negative, poses=poses)


def _count_keyframes(text: Prompts, parts: list[PromptEmbeddings]) -> int:
    """How many keyframes a conditioning speaks of, where there are no pictures to count."""
    return len(text) if len(text) > 1 else max(count_rows(part.extras) for part in parts)


def _check_text(name: str, text: PromptEmbeddings) -> None:
    for tensor in text.tensors():
        check_finite(name, tensor, "if a text encoder made it, --fp32-text-enc may help")


def poses_of(pose: PoseOptions, keyframes: int, counted: str = "") -> tuple[Any, tuple[int, int]]:
    """Return the paired people of every keyframe and their (height, width), or None and zeros.

    `counted` says where the keyframes come from. Raises `ValueError` for poses without a
    ControlNet, or the reverse, and for another number.
    """
    if pose.poses is None and pose.control_net is None:
        return None, (0, 0)
    if pose.control_net is None:
        raise ValueError("control_net: got none, but poses, which need an OpenPose ControlNet")
    if pose.poses is None:
        raise ValueError("poses: got none, but a control_net, which needs one for every keyframe")
    people, size = read_poses(pose.poses, pose.size)
    if len(people) not in (keyframes, 1) and keyframes > 1:
        raise ValueError(
            f"poses: got {len(people)} for {keyframes} keyframes{counted}, needs one for each"
        )
    return paired(pose.poses, people), size


def paired(poses: Any, people: list[Any]) -> list[Any]:
    """Return the `people` of each keyframe that were read from `poses`, in pairs."""
    # an editor may have changed their number since they were paired
    kept = are_paired(poses) and len(set(map(len, people))) == 1
    return people if kept else match_people(people, "all")
