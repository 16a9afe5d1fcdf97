"""Files that nodes load: which ones a list offers, and whether one was replaced."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import folder_paths

SUFFIX = ".safetensors"


def loadable(folder: str) -> list[str]:
    """Return the names of the safetensors files in one of the host's folders of models.

    The host itself lists files of every kind in a folder that a pack has added.
    """
    names = folder_paths.get_filename_list(folder)
    return [name for name in names if name.lower().endswith(SUFFIX) and not _is_hidden(name)]


def _is_hidden(name: str) -> bool:
    """Whether a file is not meant to be seen, such as the `._name` of a Mac."""
    return Path(name).name.startswith(".")


def file_state(folder: str, name: str | None) -> str:
    """Return a text that changes when the file of this name is replaced.

    A node that loads the file gives this to the host as its fingerprint. Where the name comes by a
    wire, the host does not know the name yet (None); then the text is that of all loadable files.
    """
    names = loadable(folder) if name is None else [name]
    places = [folder_paths.get_full_path(folder, name) for name in names]
    return states(None if place is None else Path(place) for place in places)


def states(files: Iterable[Path | None]) -> str:
    """Return a text that changes when one of the files is replaced, goes or comes."""
    return ", ".join(_state(file) for file in files)


def _state(file: Path | None) -> str:
    try:
        facts = file.stat() if file is not None else None
    except OSError:
        facts = None
    return "missing" if facts is None else f"{file}: {facts.st_mtime_ns}, {facts.st_size} bytes"
