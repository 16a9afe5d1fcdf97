"""The node that makes the people of several poses correspond, and what it shares (step 3)."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..diffusion_interpolation.pose import PAIRINGS, PEOPLE, Pose, draw_batch, match_people
from ..diffusion_interpolation.pose_format import read_poses, write_poses
from .types import CATEGORY, PoseKeypoint

DROP, FILL_IN = "drop", "fill in"


class MatchPoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MatchPoses",
            display_name="Match Poses",
            category=CATEGORY,
            description="Chooses the people of poses that come from other nodes or from files, and "
            "who becomes whom from one keyframe to the next.",
            inputs=[
                PoseKeypoint.Input("poses", tooltip="From DWPose, an OpenPose editor, Load Poses."),
                people_input(),
                *matching_inputs(),
            ],
            outputs=pose_outputs(),
        )

    @classmethod
    def execute(
        cls, poses: Any, people: str, pairing: str = PAIRINGS[0], missing_joints: str = DROP
    ) -> io.NodeOutput:
        found, size = read_poses(poses)
        return matched(cls, found, size, people, pairing, missing_joints)


def people_input() -> io.Input:
    return io.Combo.Input(
        "people",
        options=list(PEOPLE),
        default=PEOPLE[0],
        tooltip="largest: one person a picture. all: everyone, paired as pairing says; people "
        "without a partner are left out.",
    )


def matching_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "pairing",
            options=list(PAIRINGS),
            default=PAIRINGS[0],
            optional=True,
            tooltip="Who becomes whom where there are several. left to right: in that order, as in "
            "the paper. distance: so that the joints move least.",
        ),
        io.Combo.Input(
            "missing_joints",
            options=[DROP, FILL_IN],
            default=DROP,
            optional=True,
            tooltip="A joint that only some keyframes have. drop: it is missing beside the others, "
            "as in the paper. fill in: it is there in all, on a straight way between those that "
            "have it, at rest beside a single one.",
        ),
    ]


def pose_outputs() -> list[io.Output]:
    return [
        # by an id that no input has, which ComfyUI 0.3.64 insists on
        PoseKeypoint.Output("matched", display_name="poses", tooltip="A pose for each picture."),
        io.Image.Output(
            "skeletons",
            display_name="skeletons",
            tooltip="The poses as ControlNets want them drawn.",
        ),
    ]


def matched(
    node: type[io.ComfyNode],
    found: list[list[Pose]],
    size: tuple[int, int],
    people: str,
    pairing: str,
    missing_joints: str,
) -> io.NodeOutput:
    """What `pose_outputs` are, of the people found in pictures of `size` (height, width)."""
    if missing_joints not in (DROP, FILL_IN):
        raise ValueError(f"missing_joints: got {missing_joints!r}, want {DROP!r} or {FILL_IN!r}")
    paired = match_people(found, people, pairing, fill=missing_joints == FILL_IN)
    skeletons = draw_batch(paired, *size).movedim(1, -1)
    return io.NodeOutput(
        write_poses(paired, size, paired=True),
        skeletons,
        ui=ui.PreviewImage(skeletons, cls=node),
    )
