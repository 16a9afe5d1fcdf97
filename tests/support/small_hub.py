"""A small server on this machine that answers as the Hugging Face hub does, for a few folders."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FIRST_COMMIT, SECOND_COMMIT = "1" * 40, "2" * 40


@dataclass
class SmallHub:
    """Repositories by name, their branches, and what was asked for."""

    folders: dict[str, Path]
    branches: dict[str, str] = field(default_factory=lambda: {"main": FIRST_COMMIT})
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def commit(self, revision: str) -> str:
        return self.branches.get(revision, revision)

    def facts(self, name: str, revision: str) -> bytes:
        """What the hub says of a repository."""
        siblings = [{"rfilename": path} for path in self._files(name)]
        return json.dumps({"id": name, "sha": self.commit(revision), "siblings": siblings}).encode()

    def tree(self, name: str) -> bytes:
        """The hub's list of a repository's files."""
        sizes = self._files(name)
        files = [{"type": "file", "path": p, "size": sizes[p], "oid": "0" * 40} for p in sizes]
        return json.dumps(files).encode()

    def _files(self, name: str) -> dict[str, int]:
        """Sizes by path."""
        folder = self.folders[name]
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}


@contextmanager
def small_hub(folders: dict[str, Path]) -> Iterator[SmallHub]:
    """Serve `folders` until the end of the block."""
    hub = SmallHub(folders)
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    hub: SmallHub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.split("?")[0]
        self.hub.asked.append(path)
        content, commit = self._content(path)
        self.send_response(404 if content is None else 200)
        if commit:
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
        else:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if with_body:
            self.wfile.write(content or b"")

    def _content(self, path: str) -> tuple[bytes | None, str]:
        """What is at a path, and the commit of a file."""
        asked = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path)
        if asked and asked[1] in self.hub.folders:
            return self.hub.tree(asked[1]), ""
        asked = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        if asked and asked[1] in self.hub.folders:
            return self.hub.facts(asked[1], asked[2] or "main"), ""
        asked = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if asked and asked[1] in self.hub.folders:
            file = self.hub.folders[asked[1]] / asked[3]
            return (file.read_bytes() if file.is_file() else None), self.hub.commit(asked[2])
        return None, ""

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""
