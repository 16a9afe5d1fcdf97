"""The node that finds what is where in neighbouring keyframes."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..diffusion_interpolation.charts.arrows import draw_correspondence
from ..diffusion_interpolation.method.matching.anchors import (
    Anchors,
    joined,
    pose_anchors,
    read_anchors,
)
from ..diffusion_interpolation.method.matching.correspondence import (
    TRUST,
    Correspondence,
    correspondences,
)
from ..diffusion_interpolation.method.matching.features import FeatureExtractor, of_model
from ..diffusion_interpolation.method.path import gaps_between
from ..diffusion_interpolation.models.prompts import check_keyframes
from ..diffusion_interpolation.poses.format import read_poses
from .comfy.conditioning import Conditioning, read_conditioning
from .comfy.features import ComfyFeatures, vision_features
from .comfy.prompts import paired
from .common.inputs import found_by
from .common.keyframes import check_vae, cropped, keyframe_pictures
from .common.types import CATEGORY, CorrespondenceType, PoseKeypoint


class MatchKeyframes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MatchKeyframes",
            display_name="Match Keyframes",
            category=CATEGORY,
            description="Pairs places that show the same thing in a keyframe and in the next one, "
            "and draws arrows between them. Connect a model, a clip_vision or poses, or type "
            "anchors. Frames that are made with this map move things instead of fading them over.",
            **found_by("optical flow", "correspondence", "warp", "morph"),
            inputs=[
                io.Image.Input(
                    "keyframes", tooltip="The keyframes as one batch, as for Frame Bisector."
                ),
                *_feature_inputs(),
                *_anchor_inputs(),
                io.Boolean.Input(
                    "loop",
                    default=False,
                    optional=True,
                    tooltip="Whether the path goes on from the last keyframe to the first. Turn it "
                    "on where loop of Frame Bisector is on. The map then has one more gap.",
                ),
            ],
            outputs=[
                CorrespondenceType.Output(
                    "correspondence",
                    display_name="correspondence",
                    tooltip="The map between each keyframe and the next one.",
                ),
                io.Image.Output(
                    "arrows",
                    display_name="arrows",
                    tooltip="A picture of each map: both keyframes under arrows from the first to "
                    "the second. Points that you gave, and those of poses, are blue.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        keyframes: Tensor,
        model: Any = None,
        vae: Any = None,
        positive: Conditioning | None = None,
        clip_vision: Any = None,
        poses: Any = None,
        anchors: str = "",
        loop: bool = False,
    ) -> io.NodeOutput:
        pictures = keyframe_pictures(keyframes)
        known = _anchors(poses, anchors, pictures, loop)
        extract = _extractor(model, vae, positive, clip_vision, len(pictures))
        if vae is not None:
            pictures, _ = cropped(pictures, vae)  # as in the frames
        if extract is None and not any(len(one.first) for one in known):
            raise ValueError(
                "model: got none, nor a clip_vision, poses or anchors; needs one of them to match "
                "the keyframes by"
            )
        # what the weights of a vision model should be has not been measured
        trust = TRUST if clip_vision is None else 0.0
        gaps = correspondences(extract, pictures, known, trust, loop)
        arrows = _drawn(pictures, gaps, loop)
        return io.NodeOutput(gaps, arrows, ui=ui.PreviewImage(arrows, cls=cls))


def _feature_inputs() -> list[io.Input]:
    return [
        io.Model.Input(
            "model",
            optional=True,
            tooltip="The model that will make the frames. It recognises the things in the "
            "keyframes. It needs vae and positive.",
        ),
        io.Vae.Input("vae", optional=True, tooltip="The VAE of the model."),
        io.Conditioning.Input(
            "positive",
            optional=True,
            tooltip="A prompt that fits the keyframes, or one for each of them.",
        ),
        io.ClipVision.Input(
            "clip_vision",
            optional=True,
            tooltip="A vision model such as DINOv2, from Load CLIP Vision. If it is connected, it "
            "recognises the things in the keyframes, and the input model is not used.",
        ),
    ]


def _anchor_inputs() -> list[io.Input]:
    return [
        PoseKeypoint.Input(
            "poses",
            optional=True,
            tooltip="A pose for every keyframe. Joints and limbs are then points of the map that "
            "are taken as certain.",
        ),
        io.String.Input(
            "anchors",
            default="",
            multiline=True,
            optional=True,
            tooltip="Points that you know, to correct the map. Each line follows one point through "
            "the keyframes, in pixels from the top left corner: 120,80 -> 150,90. With three "
            "keyframes: 120,80 -> 150,90 -> 170,95. With a question mark for a keyframe in which "
            "the point cannot be seen, as in 120,80 -> 150,90 -> ?, the point counts only between "
            "neighbouring keyframes that both show it.",
        ),
    ]


def _extractor(
    model: Any, vae: Any, positive: Conditioning | None, clip_vision: Any, count: int
) -> FeatureExtractor | None:
    """What reads features of `count` pictures, or None where there is nothing to read them."""
    if clip_vision is not None:
        return vision_features(clip_vision)
    if model is None:
        return None
    if positive is None:
        raise ValueError("positive: got none, but a model, which needs a prompt to see pictures by")
    check_vae(vae)
    prompts = read_conditioning("positive", positive)
    check_keyframes(prompts, count)
    # of prompts that cannot go together the first one serves all keyframes
    text = prompts.parts[0] if len(prompts.parts) == 1 else prompts.parts[0].rows([0])
    return of_model(ComfyFeatures(model, vae), text)


def _anchors(poses: Any, text: str, pictures: Tensor, loop: bool) -> list[Anchors]:
    """What is known of every gap."""
    height, width = pictures.shape[2:]
    known = [read_anchors(text, (height, width), len(pictures), loop)]
    if poses is not None:
        people, size = read_poses(poses, (height, width))
        if len(people) != len(pictures):
            raise ValueError(
                f"poses: got {len(people)} for {len(pictures)} keyframes, needs one for each"
            )
        known.append(pose_anchors(paired(poses, people), size, loop))
    return [joined(parts) for parts in zip(*known, strict=True)]


def _drawn(pictures: Tensor, gaps: list[Correspondence], loop: bool) -> Tensor:
    """The maps as IMAGE."""
    ends = gaps_between(len(pictures), loop)
    drawn = [
        draw_correspondence(pictures[before], pictures[after], gap)
        for (before, after), gap in zip(ends, gaps, strict=True)
    ]
    return torch.stack(drawn).movedim(1, -1)
