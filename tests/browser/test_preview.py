"""The slider in nodes, in ComfyUI's real front ends: what it shows, and that it comes back."""

from __future__ import annotations

import shutil

from comfy_host import Graph, Node
from comfy_view import View, colors

COUNT = 17


def colored(view: View, **inputs: int) -> Node:
    """A graph of plain colours behind a slider, run; its slider."""
    graph = Graph()
    source = graph.add("TestColors", **inputs)
    node = graph.add("InterpolationPreview", images=source[0])
    view.open(graph, show=node)
    view.run()
    return node


def test_frames_are_shown_and_come_back_after_a_reload(view):
    node = colored(view, count=COUNT)
    view.wait_for_frame(node, 0, COUNT)
    assert view.color(node) == colors()[0]
    view.preview(node).locator(".di-range").focus()
    view.page.keyboard.press("End")
    view.wait_for_frame(node, COUNT - 1, COUNT)
    assert view.color(node) == colors()[-1]
    view.wait_until_stored(node)
    view.reload()
    view.show(node)
    view.wait_for_frame(node, 0, COUNT)
    assert view.color(node) == colors()[0]


def test_one_frame_leaves_nothing_to_drag(view):
    node = colored(view, count=1)
    view.wait_for_frame(node, 0, 1)
    assert view.preview(node).locator(".di-range").is_disabled()
    assert view.preview(node).locator(".di-play").is_disabled()


def test_frames_that_are_gone_are_said_to_be_and_made_again(view):
    node = colored(view, count=COUNT)
    view.wait_for_frame(node, 0, COUNT)
    workflow = view.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
    for folder in (view.server.folder / "temp").glob("interpolation_*"):
        shutil.rmtree(folder)
    # what the server keeps of the last run would bring the missing files back
    workflow["nodes"][0]["widgets_values"][0] = 5
    view.load(workflow)
    view.show(node)
    text = view.preview(node).locator(".di-status-text")
    view.page.wait_for_function(
        "(text) => text.textContent.startsWith('The frames of the last run are gone')",
        arg=text.element_handle(),
    )
    view.preview(node).locator(".di-status button").click()
    view.wait_for_frame(node, 0, 5)


def test_front_ends_without_dom_widgets_run_the_node_all_the_same(any_view):
    """Where this skips nothing any more, the other tests need skip nothing, either."""
    node = colored(any_view, count=3)
    assert any_view.evaluate("(id) => find(id).properties.frames", node.id)
