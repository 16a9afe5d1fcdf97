"""The node that reads poses from JSON files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..diffusion_interpolation.poses.format import pose_entries, pose_file
from .common.model_files import states
from .common.types import CATEGORY, PoseKeypoint

SUBFOLDER = "poses"


class LoadPoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadPoses",
            display_name="Load Poses",
            category=CATEGORY,
            description="Reads OpenPose poses of one or several pictures from a JSON file, and "
            "puts them after the poses of another Load Poses.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=_files(),
                    tooltip="A .json file in the input or output folder, or in their subfolder "
                    f"{SUBFOLDER}. DWPose, OpenPose and SDPose nodes and pose editors write such "
                    "files. Press R to list a new file.",
                ),
                PoseKeypoint.Input(
                    "before",
                    optional=True,
                    tooltip="The poses of the earlier keyframes, from another Load Poses.",
                ),
            ],
            outputs=[
                PoseKeypoint.Output(
                    "poses",
                    display_name="poses",
                    tooltip="The poses, one for each keyframe, in order.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **_: object) -> str | float:
        # what comes by a wire the host does not know yet, and a file in any folder may be meant
        return float("nan") if file is None else states([_path(file)])

    @classmethod
    def execute(cls, file: str, before: Any = None) -> io.NodeOutput:
        path = _path(file)
        if path is None:
            raise ValueError(
                f"file: got {file!r}, needs a .json in the input or output folder that is there"
            )
        return io.NodeOutput([*pose_entries(before or []), *pose_file(path)])


def _path(file: str) -> Path | None:
    """The file of a name of `_files`, or None where that leads elsewhere or to nothing."""
    name, folder = folder_paths.annotated_filepath(str(file))
    root = Path(folder or folder_paths.get_input_directory()).resolve()
    path = (root / name).resolve()
    inside = root in path.parents and path.suffix.lower() == ".json"
    return path if inside and path.is_file() else None


def _files() -> list[str]:
    """JSON files by names that the host's `annotated_filepath` takes."""
    return [
        *_in(Path(folder_paths.get_input_directory()), ""),
        *_in(Path(folder_paths.get_output_directory()), " [output]"),
    ]


def _in(root: Path, note: str) -> list[str]:
    """Those right in a folder and in `SUBFOLDER` of it; a whole tree may hold millions."""
    names = [
        f"{prefix}{entry.name}{note}"
        for prefix, folder in (("", root), (f"{SUBFOLDER}/", root / SUBFOLDER))
        if folder.is_dir()
        for entry in os.scandir(folder)
        if entry.name.lower().endswith(".json") and not entry.name.startswith(".")
    ]
    # neither folders nor links that lead elsewhere, which are not opened
    return [name for name in sorted(names) if _path(name) is not None]
