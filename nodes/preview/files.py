"""Writes the frames of a run as files, and tells the front end of each new one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from comfy.cli_args import args
from comfy.model_management import InterruptProcessingException
from comfy_execution.utils import get_executing_context
from PIL import Image
from torch import Tensor

from ...diffusion_interpolation.files import write_whole
from ...diffusion_interpolation.method.choice.candidates import THUMBNAIL
from ...diffusion_interpolation.method.frame_info import FrameInfo
from ...diffusion_interpolation.pictures import strip, to_image
from ..common.notes import Note
from .kept_runs import RECORD, RUNS, KeptRun, temporary
from .running_prompt import (
    cause_of_output,
    extra_pnginfo,
    running_node,
    running_server,
    runs_in_workflow,
    values_of_running,
    workflow_id,
)
from .writer import Writer

log = logging.getLogger(__name__)

VERSION = 5
EVENT = "diffusion_interpolation.frame"
METADATA = "metadata.json"
"""In a run's folder: the prompt and the workflow, for the pictures that are saved."""
JOBS = "diffusion_interpolation"
"""The folder, among the temporary files, of the pictures that the host shows jobs by."""


def lost_runs() -> int:
    """Return how often what the running node could have from a cache lacked its files.

    Nodes that write files have the host look at this before it takes their output from its cache,
    which would otherwise go on to show files that are not there.
    """
    return RUNS.losses(cause_of_output())


class About(NamedTuple):
    """What the front end is told of a whole run."""

    seed: int | None = None
    notes: Sequence[Note] = ()
    loop: bool = False
    """Whether the first frame comes after the last."""
    settings: Mapping[str, Any] = {}
    """The values of the options that a preset has decided; empty without one."""

    def to_json(self) -> dict[str, Any]:
        told = {"seed": self.seed, "loop": self.loop, "settings": dict(self.settings)}
        return {**told, "notes": [note.to_json() for note in self.notes]}


NOTHING = About()


class FrameFiles:
    """The frames of one run among the host's temporary files.

    Used as a context: at its start and after every frame the front end gets an event, at its end
    `frames.json` is written into a folder of the run, whatever ended it, and older runs of the node
    make way. Frames are written, and told of, in a thread of their own, in the order in which they
    are added. Where nothing can be written (a full disk) there is a warning, and the run goes on
    without pictures to show.
    """

    def __init__(
        self,
        frames: Sequence[FrameInfo],
        hidden: Any = None,
        about: About = NOTHING,
    ) -> None:
        """For `frames` in order. `hidden` is what the host tells a node of prompt and workflow."""
        self.failure = ""
        workflow = workflow_id(hidden)
        self._run = KeptRun(
            (workflow, *running_node()), cause_of_output(), runs_in_workflow(hidden)
        )
        self._facts = {
            "folder": self._run.folder,
            "pictures": RUNS.folder,
            "workflow": workflow,
            "inputs": values_of_running(hidden),
            **about.to_json(),
        }
        self._metadata = _metadata(hidden)
        self._frames = [_record(info) for info in frames]
        self._state, self._done, self._works = "running", 0, True
        self._of_job: list[dict[str, str]] = []
        self._writer = Writer()

    def __enter__(self) -> FrameFiles:
        self._run.tell = self.ui
        RUNS.start(self._run)
        self._try(lambda: self._run.path.mkdir(parents=True))
        self._write_json(METADATA, self._metadata)
        self._tell({"frames": list(self._frames), "frame": None})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        writers = self._writer.close()
        self._end(error or writers)
        self._write_json(RECORD, self.ui())
        RUNS.end(self._run)
        if error is None and writers is not None:
            raise writers

    def _end(self, error: BaseException | None) -> None:
        """Note how the run has ended."""
        cancelled = isinstance(error, InterruptProcessingException)
        self._state = "finished" if error is None else "cancelled" if cancelled else "failed"
        if error is not None:
            reason = "cancelled" if cancelled else str(error) or type(error).__name__
            missing = len(self._frames) - self._done
            self.failure = f"{reason}; {missing} frames are missing"

    def add(self, info: FrameInfo, picture: Tensor, thumbnails: Tensor | None = None) -> None:
        """Add a frame; it is written later, so that its tensors must stay as they are.

        `picture` is `(3, h, w)` in 0..1. `thumbnails` are small pictures of its candidates, uint8
        `(count, h, w, 3)`. An error of an earlier frame may be raised here.
        """
        self._writer.give(self._write, info, picture, thumbnails)

    def finish(self) -> None:
        """Wait until all frames are written; `failure` then says if one could not be."""
        self._writer.finish()

    def _write(self, info: FrameInfo, picture: Tensor, thumbnails: Tensor | None) -> None:
        options = {"format": "PNG", "compress_level": 1}
        file, small = self._keep(lambda: to_image(picture), ".png", options), None
        if thumbnails is not None:
            options = {"format": "JPEG", "quality": 85}
            small = self._keep(lambda: strip(thumbnails), ".jpg", options)
        if info.index == len(self._frames) // 2:
            self._try(lambda: self._show_job(to_image(picture)))
        record = self._frames[info.index] = _record(info, file, small)
        self._done += 1
        self._tell({"frames": None, "frame": record})

    def _show_job(self, picture: Image.Image) -> None:
        """Keep a small picture for the host's list of jobs, which stays when the frames go."""
        entry = {"filename": f"{self._run.folder}.webp", "subfolder": JOBS, "type": "temp"}
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        written = io.BytesIO()
        picture.save(written, "WEBP")
        file = temporary(JOBS) / entry["filename"]
        file.parent.mkdir(exist_ok=True)
        write_whole(file, written.getvalue())
        self._of_job = [entry]

    def ui(self) -> dict[str, list[Any]]:
        """Return the frames so far, and what the front end needs to know of them."""
        frames = list(self._frames)
        about = {
            "version": VERSION,
            **self._facts,
            "frames": frames,
            "done": self._done,
            "state": self._state,
            "failure": self.failure,
        }
        shown = [file for frame in frames if (file := frame["file"]) is not None]
        entries = [{"filename": f, "subfolder": RUNS.folder, "type": "temp"} for f in shown]
        # the host shows a job by a picture under this key
        return {"images": list(self._of_job), "frames": entries, "interpolation": [about]}

    def _keep(
        self, draw: Callable[[], Image.Image], suffix: str, options: dict[str, Any]
    ) -> str | None:
        """Keep a picture and return its name, or None if it cannot be written."""
        names: list[str] = []
        self._try(lambda: names.append(RUNS.keep(self._run, draw(), suffix, **options)))
        return names[0] if names else None

    def _write_json(self, name: str, content: Any) -> None:
        """Write a file into the run's folder."""
        text = json.dumps(content).encode()
        self._try(lambda: write_whole(self._run.path / name, text))

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

    def _tell(self, news: dict[str, Any]) -> None:
        """Send the state of the run, and news of its frames, to the front end."""
        _send({**self._facts, "done": self._done, **news})


def _record(info: FrameInfo, file: str | None = None, small: str | None = None) -> dict[str, Any]:
    """Return what the front end is told of a frame: its picture, and that of its candidates."""
    return {**info.to_json(), "file": file, "strip": small}


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
