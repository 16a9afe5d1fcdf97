"""Writes the frames of a run as files, and tells the front end of each new one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any

from comfy.cli_args import args
from comfy.model_management import InterruptProcessingException
from comfy_execution.utils import get_executing_context
from PIL import Image
from torch import Tensor

from ...diffusion_interpolation.files import write_whole
from ...diffusion_interpolation.method.candidates import Frame
from ...diffusion_interpolation.pictures import strip, to_image
from .kept_runs import RECORD, RUNS, KeptRun
from .running_prompt import (
    cause_of_output,
    extra_pnginfo,
    running_node,
    running_server,
    runs_in_workflow,
    workflow_id,
)

log = logging.getLogger(__name__)

VERSION = 2
EVENT = "diffusion_interpolation.frame"
METADATA = "metadata.json"
"""In a run's folder: the prompt and the workflow, for the pictures that are saved."""
THUMBNAIL = 160  # pixels of the longer side of a candidate in a strip


def lost_runs() -> int:
    """Return how often what the running node could have from a cache lacked its files.

    Nodes that write files have the host look at this before it takes their output from its cache,
    which would otherwise go on to show files that are not there.
    """
    return RUNS.losses(cause_of_output())


class FrameFiles:
    """The frames of one run among the host's temporary files.

    Used as a context: at its start and after every frame the front end gets an event, at its end
    `frames.json` is written into a folder of the run, whatever ended it, and older runs of the node
    make way. Where nothing can be written (a full disk) there is a warning, and the run goes on
    without pictures to show.
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
        workflow = workflow_id(hidden)
        self._run = KeptRun(
            (workflow, *running_node()), cause_of_output(), runs_in_workflow(hidden)
        )
        self._facts = {
            "folder": self._run.folder,
            "pictures": RUNS.folder,
            "gaps": gaps,
            "depths": depths,
            "seed": seed,
            "workflow": workflow,
        }
        self._metadata = _metadata(hidden)
        self._files: list[str | None] = [None] * total
        self._made: dict[int, dict[str, Any]] = {}
        self._done, self._works = 0, True

    def __enter__(self) -> FrameFiles:
        RUNS.start(self._run)
        self._try(lambda: self._run.path.mkdir(parents=True))
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
        for name, content in ((METADATA, self._metadata), (RECORD, self.ui())):
            file, text = self._run.path / name, json.dumps(content).encode()
            self._try(lambda file=file, text=text: write_whole(file, text))
        RUNS.end(self._run)

    @property
    def missing(self) -> int:
        """Return how many frames are still missing."""
        return len(self._files) - self._done

    def add(self, index: int, picture: Tensor, frame: Frame | None = None) -> None:
        """Add the picture `(3, h, w)` in 0..1 of frame `index`; keyframes have no `frame`."""
        options = {"format": "PNG", "compress_level": 1}
        self._files[index] = self._keep(lambda: to_image(picture), ".png", options)
        if frame is not None:
            self._made[index] = self._record(frame)
        self._done += 1
        self._tell(index, 0 if frame is None else frame.depth)

    def _record(self, frame: Frame) -> dict[str, Any]:
        """Return what the front end needs to know of a new frame."""
        file = None
        if (small := frame.thumbnails) is not None:
            options = {"format": "JPEG", "quality": 85}
            file = self._keep(lambda: strip(small), ".jpg", options)
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
        """Return the frames so far, and what the front end needs to know of them."""
        shown = [file for file in self._files if file is not None]
        about = {
            "version": VERSION,
            **self._facts,
            "files": self._files,
            "made": [self._made[index] for index in sorted(self._made)],
            "failure": self.failure,
        }
        entries = [{"filename": f, "subfolder": RUNS.folder, "type": "temp"} for f in shown]
        return {"frames": entries, "interpolation": [about]}

    def _keep(
        self, draw: Callable[[], Image.Image], suffix: str, options: dict[str, Any]
    ) -> str | None:
        """Keep a picture and return its name, or None if it cannot be written."""
        names: list[str] = []
        self._try(lambda: names.append(RUNS.keep(self._run, draw(), suffix, **options)))
        return names[0] if names else None

    def _try(self, write: Callable[[], None]) -> bool:
        """Return whether writing succeeded; after a first failure nothing more is written."""
        if not self._works:
            return False
        try:
            write()
        except OSError as error:
            self._works = False
            reason = error.strerror or type(error).__name__  # no path of the server's
            self.failure = self.failure or f"no preview can be written ({reason})"
            log.warning("no preview can be written (%s); the frames are made", error)
        return self._works

    def _tell(self, index: int | None, depth: int) -> None:
        """Send the state of the run, and what is known of the frame `index`, to the front end."""
        _send(
            {
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


def _metadata(hidden: Any) -> dict[str, str]:
    """The prompt and the workflow, as the host's own previews carry them in their texts."""
    if args.disable_metadata or not hidden:
        return {}
    content = {"prompt": hidden.prompt, **extra_pnginfo(hidden)}
    # other nodes leave objects of all kinds there
    texts = {name: json.dumps(value, default=repr) for name, value in content.items()}
    return {name: text for name, text in texts.items() if text not in ("null", '""', "{}", "[]")}


def _send(state: dict[str, Any]) -> None:
    """Send a state to the browser that asked for the run, if there is one."""
    server, context = running_server(), get_executing_context()
    if server is None or server.client_id is None or context is None:
        return
    place = {"node": context.node_id, "prompt_id": context.prompt_id}
    server.send_sync(EVENT, {**place, **state}, server.client_id)
