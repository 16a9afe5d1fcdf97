"""The node that makes the people of several poses correspond, and what it shares (step 3)."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..diffusion_interpolation.poses.format import read_poses, write_poses
from ..diffusion_interpolation.poses.pose import PAIRINGS, PEOPLE, Pose, draw_batch, match_people
from .common.types import CATEGORY, PoseKeypoint

DROP, FILL_IN = "drop", "fill in"


class MatchPoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MatchPoses",
            display_name="Match Poses",
            category=CATEGORY,
            description="Chooses people from the poses of other nodes or files, and pairs each "
            "person with a person of the next keyframe.",
            inputs=[
                PoseKeypoint.Input(
                    "poses", tooltip="The poses, from DWPose, an OpenPose editor or Load Poses."
                ),
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
        tooltip="Which people are used. largest takes the largest person of each picture. all "
        "takes everyone and pairs them as the input pairing says. People without a partner are "
        "left out.",
    )


def matching_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "pairing",
            options=list(PAIRINGS),
            default=PAIRINGS[0],
            optional=True,
            tooltip=(
                "How the people of one keyframe are paired with those of the next. It matters only "
                "where people is all. left to right pairs them in that order, as in the paper. "
                "distance pairs them so that their joints move as little as possible."
            ),
        ),
        io.Combo.Input(
            "missing_joints",
            options=[DROP, FILL_IN],
            default=DROP,
            optional=True,
            tooltip="What happens to a joint that only some keyframes have. drop leaves it out "
            "between a keyframe that has it and one that lacks it, as in the paper. fill in adds "
            "it to every keyframe that lacks it. If earlier and later keyframes have it, it lies "
            "on the straight line between the nearest earlier and the nearest later one. If only "
            "earlier or only later ones have it, it is where the nearest one has it.",
        ),
    ]


def pose_outputs() -> list[io.Output]:
    return [
        # by an id that no input has, which ComfyUI 0.3.64 insists on
        PoseKeypoint.Output("matched", display_name="poses", tooltip="A pose for each picture."),
        io.Image.Output(
            "skeletons",
            display_name="skeletons",
            tooltip="The poses, drawn in the way that ControlNets need.",
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
        raise ValueError(f"missing_joints: got {missing_joints!r}, needs {DROP!r} or {FILL_IN!r}")
    paired = match_people(found, people, pairing, fill=missing_joints == FILL_IN)
    skeletons = draw_batch(paired, *size).movedim(1, -1)
    return io.NodeOutput(
        write_poses(paired, size, paired=True),
        skeletons,
        ui=ui.PreviewImage(skeletons, cls=node),
    )
