"""One server for all tests against a real ComfyUI; at its end its log holds no warning of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator

import comfy_host
import pytest

PACK = "comfyui-diffusion-interpolation"
# nodes for the server, which import what only it has
collect_ignore = ["pack"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[comfy_host.Server]:
    if reason := comfy_host.why_not():
        pytest.skip(reason)
    with comfy_host.Server(comfy_host.find_host(), tmp_path_factory.mktemp("comfyui")) as server:
        yield server
        # errors that tests make on purpose name their node
        lines = server.log.splitlines()
        assert [line for line in lines if PACK in line and re.search("[Ww]arning", line)] == []
