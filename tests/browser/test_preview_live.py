"""Frames that appear in the slider while they are made."""

from __future__ import annotations

import pytest
from comfy_host import Graph, Node
from demo_graphs import Demo


def slow_demo(delay: float) -> tuple[Graph, Node]:
    """The demo with five frames, and a model that takes its time."""
    graph = Graph()
    demo = Demo(graph)
    slow = graph.add("TestCount", model=demo.model, name="slow", delay=delay)
    return graph, demo.bisector(model=slow[0], steps=6)


@pytest.mark.plain_dom
def test_frames_appear_while_it_works_and_stay_when_it_is_stopped(view):
    graph, node = slow_demo(0.3)
    view.open(graph, show=node)
    view.listen(node)
    prompt = view.queue()
    view.says(node, "Making frames: depth 1 of 2, 3 of 5")
    view.server.interrupt()
    view.outcome(prompt)
    view.says(node, "Stopped at 3 of 5 frames; Run goes on there.")
    said = view.evaluate("() => said")
    assert said[:4] == [
        "Making frames: 0 of 5",
        "Making frames: 1 of 5",
        "Making frames: 2 of 5",
        "Making frames: depth 1 of 2, 3 of 5",
    ]
    view.bar(node).focus()
    for index, message in enumerate(["", "Frame 2 is yet", "", "Frame 4 is yet", ""]):
        view.settle()
        assert view.bar(node).input_value() == str(index)
        assert view.preview(node).locator(".di-message").inner_text().startswith(message)
        view.page.keyboard.press("ArrowRight")
    with view.page.expect_response(lambda answer: answer.url.endswith("/prompt")) as answer:
        view.preview(node).locator(".di-status button").click()
    assert view.outcome(answer.value.json()["prompt_id"])["status"]["status_str"] == "success"
    view.says(node, "")
    assert view.evaluate("() => said.at(-2)") == "Making frames: depth 2 of 2, 5 of 5"


def test_frames_appear_in_a_subgraph(view):
    graph, _ = slow_demo(0)
    view.open(graph)
    bisector = view.enter_subgraph("FrameBisector")
    view.listen(bisector)
    view.run()
    view.wait_for_frame(bisector, 0, 5)
    assert "Making frames: depth 2 of 2, 5 of 5" in view.evaluate("() => said")
