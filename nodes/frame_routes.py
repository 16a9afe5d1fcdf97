"""What a page can ask of a run's frames: whether they are still there, and all of them as one file.

`/diffusion_interpolation/run` answers with what the run told of itself, and with `{}` once it is
gone, which is no error: a saved workflow remembers runs that ComfyUI has long cleared away.
`/diffusion_interpolation/save` answers with a zip, an animated WebP or an MP4, made for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import folder_paths
from aiohttp import web

from ..diffusion_interpolation.files import replacing
from ..diffusion_interpolation.pictures import write_mp4, write_webp
from .frame_files import RECORD, running_server

log = logging.getLogger(__name__)

SLOWEST, FASTEST = 0.01, 120  # frames a second
_TYPES = {"zip": "application/zip", "webp": "image/webp", "mp4": "video/mp4"}
_REPEATS = ("bounce", "loop")

_being_written: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()


class Download(NamedTuple):
    """What a request asks for."""

    folder: str
    """In ComfyUI's temp folder."""
    kind: str
    fps: float
    repeat: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Download:
        """Raises `ValueError` for what cannot be; no folder outside the temp folder can be."""
        return cls(
            _folder(query.get("folder", "")),
            _one_of(query, "kind", tuple(_TYPES)),
            _speed(query.get("fps", "12")),
            _one_of(query, "repeat", _REPEATS, default="bounce"),
        )

    @property
    def file_name(self) -> str:
        """One for all that gives the same file; a zip has no speed."""
        if self.kind == "zip":
            return "interpolation.zip"
        return f"interpolation_{self.repeat}_{self.fps:g}.{self.kind}"

    def write(self, file: Path, frames: list[Path]) -> None:
        """Make the file of PNGs."""
        if self.kind == "zip":
            _write_zip(file, frames)
        else:
            write = write_webp if self.kind == "webp" else write_mp4
            write(file, frames, self.fps, bounce=self.repeat == "bounce")


def _folder(name: str) -> str:
    if not re.fullmatch("interpolation_[0-9a-f]{12}", name):
        raise ValueError(f"folder is {name!r}; want interpolation_ and 12 hexadecimal digits")
    return name


def _one_of(
    query: Mapping[str, str], name: str, choices: tuple[str, ...], default: str = ""
) -> str:
    value = query.get(name, default)
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; want one of {', '.join(choices)}")
    return value


def _speed(text: str) -> float:
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    # not a number fails this, too
    if not SLOWEST <= fps <= FASTEST:
        raise ValueError(f"fps is {text!r}; want a number from {SLOWEST} to {FASTEST}")
    return fps


def add_routes() -> None:
    """Let a running server, if there is one, answer them.

    Leaves out what a second copy of this pack has added: the same path twice would keep ComfyUI
    from starting.
    """
    server = running_server()
    taken = {getattr(route, "path", "") for route in server.routes} if server else set()
    for answer in (run, save):
        path = f"/diffusion_interpolation/{answer.__name__}"
        if server and path not in taken:
            server.routes.get(path)(answer)


async def run(request: web.Request) -> web.Response:
    """Answers with the record of a run, or with `{}` where it is gone."""
    try:
        folder = _temporary(_folder(request.query.get("folder", "")))
    except ValueError as error:
        return _refusal(400, str(error))
    record = await asyncio.to_thread(_record, folder)
    return web.json_response(record, headers={"Cache-Control": "no-store"})


async def save(request: web.Request) -> web.StreamResponse:
    """Answers with the file, or with `{"error": text}`: 400, 404 without frames, 500."""
    try:
        download = Download.of(request.query)
    except ValueError as error:
        return _refusal(400, str(error))
    folder = _temporary(download.folder)
    frames = await asyncio.to_thread(_frames, folder)
    if not frames:
        return _refusal(
            404,
            f"There are no frames of {download.folder} any more: ComfyUI empties its temp folder "
            "when it starts. Run the workflow again.",
        )
    try:
        file = await _made(download, folder, frames)
    except Exception as error:  # of an encoder, a disk, a picture: whoever asked should read it
        log.exception("no %s could be made of the frames in %s", download.kind, folder)
        return _refusal(500, f"{download.kind} could not be made: {error}")
    return web.FileResponse(file, headers=_headers(download.kind))


def _refusal(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


def _headers(kind: str) -> dict[str, str]:
    return {
        "Content-Type": _TYPES[kind],
        "Content-Disposition": f'attachment; filename="interpolation.{kind}"',
        "Cache-Control": "no-store",
    }


def _temporary(name: str) -> Path:
    return Path(folder_paths.get_temp_directory()) / name


def _record(folder: Path) -> Any:
    """What a run told of itself at its end; nothing where it cannot be read."""
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _frames(folder: Path) -> list[Path]:
    """The frames that the record names and that are there, in order.

    Anyone who may upload can write a record, so names are not trusted.
    """
    try:
        names = [str(name) for name in _record(folder)["interpolation"][0]["files"]]
    except (LookupError, TypeError):
        return []
    files = [folder / name for name in names if re.fullmatch(r"[0-9]{4,}\.png", name)]
    return [file for file in files if file.is_file()]


async def _made(download: Download, folder: Path, frames: list[Path]) -> Path:
    """The file in the run's folder, which goes with it; made once, however many ask at a time."""
    file = folder / download.file_name
    # only one that is being made or waited for is kept
    lock = _being_written.setdefault(file, asyncio.Lock())
    async with lock:
        if not await asyncio.to_thread(_is_newer, file, folder / RECORD):
            await asyncio.to_thread(download.write, file, frames)
    return file


def _is_newer(file: Path, record: Path) -> bool:
    return file.is_file() and file.stat().st_mtime_ns > record.stat().st_mtime_ns


def _write_zip(file: Path, frames: list[Path]) -> None:
    """The frames as they are; PNGs do not get smaller."""
    import zipfile

    with replacing(file) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for frame in frames:
            archive.write(frame, frame.name)
