"""What a page can ask of runs: what they made, to hold them, and their frames as one file.

- `GET /diffusion_interpolation/run?folder=` answers with what the run tells of itself, as far as it
  has come, and with `{}` once it is gone, which is no error: a saved workflow remembers runs that
  are long cleared away.
- `POST /diffusion_interpolation/shown` with `page` and `folders` holds the runs that a page shows.
- `POST /diffusion_interpolation/save` answers with a picture, a zip, an animated WebP or an MP4.

What writes is a POST of JSON, which no page of another site can have a browser send.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from .downloads import TYPES, Download, frames_of, run_folder
from .kept_runs import MAX_SHOWN, RUNS
from .running_prompt import connected_pages, running_server

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 2**16
GONE = (
    "These frames are gone: ComfyUI keeps those of a node's last runs until it is "
    "restarted. Run the workflow again."
)

_writing = asyncio.Lock()
"""One file is made at a time, whatever is asked for at once."""


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes() -> None:
    """Let a running server, if there is one, answer them.

    Leaves out what a second copy of this pack has added: the same path twice would keep ComfyUI
    from starting.
    """
    server = running_server()
    taken = {getattr(route, "path", "") for route in server.routes} if server else set()
    for method, answer in (("GET", run), ("POST", shown), ("POST", save)):
        path = f"/diffusion_interpolation/{answer.__name__}"
        if server and path not in taken:
            server.routes.route(method, path)(_refusing(answer))


def _refusing(answer: Answer) -> Answer:
    """Have refusals and bad values answered with `{"error": text}`."""

    async def safe(request: web.Request) -> web.StreamResponse:
        try:
            return await answer(request)
        except Refusal as refusal:
            return web.json_response({"error": str(refusal)}, status=refusal.status)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    return safe


async def run(request: web.Request) -> web.Response:
    """Answer with what a run tells of itself, or with `{}` where it is gone."""
    folder = run_folder(request.query.get("folder", ""))
    record = await asyncio.to_thread(RUNS.record, folder)
    return web.json_response(record, headers={"Cache-Control": "no-store"})


async def shown(request: web.Request) -> web.Response:
    """Hold the runs that a page shows, and no others, until it says more or is closed.

    Answers whether they are held: not those of a page that is not connected.
    """
    asked = await _json(request)
    page, folders = asked.get("page"), asked.get("folders")
    if not isinstance(page, str):
        raise ValueError(f"page is {page!r}; it needs the id of a page")
    if not isinstance(folders, list) or len(folders) > MAX_SHOWN:
        raise ValueError(f"folders: needs a list of at most {MAX_SHOWN}")
    held = page in connected_pages()
    if held:
        RUNS.show(page, map(run_folder, folders))
    return web.json_response({"held": held})


async def save(request: web.Request) -> web.StreamResponse:
    """Answer with the file, or with an error: 400, 404 without frames, 415, 500."""
    download = Download.of(await _json(request))
    frames = await asyncio.to_thread(frames_of, download.folder)
    if not frames or (download.kind == "png" and download.index not in frames):
        raise Refusal(404, GONE)
    headers = {
        "Content-Type": TYPES[download.kind],
        "Content-Disposition": f'attachment; filename="{download.name}"',
        "Cache-Control": "no-store",
    }
    try:
        if download.kind == "png":
            return web.Response(
                body=await asyncio.to_thread(download.picture, frames), headers=headers
            )
        async with _writing:
            file = await asyncio.to_thread(download.file, frames)
        return web.FileResponse(file, headers=headers)
    except Exception as error:  # of an encoder, a disk, a picture: whoever asked should know
        log.exception("no %s could be made of the frames of %s", download.kind, download.folder)
        # the text of other errors names files of the server
        reason = getattr(error, "strerror", None) or "ComfyUI's log says why"
        raise Refusal(500, f"{download.kind} could not be made: {reason}") from error


async def _json(request: web.Request) -> dict[str, Any]:
    """The object that a request holds.

    A form of another site's page is of another type, and for this one a browser asks ComfyUI first.
    """
    if request.content_type != "application/json":
        raise Refusal(415, f"Content-Type is {request.content_type!r}; it needs 'application/json'")
    if request.content_length is None or request.content_length > MAX_REQUEST_BYTES:
        raise Refusal(413, f"Content-Length: at most {MAX_REQUEST_BYTES} bytes")
    try:
        asked = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise ValueError("the request holds no JSON") from None
    if not isinstance(asked, dict):
        raise ValueError("the request holds no JSON object")
    return asked
