"""A reverse proxy that serves a ComfyUI under a sub-path, as those of shared machines do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

_OWN = {"connection", "content-length", "host", "keep-alive", "origin", "transfer-encoding"}
"""Headers that belong to one connection."""


@dataclass
class SubPathProxy:
    """Passes on what is asked for under `path`, and nothing else."""

    target: str
    path: str = "/comfy"
    url: str = ""
    strays: list[str] = field(default_factory=list)
    """What was asked for elsewhere, by a page that takes itself to be at the root."""

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        async with ClientSession(auto_decompress=False) as session:
            self._session = session
            app = web.Application(client_max_size=2**30)
            app.router.add_route("*", "/{rest:.*}", self._answer)
            runner = web.AppRunner(app, shutdown_timeout=1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}{self.path}"
            ready.set()
            await stop.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not request.raw_path.startswith(f"{self.path}/"):
            self.strays.append(request.raw_path)
            return web.Response(status=404)
        address = self.target + request.raw_path.removeprefix(self.path)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._answer_socket(request, address)
        headers = {name: v for name, v in request.headers.items() if name.lower() not in _OWN}
        async with self._session.request(
            request.method,
            address,
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            kept = {name: v for name, v in answer.headers.items() if name.lower() not in _OWN}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    async def _answer_socket(self, request: web.Request, address: str) -> web.StreamResponse:
        page = web.WebSocketResponse(max_msg_size=0)
        await page.prepare(request)
        async with self._session.ws_connect(address, max_msg_size=0) as server:
            ways = [
                asyncio.ensure_future(_pass_on(*way)) for way in ((page, server), (server, page))
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        await page.close()
        return page


Socket = web.WebSocketResponse | ClientWebSocketResponse


async def _pass_on(source: Socket, target: Socket) -> None:
    async for message in source:
        if message.type == WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await target.send_bytes(message.data)


@contextmanager
def sub_path_proxy(target: str) -> Iterator[SubPathProxy]:
    """A proxy before the server at the address `target`, as long as the context lasts."""
    proxy, ready, loop, stop = SubPathProxy(target), threading.Event(), [], asyncio.Event()

    async def main() -> None:
        loop.append(asyncio.get_running_loop())
        await proxy.serve(ready, stop)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(30), "the proxy did not start"
    try:
        yield proxy
    finally:
        loop[0].call_soon_threadsafe(stop.set)
        thread.join(30)
