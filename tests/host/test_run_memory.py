"""What a real ComfyUI holds of a path of many frames, where it keeps nothing for the next run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import comfy_host
import pytest
from comfy_host import Graph, Server
from demo_graphs import Demo, run_with
from tiny_graphs import Tiny

SIDE, GAP = 512, 63
FRAMES = (GAP + 2) * SIDE * SIDE * 3 * 4
"""Bytes of all frames as an IMAGE."""


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without a cache, which would hold some frames, within its budget."""
    if reason := comfy_host.why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("forgetful")
    with Server(comfy_host.find_host(), folder, arguments=["--cache-none"]) as server:
        yield server


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
def test_a_run_holds_one_copy_of_its_frames(forgetful):
    make(forgetful, 1)
    before = forgetful.peak_memory
    make(forgetful, GAP)
    assert 0.9 * FRAMES < forgetful.peak_memory - before < 1.5 * FRAMES


def test_no_frames_are_held_for_the_next_run(forgetful):
    demo = Demo(Graph())
    count = demo.graph.add("TestCount", model=demo.model, name="none", delay=0.0)
    bisector, found, calls = demo.bisector(model=count[0]), [], []
    for _ in range(2):
        run, given = run_with(forgetful, demo.graph, frames=bisector[0])
        [record] = run.outputs[bisector.id]["interpolation"]
        assert "--cache-none" in record["failure"]
        found.append(given["frames"])
        # the counter starts again with its node, too
        calls.append(forgetful.calls("none"))
    assert calls[0] == calls[1] > 0
    assert (found[0] - found[1]).abs().max() < 1e-5
