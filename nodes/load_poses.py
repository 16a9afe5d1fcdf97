"""The node that reads poses from JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..diffusion_interpolation.pose import load_poses, write_poses
from .types import CATEGORY, PoseKeypoint


class LoadPoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadPoses",
            display_name="Load Poses",
            category=CATEGORY,
            description="Reads OpenPose poses from a JSON file, of one picture or of several, and "
            "puts them after those of another Load Poses.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=_files(),
                    tooltip="A .json in the input or output folder, as DWPose, OpenPose and SDPose "
                    "nodes and pose editors write them. A new one shows after a refresh (R).",
                ),
                PoseKeypoint.Input(
                    "before",
                    optional=True,
                    tooltip="The poses of the keyframes that come before those of the file.",
                ),
            ],
            outputs=[
                PoseKeypoint.Output(
                    "poses", display_name="poses", tooltip="A pose for each keyframe, in a row."
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, before: Any = None) -> int:
        return _path(file).stat().st_mtime_ns if file in _files() else 0

    @classmethod
    def execute(cls, file: str, before: Any = None) -> io.NodeOutput:
        if file not in _files():
            raise ValueError(f"file: {file!r} is not a .json in the input or output folder")
        earlier = [before] if isinstance(before, Mapping) else before or []
        return io.NodeOutput([*earlier, *write_poses(*load_poses([_path(file)]))])


def _path(file: str) -> Path:
    return Path(folder_paths.get_annotated_filepath(file))


def _files() -> list[str]:
    """JSON files by the names that `get_annotated_filepath` takes."""
    return [
        *_below(folder_paths.get_input_directory(), ""),
        *_below(folder_paths.get_output_directory(), " [output]"),
    ]


def _below(folder: str, note: str) -> list[str]:
    found = sorted(Path(folder).rglob("*.json")) if Path(folder).is_dir() else []
    return [file.relative_to(folder).as_posix() + note for file in found]
