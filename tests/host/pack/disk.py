"""A disk that takes its time."""

from __future__ import annotations

import threading
import time
from typing import Any

from comfy_api.latest import io
from PIL import Image

from .node import node
from .outputs import output_file

_save = Image.Image.save


@node(
    "TestSlowDisk",
    [
        io.AnyType.Input("any"),
        io.Float.Input("seconds", default=0.0, tooltip="At 0 it is as quick as ever."),
    ],
    io.AnyType.Output(),
)
def slow_disk(any: Any, seconds: float) -> Any:
    """Passes on what it gets; from then on pictures take longer to save. Whether the thread that
    runs nodes saved one goes to saved_by.txt."""
    runs_nodes, file = threading.get_ident(), output_file("saved_by.txt")
    file.write_text("")

    def save(*args: Any, **options: Any) -> None:
        time.sleep(seconds)
        with file.open("a") as notes:
            notes.write("nodes\n" if threading.get_ident() == runs_nodes else "another\n")
        _save(*args, **options)

    Image.Image.save = save if seconds else _save
    return any
