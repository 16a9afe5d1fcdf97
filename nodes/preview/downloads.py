"""A run's frames as what a page saves: a picture, a zip, an animated WebP or an MP4."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from PIL.PngImagePlugin import PngInfo, putchunk

from ...diffusion_interpolation.files import replacing
from ...diffusion_interpolation.pictures import write_mp4, write_webp
from .files import METADATA
from .kept_runs import RECORD, RUNS, read_json, temporary
from .running_prompt import RUN_FOLDER

TYPES = {
    "png": "image/png",
    "zip": "application/zip",
    "webp": "image/webp",
    "mp4": "video/mp4",
}
MAX_FPS = 120
MAX_FILES = 4
"""How many files that were made for downloads stay in a run's folder."""
_REPEATS = ("bounce", "loop")
_MADE = "saved"
"""Such files' names begin with this."""
_HEADER_BYTES = 33  # of a PNG: its signature and the first chunk


class Download(NamedTuple):
    """What a request asks for."""

    folder: str
    """Of the run, in ComfyUI's temp folder."""
    kind: str
    fps: int
    repeat: str
    index: int
    """Of the one frame, for a picture."""

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> Download:
        """Read a request; raises `ValueError` for what cannot be, a folder elsewhere above all."""
        return cls(
            run_folder(asked.get("folder")),
            _one_of(asked, "kind", tuple(TYPES)),
            _speed(asked.get("fps", 12)),
            _one_of(asked, "repeat", _REPEATS, default="bounce"),
            _index(asked.get("index", 0)),
        )

    @property
    def file_name(self) -> str:
        """One for all that gives the same file; a zip has no speed."""
        if self.kind == "zip":
            return f"{_MADE}.zip"
        return f"{_MADE}_{self.repeat}_{self.fps}.{self.kind}"

    @property
    def name(self) -> str:
        """What the browser is to call it."""
        return frame_name(self.index) if self.kind == "png" else f"interpolation.{self.kind}"

    def picture(self, frames: Mapping[int, Path]) -> bytes:
        """Return the one frame, with the prompt and the workflow inside."""
        return _with_texts(frames[self.index].read_bytes(), _metadata(temporary(self.folder)))

    def file(self, frames: Mapping[int, Path]) -> Path:
        """Return the file in the run's folder, made where it is not newer than the run's record."""
        folder = temporary(self.folder)
        file = folder / self.file_name
        if not _is_newer(file, folder / RECORD):
            _make_room(folder, file)
            self._write(file, frames)
        return file

    def _write(self, file: Path, frames: Mapping[int, Path]) -> None:
        if self.kind == "zip":
            _write_zip(file, frames, _metadata(file.parent))
        else:
            write = write_webp if self.kind == "webp" else write_mp4
            write(file, list(frames.values()), self.fps, bounce=self.repeat == "bounce")


def run_folder(name: object) -> str:
    """Return the name of a run's folder; raises `ValueError` for anything else."""
    if not isinstance(name, str) or not RUN_FOLDER.fullmatch(name):
        raise ValueError(f"folder is {name!r}; it needs interpolation_ and 12 hexadecimal digits")
    return name


def _one_of(
    asked: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str = ""
) -> str:
    value = asked.get(name, default)
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it needs one of {', '.join(choices)}")
    return value


def _speed(fps: object) -> int:
    """Whole frames a second, so that there are not as many files as there are numbers."""
    # not a number fails this, too
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 1 <= fps <= MAX_FPS:
        raise ValueError(f"fps is {fps!r}; it needs a number from 1 to {MAX_FPS}")
    return round(fps)


def _index(index: object) -> int:
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise ValueError(f"index is {index!r}; it needs the number of a frame, from 0")
    return index


def frame_name(index: int) -> str:
    """Return the name that a saved frame has, by its number in the slider, from 1."""
    return f"{index + 1:04d}.png"


def frames_of(folder: str) -> dict[int, Path]:
    """Return the frames of a run, so far, that its record names and that are there, in order.

    Anyone who may upload can write a record, so no name in it is trusted.
    """
    try:
        told = RUNS.record(folder)["interpolation"][0]
        pictures, names = str(told["pictures"]), [frame["file"] for frame in told["frames"]]
    except (LookupError, TypeError):
        return {}
    if not re.fullmatch(r"interpolation_frames_[0-9a-f]{6}", pictures):
        return {}
    files = {
        index: temporary(pictures) / name
        for index, name in enumerate(names)
        if isinstance(name, str) and re.fullmatch(r"[0-9a-f]{32}\.png", name)
    }
    return {index: file for index, file in files.items() if file.is_file()}


def _metadata(folder: Path) -> dict[str, str]:
    """The texts for the pictures of a run, which are not trusted, either."""
    told = read_json(folder / METADATA)
    texts = told.items() if isinstance(told, dict) else ()
    return {
        name: text
        for name, text in texts
        if isinstance(text, str) and re.fullmatch(r"[\x20-\x7e]{1,79}", name)
    }


def _is_newer(file: Path, record: Path) -> bool:
    # a run has no record yet while it makes frames
    there = file.is_file() and record.is_file()
    return there and file.stat().st_mtime_ns > record.stat().st_mtime_ns


def _make_room(folder: Path, file: Path) -> None:
    """Remove the oldest files that were made for downloads, for one more."""
    others = [other for other in folder.glob(f"{_MADE}*") if other != file]
    others.sort(key=lambda other: other.stat().st_mtime_ns, reverse=True)
    for old in others[MAX_FILES - 1 :]:
        with suppress(OSError):  # open, where such a file cannot be removed
            old.unlink()


def _write_zip(file: Path, frames: Mapping[int, Path], texts: Mapping[str, str]) -> None:
    """All frames; PNGs do not get smaller."""
    with replacing(file) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for index, frame in frames.items():
            archive.writestr(frame_name(index), _with_texts(frame.read_bytes(), texts))


def _with_texts(png: bytes, texts: Mapping[str, str]) -> bytes:
    """The PNG with texts inside, as ComfyUI looks for a workflow; it is not encoded again."""
    info, added = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_text(name, text)
    for kind, content, *_ in info.chunks:
        putchunk(added, kind, content)
    return png[:_HEADER_BYTES] + added.getvalue() + png[_HEADER_BYTES:]
