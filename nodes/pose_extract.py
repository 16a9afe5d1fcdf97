"""The node that finds the poses of the people in pictures (method, step 3)."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management
import folder_paths
from comfy_api.latest import io, ui
from torch import Tensor

from ..diffusion_interpolation.pose import PEOPLE, draw_batch, match_people, write_poses
from ..diffusion_interpolation.pose_detection import Detector, detect, openpose, puppet_reader
from .types import CATEGORY, PoseKeypoint

FOLDER = "pose_detection"
OPENPOSE, PUPPETS = "OpenPose", "puppets of the demo"
OPENPOSE_FILE = "body_pose_model.pth"

folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


class PoseExtract(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PoseExtract",
            display_name="Pose Extract",
            category=CATEGORY,
            description="Finds the people in each picture and where their joints are, for the "
            "poses of Frame Bisector and Conditioned Denoise.",
            inputs=[
                io.Image.Input("images", tooltip="The keyframes, or photographs made from them."),
                io.Combo.Input(
                    "detector",
                    options=[OPENPOSE, PUPPETS],
                    default=OPENPOSE,
                    tooltip=f"OpenPose wants {OPENPOSE_FILE} in models/{FOLDER} (its weights are "
                    "for non-commercial use). The other one knows only the demo's puppets.",
                ),
                io.Combo.Input(
                    "people",
                    options=list(PEOPLE),
                    default=PEOPLE[0],
                    tooltip="largest: one person a picture. all: everyone, paired from left to "
                    "right; people without a partner are left out.",
                ),
            ],
            outputs=[
                PoseKeypoint.Output(
                    "poses", display_name="poses", tooltip="A pose for each picture."
                ),
                io.Image.Output(
                    "skeletons",
                    display_name="skeletons",
                    tooltip="The poses as ControlNets want them drawn.",
                ),
            ],
        )

    @classmethod
    def execute(cls, images: Tensor, detector: str, people: str) -> io.NodeOutput:
        pictures = images[..., :3].movedim(-1, 1).float()
        height, width = pictures.shape[2:]
        found = match_people(detect(pictures, _detector(detector)), people)
        skeletons = draw_batch(found, height, width).movedim(1, -1)
        return io.NodeOutput(
            write_poses(found, (height, width)),
            skeletons,
            ui=ui.PreviewImage(skeletons, cls=cls),
        )


def _detector(name: str) -> Detector:
    if name == PUPPETS:
        return puppet_reader()
    # a few pictures are soon done on the CPU, and the GPU's memory is the host's to give
    return _watched(openpose(_openpose_file()))


def _openpose_file() -> Path:
    """The file, or where it should be."""
    found = folder_paths.get_full_path(FOLDER, OPENPOSE_FILE)
    return Path(found or Path(folder_paths.get_folder_paths(FOLDER)[0]) / OPENPOSE_FILE)


def _watched(detector: Detector) -> Detector:
    """`detector`, which can be interrupted between pictures."""

    def find(picture: Tensor) -> list:
        comfy.model_management.throw_exception_if_processing_interrupted()
        return detector(picture)

    return find
