"""A slider of plain colours on a page: which frame is shown can be told from its colour."""

from __future__ import annotations

from comfy_host import Graph, Node
from comfy_view import View, colors

COUNT = 17
PLAIN = {"count": COUNT, "size": 64, "shift": 0.0, "delay": 0.0}
"""All values are given: the front end keeps those of nodes with the same ids that are gone."""


def colored(**inputs: float) -> tuple[Graph, Node]:
    """A graph of plain colours behind a slider, and the slider."""
    graph = Graph()
    source = graph.add("TestColors", **{**PLAIN, **inputs})
    return graph, graph.add("InterpolationPreview", images=source[0])


def opened(view: View, **inputs: float) -> Node:
    """The slider of plain colours on the screen, run."""
    graph, node = colored(**inputs)
    view.open(graph, show=node)
    view.run()
    view.wait_for_frame(node, 0, int(inputs.get("count", COUNT)))
    return node


def opened_whole(view: View, **inputs: float) -> Node:
    """As `opened`, with all frames loaded, so that their files may go."""
    node = opened(view, **inputs)
    view.bar(node).focus()
    for _ in range(COUNT - 1):
        view.page.keyboard.press("ArrowRight")
        view.settle(2)
    shows(view, node, COUNT - 1, inputs.get("shift", 0))
    view.page.wait_for_load_state("networkidle")
    return node


def shows(view: View, node: Node | str, index: int, shift: float = 0) -> None:
    """Waits for a frame and sees its colour."""
    view.wait_for_frame(node, index, COUNT)
    view.wait_for_color(node, colors(COUNT, shift)[index])
