"""Frames that appear in the slider while they are made."""

from __future__ import annotations

import itertools
import uuid
import zipfile

import pytest
from comfy_host import Graph, Node
from comfy_view import View
from demo_graphs import Demo

SEEDS = itertools.count(1)
"""Each graph has a seed of its own: the server keeps the frames of all."""


def slow_demo(delay: float) -> tuple[Graph, Node]:
    """The demo with five frames, one after the other, and a model that takes its time."""
    graph = Graph()
    demo = Demo(graph)
    slow = graph.add("TestCount", model=demo.model, name="slow", delay=delay)
    return graph, demo.bisector(model=slow[0], steps=6, max_batch=1, seed=next(SEEDS))


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


@pytest.mark.parametrize("earlier", [False, True], ids=["a first run", "a second run"])
def test_what_is_there_can_be_saved_while_it_works(view, earlier):
    graph, node = slow_demo(0.5)
    view.open(graph, show=node)
    if earlier:
        set_input(view, "delay", 0)
        view.run()
        view.wait_for_frame(node, 0, 5)
        set_input(view, "delay", 0.5)
        set_input(view, "seed", next(SEEDS))
    making = "Making frames: depth 1 of 2, 3 of 5"
    prompt = view.queue()
    view.says(node, making)
    with view.page.expect_download() as download:
        view.preview(node).get_by_role("button", name="Save").click()
        view.page.get_by_role("menuitem", name="All frames").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 3
    view.says(node, making)
    view.server.interrupt()
    view.outcome(prompt)
    view.says(node, "Stopped at 3 of 5 frames; Run goes on there.")


def set_input(view: View, name: str, value: float | str) -> None:
    """Set an input, whatever node has it."""
    view.evaluate(
        """([name, value]) => {
            for (const node of app.graph._nodes)
                for (const widget of node.widgets ?? [])
                    if (widget.name === name) widget.value = value;
        }""",
        [name, value],
    )


def test_frames_of_a_workflow_on_another_tab_are_there_when_one_comes_back(view):
    graph, node = slow_demo(0)
    view.open(graph, show=node)
    view.run()
    view.wait_for_frame(node, 0, 5)
    set_input(view, "delay", 0.7)
    set_input(view, "seed", next(SEEDS))
    view.page.evaluate(
        """() => app.api.addEventListener("diffusion_interpolation.frame", ({ detail }) => {
            window.done = detail.done;
        })"""
    )
    prompt = view.queue()
    view.wait("() => window.done === 3")
    view.load({**view.workflow(), "id": str(uuid.uuid4()), "nodes": [], "links": []})
    view.wait("() => window.done === 4")
    come_back(view)
    view.says(node, "Making frames: depth 2 of 2, 4 of 5")
    view.command("Workspace.NextOpenedWorkflow")
    view.wait("() => app.graph._nodes.length === 0")
    view.server.interrupt()
    view.outcome(prompt)
    come_back(view)
    view.says(node, "Stopped at 4 of 5 frames; Run goes on there.")


def come_back(view: View) -> None:
    view.command("Workspace.PreviousOpenedWorkflow")
    view.wait("() => app.graph._nodes.length > 0")


def test_errors_are_said_in_the_node(view):
    graph = Graph()
    demo = Demo(graph)
    broken = graph.add("TestNaN", model=demo.model)
    node = demo.bisector(model=broken[0], steps=2, picks="0.5 = 3", seed=next(SEEDS))
    view.open(graph, show=node)
    view.run()
    view.says(
        node,
        "picks: got '0.5 = 3', needs a position and the number of a candidate, as in 0.5: 3, or "
        "new noise there, as in 0.5: roll 1",
    )
    set_input(view, "picks", "")
    view.run()
    view.says(
        node,
        "frames: the model gave numbers that are not finite; try float32, or a lower cfg; "
        "3 frames are missing",
    )
    assert view.preview(node).locator(".di-status button").is_visible()


def test_frames_appear_in_a_subgraph(view):
    graph, _ = slow_demo(0)
    # a subgraph's nodes get the inputs of an earlier test's nodes of the same number
    view.reload()
    view.open(graph)
    bisector = view.enter_subgraph("FrameBisector")
    view.listen(bisector)
    view.run()
    view.wait_for_frame(bisector, 0, 5)
    assert "Making frames: depth 2 of 2, 5 of 5" in view.evaluate("() => said")


_CURVE = """(id) => [
    ...(find(id).imgs ?? []),
    ...document.querySelectorAll(`[data-node-id="${id}"] img`),
].some(({ naturalWidth }) => naturalWidth === 640)"""


def test_the_loss_is_drawn_while_it_is_learned(view):
    graph = Graph()
    demo = Demo(graph)
    node = demo.invert(steps=1000, seed=next(SEEDS))
    graph.add("PreviewImage", images=node[2])
    view.open(graph, show=node)
    prompt = view.queue()
    try:
        view.wait(_CURVE, node.id)
        assert view.server.get(f"/history/{prompt}") == {}
    finally:
        view.server.interrupt()
        view.outcome(prompt)
