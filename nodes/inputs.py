"""Inputs that several nodes share: their schema, and how they are read and checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import comfy.samplers
from comfy_api.latest import io
from torch import Tensor

from ..diffusion_interpolation.finite import check_finite
from ..diffusion_interpolation.method.guide import Guide
from ..diffusion_interpolation.models.contract import PromptEmbeddings
from ..diffusion_interpolation.poses.format import are_paired, read_poses
from ..diffusion_interpolation.poses.pose import match_people
from ..diffusion_interpolation.settings import PoseSettings
from .comfy.conditioning import Conditioning, check_rows, count_rows, read_conditioning
from .images import OTHER_VAE, to_rgb
from .types import PoseKeypoint


def position_input(tooltip: str) -> io.Float.Input:
    """A place on the path, in keyframes."""
    return io.Float.Input(
        "position",
        default=0.5,
        min=0.0,
        max=10000.0,
        step=0.01,
        round=0.000001,
        tooltip=tooltip,
    )


def positive_input() -> io.Conditioning.Input:
    return io.Conditioning.Input(
        "positive",
        tooltip="The prompt. Connect one prompt that fits all keyframes, or one for each keyframe, "
        "from Textual Invert, Keyframe Conditioning or CLIP Text Encode.",
    )


def negative_input() -> io.Conditioning.Input:
    return io.Conditioning.Input(
        "negative",
        optional=True,
        tooltip="What the frames should not look like. It is the same for all frames. At cfg 1 it "
        "is not needed.",
    )


def scheduler_input() -> io.Combo.Input:
    """The noise schedule. Euler on `ddim_uniform` is DDIM at eta 0, the paper's sampler."""
    return io.Combo.Input(
        "scheduler",
        options=comfy.samplers.SCHEDULER_NAMES,
        default="ddim_uniform",
        tooltip="How the sampler's steps are spread between pure noise and the finished picture. "
        "ddim_uniform is the paper's choice.",
    )


def pose_inputs() -> list[io.Input]:
    """Return the inputs that poses come by."""
    return [
        io.ControlNet.Input(
            "control_net",
            optional=True,
            tooltip="An OpenPose ControlNet of the model's family. With it, people move from one "
            "pose to the next instead of melting. It needs the input poses.",
        ),
        PoseKeypoint.Input(
            "poses",
            optional=True,
            tooltip="A pose for every keyframe, from Pose Extract, DWPose or an OpenPose editor.",
        ),
    ]


class PoseOptions(NamedTuple):
    """What `pose_inputs` give, and the options of poses."""

    control_net: Any = None
    poses: Any = None
    settings: PoseSettings = PoseSettings()
    size: tuple[int, int] | None = None
    """Height and width of the keyframes, which the poses are fitted to."""


class Prompts(NamedTuple):
    """A guide, and what the two CONDITIONINGs hold in addition to their states."""

    guide: Guide
    positive: dict[str, Any]
    negative: dict[str, Any]


def read_prompts(
    positive: Conditioning,
    negative: Conditioning | None,
    cfg: float,
    keyframes: int | None,
    pose: PoseOptions | None = None,
) -> Prompts:
    """The guide of `keyframes`, or of as many as there are rows where that is None.

    Raises `ValueError` for rows or poses that do not match the keyframes, a negative that is missed
    and poses without a ControlNet, or the reverse, and for other tensors than the prompt that have
    several rows but not one for each keyframe.
    """
    pose = pose or PoseOptions()
    text, rest = read_conditioning("positive", positive)
    _check_text("positive", text)
    if keyframes is not None and len(text) not in (1, keyframes):
        raise ValueError(
            f"positive: got {len(text)} rows for {keyframes} keyframes, needs 1 or {keyframes}"
        )
    if negative is None and cfg != 1:
        raise ValueError(
            f"negative: got none at cfg {cfg:g}, needs one; at cfg 1 the model does without"
        )
    away, away_rest = read_conditioning("negative", negative or positive)
    _check_text("negative", away)
    if len(away) != 1 and negative is not None:
        raise ValueError(f"negative: got {len(away)} rows, needs 1: it is the same everywhere")
    count = keyframes or _count_keyframes(text, [rest, away_rest])
    for name, held in (("positive", rest), ("negative", away_rest)):
        check_rows(name, held, count)
    people, size = _read_poses(pose, keyframes or len(text))
    guide = Guide(
        text,
        away.rows([0]),
        cfg,
        people,
        size,
        pose.settings.strength_at_keyframes,
        pose.settings.strength_half_way,
        pose.settings.pose_motion,
    )
    return Prompts(guide, rest, away_rest)


def _count_keyframes(text: PromptEmbeddings, rests: list[dict[str, Any]]) -> int:
    """How many keyframes a conditioning speaks of, where there are no pictures to count."""
    return len(text) if len(text) > 1 else max(map(count_rows, rests))


def _check_text(name: str, text: PromptEmbeddings) -> None:
    for tensor in (text.embeddings, text.pooled):
        if tensor is not None:
            check_finite(name, tensor, "if a text encoder made it, --fp32-text-enc may help")


def _read_poses(pose: PoseOptions, keyframes: int) -> tuple[Any, tuple[int, int]]:
    """The paired people of every keyframe and their (height, width), or None and zeros."""
    if pose.poses is None and pose.control_net is None:
        return None, (0, 0)
    if pose.control_net is None:
        raise ValueError("control_net: got none, but poses, which need an OpenPose ControlNet")
    if pose.poses is None:
        raise ValueError("poses: got none, but a control_net, which needs one for every keyframe")
    people, size = read_poses(pose.poses, pose.size)
    if len(people) not in (keyframes, 1) and keyframes > 1:
        raise ValueError(f"poses: got {len(people)} for {keyframes} keyframes, needs one for each")
    # an editor may have changed their number since
    paired = are_paired(pose.poses) and len(set(map(len, people))) == 1
    return people if paired else match_people(people, "all"), size


def check_latents(name: str, latents: Tensor) -> None:
    """Raise `ValueError` for no latents, or such that are not finite, whatever made them."""
    # newer hosts put pictures and sound side by side in an object of their own
    if not isinstance(latents, Tensor):
        raise ValueError(f"{name}: got a latent of several parts, needs one of pictures alone")
    if not len(latents):
        raise ValueError(f"{name}: got an empty batch, needs at least 1 latent")
    check_finite(name, latents, f"if a VAE made them, {OTHER_VAE}; if a sampler did, lower its cfg")


def read_keyframes(images: Tensor, vae: Any) -> Tensor:
    """Pictures `(N, 3, h, w)` of an IMAGE `(N, h, w, c)`.

    Raises `ValueError` for what is no picture, for one alone, for sides that `vae` would crop (the
    inputs are the end frames), and where a checkpoint came without a VAE.
    """
    if vae is None:
        raise ValueError(
            "vae: got none (the checkpoint has none inside), needs one; Load VAE reads a VAE file"
        )
    pictures = to_rgb("keyframes", images)
    if len(images) < 2:
        raise ValueError(
            f"keyframes: got {len(images)} picture, needs at least 2; Batch Images joins them"
        )
    unit = vae.spacial_compression_encode()
    height, width = pictures.shape[2:]
    if height % unit or width % unit:
        raise ValueError(
            f"keyframes: got {width} x {height} pixels, both sides must be multiples of {unit}; "
            "Upscale Image resizes them"
        )
    return pictures
