"""A run's frames as files that the front end shows, told to it as they come."""

from __future__ import annotations

import json
import logging
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any

import folder_paths
from comfy.cli_args import args
from comfy.model_management import InterruptProcessingException
from comfy_execution.utils import get_executing_context
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..diffusion_interpolation.candidates import Frame
from ..diffusion_interpolation.files import replacing, write_whole
from ..diffusion_interpolation.pictures import strip, to_image

log = logging.getLogger(__name__)

VERSION = 1
EVENT = "diffusion_interpolation.frame"
RECORD = "frames.json"
"""Written into a run's folder when the run ends; it lists the frames."""
THUMBNAIL = 160  # pixels of the longer side of a candidate in a strip

_written: deque[Path] = deque(maxlen=256)
"""The records of the last runs, by the way to them."""
_lost: set[Path] = set()
"""Those of them that somebody has taken away, and those that could not be written."""


def lost_runs() -> int:
    """Return how many runs lack their files: somebody took them away, or the disk was full.

    Nodes that write files have the host look at this before it takes their output from its cache,
    which would otherwise go on to show files that are not there.
    """
    _lost.update(record for record in _written if not record.is_file())
    return len(_lost)


class FrameFiles:
    """The frames of one run in a folder of their own among the host's temporary files.

    Used as a context: at its start and after every frame the front end gets an event, at its end
    `frames.json` is written, whatever ended it. Where nothing can be written (a full disk) there is
    a warning, and the run goes on without pictures to show.
    """

    def __init__(
        self,
        total: int,
        hidden: Any = None,
        gaps: list[int] | None = None,
        depths: int = 0,
        seed: int | None = None,
    ) -> None:
        """For `total` frames. `hidden` is what the host tells a node of the prompt and workflow."""
        self.failure = ""
        workflow = _workflow_id(hidden)
        self._facts = {"gaps": gaps, "depths": depths, "seed": seed, "workflow": workflow}
        self._name = f"interpolation_{token_hex(6)}"
        self._path = Path(folder_paths.get_temp_directory()) / self._name
        self._metadata = _metadata(hidden)
        self._files: list[str | None] = [None] * total
        self._made: dict[int, dict[str, Any]] = {}
        self._done, self._works = 0, True

    def __enter__(self) -> FrameFiles:
        self._try(lambda: self._path.mkdir(parents=True))
        self._tell(None, 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.failure = f"{_reason(error)}; {self.missing} frames are missing"
        content = json.dumps(self.ui()).encode()
        record = self._path / RECORD
        if self._try(lambda: write_whole(record, content)):
            _written.append(record)
        else:
            _lost.add(record)

    @property
    def missing(self) -> int:
        """How many frames have not come yet."""
        return len(self._files) - self._done

    def add(self, index: int, picture: Tensor, frame: Frame | None = None) -> None:
        """Frame number `index` is `picture` `(3, h, w)` in 0..1; `frame` where it was made."""
        options = {"format": "PNG", "compress_level": 1, "pnginfo": self._metadata}
        self._files[index] = self._save(f"{index:04d}.png", lambda: to_image(picture), options)
        if frame is not None:
            self._made[index] = self._record(frame)
        self._done += 1
        self._tell(index, 0 if frame is None else frame.depth)

    def _record(self, frame: Frame) -> dict[str, Any]:
        """What the front end wants to know of a frame that was made."""
        file = None
        if (small := frame.thumbnails) is not None:
            options = {"format": "JPEG", "quality": 85}
            file = self._save(f"{frame.index:04d}_candidates.jpg", lambda: strip(small), options)
        return {
            "index": frame.index,
            "position": frame.position,
            "depth": frame.depth,
            "candidate": frame.candidate,
            "first": frame.first,
            "scores": list(frame.scores),
            "strip": file,
            "picked": frame.picked,
        }

    def ui(self) -> dict[str, list[Any]]:
        """The frames that there are, and everything about them, for the front end."""
        shown = [file for file in self._files if file is not None]
        about = {
            "version": VERSION,
            "folder": self._name,
            "files": self._files,
            **self._facts,
            "made": [self._made[index] for index in sorted(self._made)],
            "failure": self.failure,
        }
        entries = [{"filename": f, "subfolder": self._name, "type": "temp"} for f in shown]
        return {"frames": entries, "interpolation": [about]}

    def _save(
        self, name: str, draw: Callable[[], Image.Image], options: dict[str, Any]
    ) -> str | None:
        """Write a picture; its name, or None where that is not possible."""

        def write() -> None:
            with replacing(self._path / name) as unfinished:
                draw().save(unfinished, **options)

        return name if self._try(write) else None

    def _try(self, write: Callable[[], None]) -> bool:
        """Whether writing went well; the first time it did not was the last."""
        if not self._works:
            return False
        try:
            write()
        except OSError as error:
            self._works = False
            self.failure = self.failure or f"no preview can be written ({error})"
            log.warning(
                "%s: no preview can be written (%s); the frames are made", self._path, error
            )
        return self._works

    def _tell(self, index: int | None, depth: int) -> None:
        """Send the state of the run, and what is known of the frame `index`, to the front end."""
        _send(
            {
                "folder": self._name,
                **self._facts,
                "total": len(self._files),
                "done": self._done,
                "index": index,
                "file": None if index is None else self._files[index],
                "depth": depth,
                "made": None if index is None else self._made.get(index),
            }
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, InterruptProcessingException):
        return "cancelled"
    return str(error) or type(error).__name__


def _workflow_id(hidden: Any) -> str:
    """The id of the workflow that runs, by which a page knows whether it shows that one."""
    workflow = (getattr(hidden, "extra_pnginfo", None) or {}).get("workflow")
    return str(workflow.get("id") or "") if isinstance(workflow, dict) else ""


def _metadata(hidden: Any) -> PngInfo | None:
    """The prompt and the workflow for a PNG, as the host's own previews carry them."""
    if args.disable_metadata or not hidden:
        return None
    metadata = PngInfo()
    for name, content in {"prompt": hidden.prompt, **(hidden.extra_pnginfo or {})}.items():
        if content:
            metadata.add_text(name, json.dumps(content))
    return metadata


def running_server() -> Any:
    """The host's server, or None where none runs.

    It is not imported: without a server, as in a benchmark, that takes long or fails.
    """
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def _send(state: dict[str, Any]) -> None:
    """Send a state to the browser that asked for the run, if there is one."""
    server, context = running_server(), get_executing_context()
    if server is None or server.client_id is None or context is None:
        return
    place = {"node": context.node_id, "prompt_id": context.prompt_id}
    server.send_sync(EVENT, {**place, **state}, server.client_id)
