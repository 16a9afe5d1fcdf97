"""The node that finds the poses of the people in pictures (method, step 3)."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..diffusion_interpolation.poses.detection import detect
from ..diffusion_interpolation.poses.detectors import DETECTORS
from ..diffusion_interpolation.poses.pose import PAIRINGS
from ..diffusion_interpolation.poses.weights import OPENPOSE, RTDETR, VITPOSE
from .common.images import to_rgb
from .common.types import CATEGORY
from .match_poses import DROP, matched, matching_inputs, people_input, pose_outputs
from .networks.pose_detectors import FOLDER, find_with, weights_state


class PoseExtract(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PoseExtract",
            display_name="Pose Extract",
            category=CATEGORY,
            description="Finds the people in each picture and the places of their joints. Frame "
            "Bisector and Conditioned Denoise use these poses.",
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="The keyframes. For a drawing in which nobody is found, use a "
                    "photograph made from it.",
                ),
                io.Combo.Input(
                    "detector",
                    options=list(DETECTORS),
                    default=DETECTORS[0],
                    tooltip=f"ViTPose needs the folders {VITPOSE.folder} and {RTDETR.folder} in "
                    f"models/{FOLDER} (Apache-2.0). OpenPose needs {OPENPOSE.files[0]} in "
                    f"models/{FOLDER} itself (its weights are for non-commercial use) and the "
                    "package controlnet-aux. The third detector recognises only the demo's "
                    "puppets.",
                ),
                people_input(),
                *matching_inputs(),
                io.Boolean.Input(
                    "download",
                    default=False,
                    optional=True,
                    tooltip="Whether to download the detector's files from the Hugging Face Hub if "
                    "they are missing.",
                ),
            ],
            outputs=pose_outputs(),
        )

    @classmethod
    def fingerprint_inputs(cls, detector: str | None, **_: object) -> str:
        return weights_state(detector)

    @classmethod
    def execute(
        cls,
        images: Tensor,
        detector: str,
        people: str,
        pairing: str = PAIRINGS[0],
        missing_joints: str = DROP,
        download: bool = False,
    ) -> io.NodeOutput:
        pictures = to_rgb("images", images)
        found = detect(pictures, find_with(detector, download))
        return matched(cls, found, tuple(pictures.shape[2:]), people, pairing, missing_joints)
