"""An IMAGE of any number of channels into every node that takes one, in a real ComfyUI."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from comfy_host import Graph, Node
from demo_graphs import SMALL, Demo, run_with

Take = Callable[[Demo, list], Node]


def _bisector(demo: Demo, images: list) -> Node:
    return demo.bisector(keyframes=images, steps=4)


def _invert(demo: Demo, images: list) -> Node:
    return demo.invert(keyframes=images, steps=1)


def _poses(demo: Demo, images: list) -> Node:
    """The drawn skeletons."""
    options = {"detector": "puppets of the demo", "people": "largest"}
    return demo.graph.add("PoseExtract", images=images, **options)


def _rerank(demo: Demo, images: list) -> Node:
    return demo.graph.add("CLIPRerank", images=images, reranker=demo.reranker, keep=2)


def _metrics(demo: Demo, images: list) -> Node:
    three = demo.graph.add("RepeatImageBatch", image=images, amount=2)
    return demo.graph.add("PathMetrics", images=three[0], reranker=demo.reranker)


def _colors(demo: Demo, images: list) -> Node:
    return demo.graph.add("MatchColors", frames=images, strength=1.0)


TAKERS: dict[str, tuple[Take, int]] = {
    "FrameBisector": (_bisector, 0),
    "TextualInvert": (_invert, 0),
    "PoseExtract": (_poses, 1),
    "CLIPRerank": (_rerank, 0),
    "PathMetrics": (_metrics, 1),
    "MatchColors": (_colors, 0),
}
"""How each node takes pictures, and which of its outputs is a tensor that shows what it saw."""


@pytest.mark.parametrize("name", TAKERS)
def test_grey_pictures_are_taken_with_any_number_of_channels(server, name):
    take, output = TAKERS[name]
    given, texts = {}, {}
    for channels in (3, 1, 2, 4):
        demo = Demo(Graph())
        grey = demo.graph.add("TestChannels", images=demo.keyframes, channels=channels)
        node = take(demo, grey[0])
        run, tensors = run_with(server, demo.graph, got=node[output])
        given[channels] = tensors["got"][..., :1]
        texts[channels] = run.outputs.get(node.id, {}).get("text")
    for channels in (1, 2, 4):
        assert torch.allclose(given[channels], given[3], atol=1e-5)
        assert texts[channels] == texts[3]


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_the_slider_shows_grey_pictures_and_what_has_alpha_on_white(server, channels):
    demo, alpha = Demo(Graph()), 0.25
    grey = demo.graph.add("TestChannels", images=demo.keyframes, channels=channels, alpha=alpha)
    preview = demo.graph.add("InterpolationPreview", images=grey[0])
    run, given = run_with(server, demo.graph, keyframes=demo.keyframes)
    shown = server.pictures(run, preview.id, "frames")
    want = given["keyframes"].mean(-1, keepdim=True).expand(-1, -1, -1, 3)
    if channels != 1:
        want = alpha * want + (1 - alpha)
    assert (shown - want).abs().max() <= 0.5 / 255 + 1e-5


@pytest.mark.parametrize("name", [*TAKERS, "InterpolationPreview"])
def test_five_channels_are_no_picture(server, name):
    demo = Demo(Graph())
    odd = demo.graph.add("TestChannels", images=demo.keyframes, channels=5)[0]
    if name == "InterpolationPreview":
        node = demo.graph.add(name, images=odd)
    else:
        node = TAKERS[name][0](demo, odd)
        demo.graph.add("TestEnd", any=node[0])
    run = server.run(demo.graph.prompt)
    assert run.error["node_id"] == node.id
    message = run.error["exception_message"]
    size = (4 if name == "PathMetrics" else 2, SMALL, SMALL, 5)
    assert f"got {size}, needs an IMAGE" in message and "1 to 4 channels" in message
