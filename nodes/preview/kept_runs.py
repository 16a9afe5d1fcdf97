"""Which runs keep their files among the host's temporary files, and which files those are.

Pictures are named after their content, so that runs share what they have in common: a frame that
stays as it was is neither encoded nor stored again. Of every node the last few runs are kept, and
beyond them those that a page shows or a workflow remembers.
"""

from __future__ import annotations

import json
import shutil
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any

import folder_paths
import numpy as np
from PIL import Image

from ...diffusion_interpolation.files import replacing
from ...diffusion_interpolation.fingerprint import fingerprint
from .running_prompt import RUN_FOLDER, connected_pages

LAST_RUNS = 4
"""How many runs of a node in a workflow are kept in any case."""
LAST_RUNS_WITHOUT_WORKFLOW = 64
"""The same for prompts without a workflow, whose sender may fetch the frames later."""
RECORD = "frames.json"
"""Written into a run's folder when the run ends; it lists the frames."""
MAX_SHOWN = 256
"""Runs that one page may hold."""
_MAX_CAUSES = 4096
_MAX_WORKFLOW_BYTES = 64 * 2**20


@dataclass(eq=False)
class KeptRun:
    """A run, by its folder; `cause` is a fingerprint of what its output depends on."""

    node: tuple[str, str, int]
    """The workflow's id, the node's id, and the place in a list that the node is run for."""
    cause: bytes = b""
    remembered: frozenset[str] = frozenset()
    """The folders of all runs that the nodes of its workflow remember."""
    folder: str = field(default_factory=lambda: f"interpolation_{token_hex(6)}")
    files: set[str] = field(default_factory=set)
    tell: Callable[[], Any] | None = None
    """While it runs: gives what will be its record, as far as it has come."""

    @property
    def path(self) -> Path:
        return temporary(self.folder)


class KeptRuns:
    """All runs of this process that are kept, in the order of their use."""

    def __init__(self) -> None:
        # of this process alone, since another one's would not know which files are in use
        self.folder = f"interpolation_frames_{token_hex(3)}"
        self._lock, self._writing = Lock(), Lock()
        self._runs: OrderedDict[str, KeptRun] = OrderedDict()
        self._shown: dict[str, frozenset[str]] = {}
        self._losses: OrderedDict[bytes, int] = OrderedDict()
        self._unwanted: set[str] = set()

    def start(self, run: KeptRun) -> None:
        with self._lock:
            self._runs[run.folder] = run

    def keep(self, run: KeptRun, picture: Image.Image, suffix: str, **options: Any) -> str:
        """Return the name of the file with this picture, written with `options` where it is new.

        Several threads may call this. Raises `OSError` where the file cannot be written.
        """
        name = fingerprint(np.asarray(picture)).hex() + suffix
        with self._lock:
            run.files.add(name)
        file = temporary(self.folder) / name
        # of two that write the same picture, the second finds it there
        with self._writing:
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                with replacing(file) as unfinished:
                    picture.save(unfinished, **options)
        return name

    def record(self, folder: str) -> Any:
        """Return what a run tells of itself, as far as it has come; `{}` once it is gone."""
        with self._lock:
            run = self._runs.get(folder)
            tell = run and run.tell
        return tell() if tell else read_json(temporary(folder) / RECORD)

    def end(self, run: KeptRun) -> None:
        """Note that a run has ended, and remove files that nobody needs any more."""
        with self._lock:
            run.tell = None
            self._losses.setdefault(run.cause, 0)
            while len(self._losses) > _MAX_CAUSES:
                self._losses.popitem(last=False)
            self._remove_old()

    def show(self, page: str, folders: Iterable[str]) -> None:
        """Hold these runs, and no others, for a page as long as it is connected."""
        held = frozenset(folders)
        with self._lock:
            self._shown = self._shown_by_connected() | {page: held}

    def losses(self, cause: bytes) -> int:
        """Return how often the last run of a cause lacked files: lost, or never written.

        The last run is the one whose output the host has in its cache. An earlier run of the same
        prompt may have been of other pictures, where a file was replaced under its name.

        Nodes that write files have the host look at this before it takes their output from its
        cache, which would otherwise go on to show files that are not there.
        """
        with self._lock:
            last = next((run for run in reversed(self._runs.values()) if run.cause == cause), None)
            if last is not None and self._is_whole(last):
                self._runs.move_to_end(last.folder)
            elif cause in self._losses:
                self._losses[cause] += 1
            return self._losses.get(cause, 0)

    def _is_whole(self, run: KeptRun) -> bool:
        pictures = temporary(self.folder)
        record = run.path / RECORD
        return record.is_file() and all((pictures / name).is_file() for name in run.files)

    def _remove_old(self) -> None:
        needed = self._needed()
        for run in [run for run in self._runs.values() if run.folder not in needed]:
            shutil.rmtree(run.path, ignore_errors=True)
            # a file that is open cannot be removed everywhere; another time, then
            if not run.path.exists():
                self._unwanted |= run.files
                del self._runs[run.folder]
        self._unwanted -= {name for run in self._runs.values() for name in run.files}
        for name in list(self._unwanted):
            with suppress(OSError):
                (temporary(self.folder) / name).unlink(missing_ok=True)
                self._unwanted.discard(name)

    def _needed(self) -> set[str]:
        """Return the folders of the runs that are kept."""
        of_node = defaultdict(list)
        for run in self._runs.values():
            of_node[run.node].append(run.folder)
        needed = {
            folder
            for (workflow, *_), folders in of_node.items()
            for folder in folders[-(LAST_RUNS if workflow else LAST_RUNS_WITHOUT_WORKFLOW) :]
        }
        if len(needed) == len(self._runs):
            return needed
        self._shown = self._shown_by_connected()
        # the last run of a workflow knows its nodes best
        remembered = {run.node[0]: run.remembered for run in self._runs.values()}
        return needed.union(*self._shown.values(), *remembered.values(), runs_in_saved_workflows())

    def _shown_by_connected(self) -> dict[str, frozenset[str]]:
        pages = connected_pages()
        return {page: shown for page, shown in self._shown.items() if page in pages}


RUNS = KeptRuns()


def temporary(name: str) -> Path:
    """Return the path of a folder among the host's temporary files."""
    return Path(folder_paths.get_temp_directory()) / name


def read_json(file: Path) -> Any:
    """Return what a file holds, or `{}` where it cannot be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def runs_in_saved_workflows() -> set[str]:
    """Return the folders of the runs that the nodes of all saved workflows remember."""
    found: set[str] = set()
    for file in Path(folder_paths.get_user_directory()).glob("*/workflows/**/*.json"):
        with suppress(OSError):
            facts = file.stat()
            if facts.st_size <= _MAX_WORKFLOW_BYTES:
                found |= _runs_in_file(file, facts.st_mtime_ns, facts.st_size)
    return found


@lru_cache(maxsize=4096)
def _runs_in_file(file: Path, modified: int, size: int) -> frozenset[str]:
    """Return the runs that a file names; a changed file is read again."""
    return frozenset(RUN_FOLDER.findall(file.read_text(encoding="utf-8", errors="replace")))
