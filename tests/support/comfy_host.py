"""A real ComfyUI for tests: finds one, runs it in a folder of its own, and follows what it says."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import websocket
from PIL import Image
from safetensors.torch import load_file

CHECKOUT = Path(__file__).parents[2]
PACKS = {
    "comfyui-diffusion-interpolation": CHECKOUT,
    "interpolation_test_models": CHECKOUT / "tests" / "host" / "pack",
}
"""The custom nodes of a server, by the names of their folders."""

# of ComfyUI's protocol.py
_PREVIEW_WITH_METADATA = 4
_PORTS = range(20_000, 32_000)
"""Below those that the system gives to connections, and would give before a server is up."""

Message = dict[str, Any]
Prompt = dict[str, dict[str, Any]]


def places() -> list[Path]:
    """Where a host is looked for, in this order."""
    told = os.environ.get("COMFYUI_PATH")
    around = [CHECKOUT.parents[1]] if CHECKOUT.parent.name == "custom_nodes" else []
    return [*([Path(told)] if told else []), *around, Path.home() / "comfy" / "ComfyUI"]


def find_host() -> Path | None:
    """The first place with a ComfyUI.

    Raises `ValueError` where `$COMFYUI_PATH` is set but there is none: another would surprise.
    """
    hosts = [place for place in places() if _is_host(place)]
    if os.environ.get("COMFYUI_PATH") and not _is_host(places()[0]):
        raise ValueError(f"COMFYUI_PATH is {places()[0]}, needs a folder with main.py and comfy/")
    return hosts[0].absolute() if hosts else None


def why_not() -> str:
    """Why there is no server to be had, or nothing where there is one."""
    host = find_host()
    if host is None:
        looked = ", ".join(str(place) for place in places())
        return f"no ComfyUI in {looked}; COMFYUI_PATH can name one"
    if host_python(host) == sys.executable and (lacking := _lacking(host)):
        return (
            f"the ComfyUI in {host} has no environment of its own, and this one lacks "
            f"{', '.join(lacking)}: pip install -r {host / 'requirements.txt'}"
        )
    return ""


def _lacking(host: Path) -> list[str]:
    """What a host requires and this environment has not."""
    lines = (host / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [match[0] for line in lines if (match := re.match(r"[A-Za-z][\w.-]*", line))]
    return [name for name in names if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def host_python(host: Path) -> str:
    """The interpreter in the host's own environment, or this one where it has none."""
    for environment in (".venv", "venv"):
        for program in ("bin/python", "Scripts/python.exe"):
            if (host / environment / program).is_file():
                return str(host / environment / program)
    return sys.executable


def _is_host(place: Path) -> bool:
    return (place / "main.py").is_file() and (place / "comfy").is_dir()


@dataclass(frozen=True)
class Node:
    """A node of a `Graph`; `node[i]` is a link to its i-th output."""

    id: str

    def __getitem__(self, output: int) -> list[str | int]:
        return [self.id, output]


class Graph:
    """A prompt in the making, in the format of ComfyUI's API."""

    def __init__(self) -> None:
        self.prompt: Prompt = {}

    def add(self, class_type: str, /, **inputs: Any) -> Node:
        node = Node(str(len(self.prompt) + 1))
        self.prompt[node.id] = {"class_type": class_type, "inputs": inputs}
        return node


@dataclass
class Run:
    """What became of a prompt."""

    prompt_id: str = ""
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each node had to show, by the node's id."""
    messages: list[Message] = field(default_factory=list)
    previews: list[tuple[str, Image.Image]] = field(default_factory=list)
    """Pictures sent on the way, with the node they belong to."""
    executed: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    interrupted: bool = False
    node_errors: dict[str, Any] = field(default_factory=dict)
    """Why outputs were refused, by node; where all were, nothing ran and there is no id."""
    seconds: float = 0.0

    def note(self, message: Message) -> None:
        """Keep a message, and what it says of this prompt."""
        self.messages.append(message)
        kind, data = message["type"], message.get("data", {})
        if data.get("prompt_id") != self.prompt_id:
            return
        if kind == "executing" and data["node"] is not None:
            self.executed.append(data["node"])
        elif kind == "execution_error":
            self.error = data
        elif kind == "execution_interrupted":
            self.interrupted = True

    def ends_with(self, message: Message) -> bool:
        """Whether the message is a prompt's last: by then its outputs are in the history."""
        data = message.get("data", {})
        ours = data.get("prompt_id") == self.prompt_id
        return message["type"] == "executing" and data["node"] is None and ours


class Server:
    """A ComfyUI with this checkout and the test models, on a CPU; it runs while in context."""

    def __init__(
        self,
        host: Path,
        folder: Path,
        start_timeout: float = 300,
        arguments: Sequence[str | Path] = (),
    ) -> None:
        """`arguments` go to `main.py` with those that tests need."""
        self.host, self.folder, self._arguments = host, folder.absolute(), arguments
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._start_timeout = start_timeout
        self._log_file = self.folder / "server.log"
        # a machine's proxies are not for this
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __enter__(self) -> Server:
        nodes = self.folder / "custom_nodes"
        for path in (nodes, self.folder / "input", self.folder / "output"):
            path.mkdir(parents=True, exist_ok=True)
        for name, pack in PACKS.items():
            (nodes / name).symlink_to(pack.absolute(), target_is_directory=True)
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.host,
                stdout=log,
                stderr=subprocess.STDOUT,
                # compiled modules are kept, as on users' machines
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": ""},
            )
        try:
            self._wait_until_ready()
            self.log_of_start = self.log
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def peak_memory(self) -> int:
        """The most bytes that the server has held at a time; on Linux."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])

    def run(
        self,
        prompt: Prompt,
        timeout: float = 120,
        on_message: Callable[[Message], None] | None = None,
        extra_pnginfo: Any = None,
    ) -> Run:
        """Run a prompt to its end, `timeout` seconds at most.

        `on_message` sees every message as it comes. `extra_pnginfo` is what a page sends along with
        a prompt, its workflow above all.
        """
        client, run, start = uuid.uuid4().hex, Run(), time.perf_counter()
        address = f"{self.url.replace('http', 'ws')}/ws?clientId={client}"
        with contextlib.closing(
            websocket.create_connection(address, timeout=timeout)
        ) as connection:
            flags = {"supports_preview_metadata": True}
            connection.send(json.dumps({"type": "feature_flags", "data": flags}))
            run.prompt_id, run.node_errors = self._queue(prompt, client, extra_pnginfo)
            if run.prompt_id:
                self._follow(run, connection, start + timeout, on_message)
                run.outputs = self.get(f"/history/{run.prompt_id}")[run.prompt_id]["outputs"]
        run.seconds = time.perf_counter() - start
        return run

    def get(self, path: str) -> Any:
        """The JSON under a path of the server."""
        return json.loads(self._request(path))

    def interrupt(self) -> None:
        self._request("/interrupt", {})

    def object_info(self, node_id: str | None = None) -> dict[str, Any]:
        """How the server describes its nodes: all by id, or the one."""
        if node_id is None:
            return self.get("/object_info")
        return self.get(f"/object_info/{urllib.parse.quote(node_id)}")[node_id]

    def image(self, entry: dict[str, str]) -> Image.Image:
        """The picture that an output names by filename, subfolder and type."""
        return Image.open(io.BytesIO(self._request(f"/view?{urllib.parse.urlencode(entry)}")))

    def pictures(self, run: Run, node_id: str, key: str = "images") -> torch.Tensor:
        """All pictures of one node, `(n, h, w, 3)` in [0, 1]."""
        images = [self.image(entry).convert("RGB") for entry in run.outputs[node_id][key]]
        return torch.stack([torch.from_numpy(np.array(image)) for image in images]) / 255

    def tensor(self, name: str) -> torch.Tensor:
        """What a node TestTensor of this name has written."""
        return load_file(self.folder / "output" / f"{name}.safetensors")["tensor"]

    def calls(self, name: str) -> int:
        """How many calls a node TestCount of this name has seen so far."""
        return int((self.folder / "output" / f"calls_{name}.txt").read_text())

    def upload(self, image: Image.Image, name: str) -> str:
        """Put a picture where LoadImage finds it under `name`."""
        image.save(self.folder / "input" / name)
        return name

    def _command(self) -> list[str]:
        return [
            host_python(self.host),
            "main.py",
            "--cpu",
            "--base-directory",
            str(self.folder),
            "--database-url",
            f"sqlite:///{self.folder / 'comfyui.db'}",
            "--port",
            self.url.rpartition(":")[2],
            "--disable-auto-launch",
            "--preview-method",
            "latent2rgb",
            *map(str, self._arguments),
        ]

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + self._start_timeout
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(self._complaint(f"ended with {self._process.returncode}"))
            with contextlib.suppress(OSError):
                self.get("/system_stats")
                return
            time.sleep(0.2)
        raise RuntimeError(self._complaint(f"was not ready after {self._start_timeout} s"))

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _complaint(self, what: str) -> str:
        return f"The ComfyUI in {self.host} {what}. The end of its log:\n{self.log[-3000:]}"

    def _request(self, path: str, content: Any = None) -> bytes:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            self.url + path, data=data, headers={"Content-Type": "application/json"}
        )
        with self._opener.open(request, timeout=60) as answer:
            return answer.read()

    def _queue(self, prompt: Prompt, client: str, extra_pnginfo: Any) -> tuple[str, dict[str, Any]]:
        """The id of the prompt in the queue, if it got there, and what is wrong with it."""
        content = {"prompt": prompt, "client_id": client}
        if extra_pnginfo is not None:
            content["extra_data"] = {"extra_pnginfo": extra_pnginfo}
        try:
            answer = self._request("/prompt", content)
        except urllib.error.HTTPError as refusal:
            if refusal.code != 400:
                raise
            answer = json.loads(refusal.read())
            # a fault of the whole graph comes without a node
            return "", answer["node_errors"] or {"": {"errors": [answer["error"]]}}
        answer = json.loads(answer)
        return answer["prompt_id"], answer["node_errors"]

    def _follow(
        self,
        run: Run,
        connection: websocket.WebSocket,
        end: float,
        on_message: Callable[[Message], None] | None,
    ) -> None:
        while True:
            message = self._receive(connection, end)
            if isinstance(message, bytes):
                run.previews += _previews(message)
                continue
            message = json.loads(message)
            run.note(message)
            if on_message:
                on_message(message)
            if run.ends_with(message):
                return

    def _receive(self, connection: websocket.WebSocket, end: float) -> str | bytes:
        try:
            connection.settimeout(max(end - time.perf_counter(), 0.01))
            return connection.recv()
        except websocket.WebSocketTimeoutException:
            self.interrupt()
            raise TimeoutError(self._complaint("took too long for a prompt")) from None
        except (websocket.WebSocketException, OSError) as error:
            raise RuntimeError(self._complaint(f"was lost ({error})")) from error


def _previews(frame: bytes) -> list[tuple[str, Image.Image]]:
    """The picture in a binary message, and its node."""
    event, length = struct.unpack(">II", frame[:8])
    if event != _PREVIEW_WITH_METADATA:
        return []
    told = json.loads(frame[8 : 8 + length])
    return [(told["node_id"], Image.open(io.BytesIO(frame[8 + length :])))]


def _free_port() -> int:
    """A port that nothing listens at; processes that test at the same time take others."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
