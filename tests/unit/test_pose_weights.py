"""Where the detectors' files are looked for, and their download.

The real hub cannot be reached from here: a small server on this machine answers as it does.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from diffusion_interpolation.poses.weights import OPENPOSE, VITPOSE, find_weights

ROOT = Path(__file__).parents[2]
CONTENT = b"weights"


class Hub(BaseHTTPRequestHandler):
    """Gives `CONTENT` for every file of ViTPose but one that it does not have."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        known = self.path.startswith(f"/{VITPOSE.repository}/resolve/{VITPOSE.commit}/")
        self.send_response(200 if known else 404)
        if known:
            self.send_header("X-Repo-Commit", VITPOSE.commit)
            self.send_header("ETag", f'"{hashlib.sha256(CONTENT).hexdigest()}"')
        self.send_header("Content-Length", str(len(CONTENT) if known else 0))
        self.end_headers()
        if with_body and known:
            self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def put(root: Path, names: tuple[str, ...], folder: str) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / folder / name).write_bytes(CONTENT)


def test_the_first_folder_that_has_all_files_is_taken(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    put(first, VITPOSE.files[:1], VITPOSE.folder)
    put(second, VITPOSE.files, VITPOSE.folder)
    assert find_weights(VITPOSE, [first, second]) == second / "vitpose"
    put(first, OPENPOSE.files, OPENPOSE.folder)
    assert find_weights(OPENPOSE, [first, second]) == first


def test_missing_files_are_named_and_not_downloaded(tmp_path):
    put(tmp_path, VITPOSE.files[:1], VITPOSE.folder)
    with pytest.raises(ValueError, match=r"vitpose lacks preprocessor_config.json, model.safe"):
        find_weights(VITPOSE, [tmp_path])
    assert len(list((tmp_path / "vitpose").iterdir())) == 1


def download(name: str, root: Path, hub: str) -> subprocess.CompletedProcess[str]:
    """`find_weights` that may download, where the hub is `hub`; the client reads that at import."""
    code = (
        "import sys; from pathlib import Path\n"
        "from diffusion_interpolation.poses import weights as pose_weights\n"
        "weights = getattr(pose_weights, sys.argv[1])\n"
        "print(pose_weights.find_weights(weights, [Path(sys.argv[2])], download=True))\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub, "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
    return subprocess.run(
        [sys.executable, "-c", code, name, str(root)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_missing_is_downloaded_where_that_is_allowed(tmp_path, hub):
    put(tmp_path, ("config.json",), "vitpose")
    (tmp_path / "vitpose" / "config.json").write_bytes(b"my own")
    done = download("VITPOSE", tmp_path, hub)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("vitpose")
    contents = {name: (tmp_path / "vitpose" / name).read_bytes() for name in VITPOSE.files}
    assert contents == {**dict.fromkeys(VITPOSE.files, CONTENT), "config.json": b"my own"}


def test_a_download_that_fails_says_what_was_wanted_where(tmp_path, hub):
    done = download("OPENPOSE", tmp_path, hub)
    assert "body_pose_model.pth of lllyasviel/Annotators could not be downloaded" in done.stderr
    assert str(tmp_path) in done.stderr and "Traceback" in done.stderr
