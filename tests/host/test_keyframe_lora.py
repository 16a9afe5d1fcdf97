"""KeyframeLora in a real ComfyUI: what it learns, and which rows of which samplers get it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from comfy_host import Graph, Node
from demo_graphs import Demo, run_with, tensors
from tiny_graphs import KINDS, sample

LEARNING = {
    "steps": 12,
    "learning_rate": 0.005,
    "rank": 4,
    "seed": 0,
    "min_denoise": 0.02,
    "max_denoise": 0.6,
}


def lora(demo: Demo, **changes: Any) -> Node:
    sources = {name: getattr(demo, name) for name in ("model", "vae", "keyframes", "positive")}
    return demo.graph.add("KeyframeLora", **{**sources, **LEARNING, **changes})


def test_frames_change_and_other_samplers_draw_as_before(server):
    demo = Demo(Graph())
    learned = lora(demo)
    short = {"candidates": 1, "reranker": None}
    ways = {
        "with": demo.bisector(model=learned[0], **short),
        "one by one": demo.bisector(model=learned[0], max_batch=1, **short),
        "without": demo.bisector(**short),
    }
    latents = demo.graph.add("VAEEncode", pixels=demo.keyframes, vae=demo.vae)
    for name, model in (("theirs", learned[0]), ("before", demo.model)):
        words = demo.positive, demo.negative
        ways[name] = sample(demo.graph, model, latents[0], *words)
    links = {name: node[0] for name, node in ways.items()}
    run, given = run_with(server, demo.graph, curve=learned[1], **links)
    assert (given["with"] - given["without"])[1:-1].abs().amax((1, 2, 3)).min() > 0.02
    assert torch.allclose(given["with"], given["one by one"], atol=1e-4)
    assert torch.equal(given["theirs"], given["before"])
    assert given["curve"].shape == (1, 400, 640, 3)
    assert len(run.outputs[learned.id]["images"]) == 1


def test_a_keyframe_comes_back_more_closely_under_its_own(server):
    demo = Demo(Graph())
    learned = lora(demo, steps=60)
    latents = demo.graph.add("VAEEncode", pixels=demo.keyframes, vae=demo.vae)
    outputs = {"clean": latents[0]}
    for place in (0.0, 1.0):
        noisy = demo.lerp(latents[0], candidates=1, position=place, denoise=0.5)
        plain = {"poses": None, "control_net": None}
        for name, model in (("own", learned[0]), ("none", demo.model)):
            made = demo.denoise(noisy, model=model, **plain)
            outputs[f"{name} {place:g}"] = made[0]
        other = demo.denoise(noisy, model=learned[0], position=1 - place, **plain)
        outputs[f"other {place:g}"] = other[0]
    given = tensors(server, demo.graph, **outputs)
    for place in (0, 1):
        off = {
            name: (given[f"{name} {place}"] - given["clean"][[place]]).square().mean()
            for name in ("own", "none", "other")
        }
        assert off["own"] < 0.95 * off["none"] and off["own"] < 0.95 * off["other"], off


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_learns(server, kind):
    graph = Graph()
    checkpoint = graph.add("TestCheckpoint", kind=kind, seed=3)
    words = graph.add("CLIPTextEncode", clip=checkpoint[1], text="two pictures")
    pictures = [
        graph.add("EmptyImage", width=64, height=64, batch_size=1, color=color)[0]
        for color in (0xFF4000, 0x2060FF)
    ]
    keyframes = graph.add("ImageBatch", image1=pictures[0], image2=pictures[1])[0]
    sources = {"vae": checkpoint[2], "keyframes": keyframes, "positive": words[0]}
    demo = Demo(graph)
    demo.vae, demo.keyframes, demo.positive = sources["vae"], keyframes, words[0]
    demo.negative = words[0]
    plain = {"poses": None, "control_net": None, "reranker": None, "candidates": 1}
    outputs = {}
    for name, batch in (("together", 0), ("alone", 1)):
        learned = graph.add(
            "KeyframeLora", model=checkpoint[0], **sources, **{**LEARNING, "steps": 3}
        )
        frames = demo.bisector(model=learned[0], max_batch=batch, **plain)
        outputs[name] = frames[0]
    outputs["without"] = demo.bisector(model=checkpoint[0], **plain)[0]
    given = tensors(server, graph, **outputs)
    assert torch.allclose(given["together"], given["alone"], atol=1e-4)
    assert (given["together"] - given["without"]).abs().max() > 1e-4


def test_a_loop_leads_back_to_the_lora_of_the_first_keyframe(server):
    """Its second half is the first one the other way round, so that the LoRAs are, too."""
    demo = Demo(Graph())
    learned, short = lora(demo), {"candidates": 1, "reranker": None, "loop": True}
    frames = demo.bisector(model=learned[0], frames_per_gap=1, **short)
    plain = demo.bisector(frames_per_gap=1, **short)
    given = tensors(server, demo.graph, frames=frames[0], plain=plain[0])
    changes = (given["frames"] - given["plain"])[[1, 3]].abs().mean((1, 2, 3))
    assert changes.min() > 0.3 * changes.max() > 0


def test_loras_of_other_keyframes_are_refused(server):
    demo = Demo(Graph())
    learned = lora(demo)
    three = demo.graph.add("ImageBatch", image1=demo.keyframes, image2=demo.keyframes)
    path = {"keyframes": three[0], "poses": None, "control_net": None}
    demo.graph.add("TestTensor", any=demo.bisector(model=learned[0], **path)[0], name="frames")
    said = "model: has LoRAs of 2 keyframes for a path of 4"
    assert server.run(demo.graph.prompt).error["exception_message"].startswith(said)


MISTAKES = {
    "keyframes": ({"keyframes": "single"}, "keyframes: got 1 picture, needs at least 2"),
    "range": ({"min_denoise": 0.7}, "min_denoise: got 0.7, needs less than max_denoise (0.6)"),
    "gradient": ({"model": "no_grad"}, "model: no gradient comes back to the LoRA; leave out"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_told(server, case):
    changes, said = MISTAKES[case]
    demo = Demo(Graph())
    given = {
        "single": demo.graph.add("ImageFromBatch", image=demo.keyframes, batch_index=0, length=1),
        "no_grad": demo.graph.add("TestPatch", model=demo.model, patch="no_grad"),
    }
    inputs = {name: given[value][0] if value in given else value for name, value in changes.items()}
    demo.graph.add("TestTensor", any=lora(demo, **inputs)[1], name="curve")
    assert server.run(demo.graph.prompt).error["exception_message"].startswith(said)
