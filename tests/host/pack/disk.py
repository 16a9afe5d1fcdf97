"""A disk that takes its time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io
from PIL import Image

_CATEGORY = "interpolation tests"
_save = Image.Image.save


class TestSlowDisk(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestSlowDisk",
            category=_CATEGORY,
            description="Passes on what it gets; from then on pictures take longer to save. "
            "Whether the thread that runs nodes saved one goes to saved_by.txt.",
            inputs=[
                io.AnyType.Input("any"),
                io.Float.Input("seconds", default=0.0, tooltip="At 0 it is as quick as ever."),
            ],
            outputs=[io.AnyType.Output()],
        )

    @classmethod
    def execute(cls, any: Any, seconds: float) -> io.NodeOutput:
        runs_nodes = threading.get_ident()
        file = Path(folder_paths.get_output_directory()) / "saved_by.txt"
        file.write_text("")

        def save(*args: Any, **options: Any) -> None:
            time.sleep(seconds)
            with file.open("a") as notes:
                notes.write("nodes\n" if threading.get_ident() == runs_nodes else "another\n")
            _save(*args, **options)

        Image.Image.save = save if seconds else _save
        return io.NodeOutput(any)
