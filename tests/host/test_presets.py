"""Presets of Frame Bisector in a real ComfyUI."""

from __future__ import annotations

import re

import pytest
import torch
from comfy_host import Graph, Node, Run
from demo_graphs import Demo, run_with
from tiny_graphs import Tiny

from diffusion_interpolation.presets import FAMILIES


def told(run: Run, node: Node) -> dict:
    return run.outputs[node.id]["interpolation"][0]


def said(run: Run, node: Node) -> list[str]:
    return [note["text"].format(**note["values"]) for note in told(run, node)["notes"]]


def test_a_preset_decides_what_the_inputs_say_otherwise(server):
    demo = Demo(Graph())
    node = demo.bisector(preset="balanced", frames_per_gap="3", steps=2, cfg=9.0, candidates=1)
    same = demo.bisector(
        frames_per_gap="3", steps=20, cfg=2.0, candidates=4, min_steps=4, min_denoise=0.3
    )
    run, given = run_with(server, demo.graph, frames=node[0], same=same[0])
    assert torch.equal(given["frames"], given["same"])
    settings = told(run, node)["settings"]
    assert (settings["steps"], settings["cfg"], settings["candidates"]) == (20, 2.0, 4)
    assert told(run, same)["settings"] == {} and said(run, same) == []


def test_a_preset_needs_less_noise_where_keyframes_are_matched(server):
    demo = Demo(Graph())
    gaps = demo.graph.add("MatchKeyframes", keyframes=demo.keyframes, anchors="9,9 -> 9,12")[0]
    nodes = {
        preset: demo.bisector(preset=preset, frames_per_gap=1, correspondence=gaps, steps=4)
        for preset in ("fast try", "custom")
    }
    run, _ = run_with(server, demo.graph, **{name: node[0] for name, node in nodes.items()})
    settings = {name: told(run, node)["settings"] for name, node in nodes.items()}
    assert settings["fast try"]["max_denoise"] == 0.35
    assert settings["fast try"]["min_denoise"] == 0.15
    assert settings["custom"] == {}


def test_the_node_says_what_a_preset_means_and_how_long_it_takes(server):
    lines = []
    for seed in (31, 32):
        demo = Demo(Graph())
        node = demo.bisector(preset="fast try", seed=seed)
        run, _ = run_with(server, demo.graph, frames=node[0])
        lines.append(said(run, node))
    assert (
        lines[0][0]
        == "fast try for the embedded UNet: 10 steps, cfg 2.0, denoise from 0.55 to 0.3."
    )
    work = re.fullmatch(r"3 candidates of 3 frames, (\d+) runs of the model\.", lines[0][1])
    assert 6 <= int(work[1]) <= 15
    assert re.fullmatch(r"At the speed of the last run this takes about 0:\d\d\.", lines[1][2])
    assert run.outputs[node.id]["text"][0] == lines[1][0]


def test_without_a_negative_prompt_the_flow_transformer_is_taken_for_its_fast_student(server):
    demo = Demo(Graph(), "flow, 8 steps")
    node = demo.bisector(preset="balanced", negative=None, poses=None, control_net=None)
    run, _ = run_with(server, demo.graph, frames=node[0])
    settings = told(run, node)["settings"]
    assert (settings["steps"], settings["cfg"], settings["scheduler"]) == (8, 1.0, "simple")


def test_a_node_without_a_reranker_says_so_if_it_was_to_have_candidates(server):
    demo = Demo(Graph())
    ways = {"several": {}, "one": {"candidates": 1}, "none": {"smoothness_weight": 0.0}}
    nodes = {
        name: demo.bisector(**{"reranker": None, "candidates": 3, "frames_per_gap": 1, **way})
        for name, way in ways.items()
    }
    run, _ = run_with(server, demo.graph, **{name: node[0] for name, node in nodes.items()})
    notes = {name: said(run, node) for name, node in nodes.items()}
    assert notes["several"] == [
        "Without a reranker the candidate that is most like its neighbours is taken."
    ]
    assert notes["one"] == []
    assert notes["none"] == [
        "Without a reranker and a smoothness_weight each frame has one candidate."
    ]
    counts = {name: told(run, node)["frames"][1]["count"] for name, node in nodes.items()}
    assert counts == {"several": 3, "one": 1, "none": 1}


@pytest.mark.parametrize("kind, family", [("sd15", "SD15"), ("sdxl", "SDXL"), ("flux", "Flux")])
def test_the_family_is_read_from_the_model(server, kind, family):
    tiny = Tiny(kind)
    node = tiny.bisector(preset="fast try", frames_per_gap="1")
    run, _ = run_with(server, tiny.graph, frames=node[0])
    assert f"fast try for {FAMILIES[family].name}:" in said(run, node)[0]
