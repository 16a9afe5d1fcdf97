"""Path Metrics in a real ComfyUI, against the library's own figures."""

from __future__ import annotations

import pytest
import torch
from comfy_host import Graph
from demo_graphs import Demo, run_with

from diffusion_interpolation.demo import reranker
from diffusion_interpolation.scoring.metrics import feature_distance, measure_path


def test_measures_are_those_of_the_library(server):
    demo = Demo(Graph())
    bisector = demo.bisector()
    metrics = demo.graph.add("PathMetrics", images=bisector[0], reranker=demo.reranker)
    run, given = run_with(server, demo.graph, frames=bisector[0], plot=metrics[1])
    want = measure_path(given["frames"].movedim(-1, 1), feature_distance(reranker().embed_pictures))
    [text] = run.outputs[metrics.id]["text"]
    figures = [float(line.split(":")[0].split()[-1]) for line in text.splitlines()]
    wanted = [want.ppl, want.rppd, want.pdv, want.step_next_to_inputs]
    assert figures == pytest.approx(wanted, rel=0.01)
    assert len(run.outputs[metrics.id]["images"]) == 1
    plot = given["plot"]
    assert plot.shape == (1, 400, 640, 3) and plot.std() > 0.05


def test_a_reranker_that_only_gives_numbers_ranks_but_does_not_compare(server):
    demo = Demo(Graph())
    dark = demo.graph.add("TestScorer")[0]
    shared = {"frames_per_gap": 1, "candidates": 3, "steps": 4, "rank_fraction": 1.0}
    bisector = demo.bisector(reranker=dark, **shared)
    tried = {
        f"tried{n}": demo.bisector(reranker=dark, picks=f"0.5: {n}", **shared)[0] for n in range(3)
    }
    kept = demo.graph.add("CLIPRerank", images=demo.keyframes, reranker=dark, keep=1)[0]
    links = {"frames": bisector[0], "kept": kept, "keyframes": demo.keyframes, **tried}
    _, given = run_with(server, demo.graph, **links)
    assert torch.equal(given["kept"][0], min(given["keyframes"], key=torch.mean))
    darkest = min((given[name] for name in tried), key=lambda frames: frames[1].mean())
    assert torch.equal(given["frames"], darkest)
    demo.graph.add("PathMetrics", images=bisector[0], reranker=dark)
    message = server.run(demo.graph.prompt).error["exception_message"]
    assert "reranker: got one that only scores pictures, needs one with an image encoder" in message


def test_two_frames_have_no_path_to_measure(server):
    demo = Demo(Graph())
    demo.graph.add("PathMetrics", images=demo.keyframes, reranker=demo.reranker)
    message = server.run(demo.graph.prompt).error["exception_message"]
    assert "frames: got 2, needs at least 3, the two inputs among them" in message
