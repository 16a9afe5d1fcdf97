"""Asks the pack's own routes of a real ComfyUI."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from email.message import Message
from typing import NamedTuple

from comfy_host import Server

SAVE, SHOWN = "/diffusion_interpolation/save", "/diffusion_interpolation/shown"


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]


def ask(server: Server, path: str = SAVE, **values: object) -> Answer:
    """What the server says to a POST of `values`."""
    return send(server, path, json.dumps(values).encode(), {"Content-Type": "application/json"})


def send(server: Server, path: str, content: bytes | None, headers: dict[str, str]) -> Answer:
    """What the server says to a request; without `content` it is a GET."""
    request = urllib.request.Request(server.url + path, content, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as refusal:
        return Answer(refusal.code, refusal.headers, refusal.read())
