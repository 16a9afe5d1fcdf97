"""Match Colors in a real ComfyUI, against the library."""

from __future__ import annotations

import torch
from comfy_host import Graph
from demo_graphs import Demo, run_with

from diffusion_interpolation.method.colours.tracing import match_colours
from diffusion_interpolation.method.matching.anchors import Anchors
from diffusion_interpolation.method.matching.correspondence import anchored


def test_frames_are_those_of_the_library(server):
    demo = Demo(Graph())
    frames = demo.bisector(frames_per_gap=3, steps=4)[0]
    made = demo.graph.add("MatchColors", frames=frames, strength=0.5)
    _, given = run_with(server, demo.graph, frames=frames, made=made[0])
    wanted = match_colours(given["frames"].movedim(-1, 1), strength=0.5).movedim(1, -1)
    assert torch.allclose(given["made"], wanted, atol=1e-5)
    assert not torch.equal(given["made"], given["frames"])
    assert torch.equal(given["made"][[0, -1]], given["frames"][[0, -1]])


def test_colours_go_along_a_map(server):
    demo = Demo(Graph(), side=128)
    frames = demo.bisector(frames_per_gap=1, steps=4)[0]
    sides = range(8, 128, 16)
    anchors = "\n".join(f"{x},{y} -> {x},{y}" for x in sides for y in sides)
    gaps = demo.graph.add("MatchKeyframes", keyframes=demo.keyframes, anchors=anchors)
    made = demo.graph.add("MatchColors", frames=frames, strength=1.0, correspondence=gaps[0])
    _, given = run_with(server, demo.graph, frames=frames, made=made[0])
    points = torch.tensor([[x / 128, y / 128] for x in sides for y in sides])
    known = anchored(Anchors(points, points), 1.0)
    wanted = match_colours(given["frames"].movedim(-1, 1), gaps=[known]).movedim(1, -1)
    assert torch.allclose(given["made"], wanted, atol=1e-5)
    traced = match_colours(given["frames"].movedim(-1, 1)).movedim(1, -1)
    assert not torch.allclose(given["made"], traced, atol=1e-3)


def test_keyframes_that_are_not_there_are_named(server):
    demo = Demo(Graph())
    options = {"strength": 1.0, "keyframes": "0, 7"}
    made = demo.graph.add("MatchColors", frames=demo.keyframes, **options)
    demo.graph.add("PreviewImage", images=made[0])
    message = server.run(demo.graph.prompt).error["exception_message"]
    assert "keyframes: got 0, 7 for 2 frames, needs 2 or more different numbers" in message
