"""How much memory a path of many frames takes in a real ComfyUI."""

from __future__ import annotations

from pathlib import Path

import comfy_host
import pytest
from comfy_host import Server
from tiny_graphs import Tiny

SIDE, GAP = 512, 63
FRAMES = (GAP + 2) * SIDE * SIDE * 3 * 4
"""Bytes of all frames as an IMAGE."""


def make(server: Server, frames_per_gap: int) -> None:
    tiny = Tiny("sd15")
    for node in tiny.graph.prompt.values():
        if node["class_type"] == "EmptyImage":
            node["inputs"] |= {"width": SIDE, "height": SIDE}
    vae = tiny.graph.add("TestCoarseVAE", vae=tiny.vae, factor=SIDE // 64)
    tiny.bisector(vae=vae[0], frames_per_gap=frames_per_gap, steps=2, max_batch=1)
    run = server.run(tiny.graph.prompt, timeout=300)
    assert run.error is None and not run.node_errors


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux tells what was held")
def test_a_run_holds_one_copy_of_its_frames(tmp_path):
    """Without a cache, which holds some of them for the next run, within its budget."""
    if reason := comfy_host.why_not():
        pytest.skip(reason)
    with Server(comfy_host.find_host(), tmp_path, arguments=["--cache-none"]) as server:
        make(server, 1)
        before = server.peak_memory
        make(server, GAP)
        assert 0.9 * FRAMES < server.peak_memory - before < 1.5 * FRAMES
