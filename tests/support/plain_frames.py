"""A slider of plain colours on a page: which frame is shown can be told from its colour."""

from __future__ import annotations

from comfy_host import Graph, Node
from comfy_view import View, colors

COUNT = 17


def colored(**inputs: float) -> tuple[Graph, Node]:
    """A graph of plain colours behind a slider, and the slider."""
    graph = Graph()
    source = graph.add("TestColors", **{"count": COUNT, **inputs})
    return graph, graph.add("InterpolationPreview", images=source[0])


def opened(view: View, **inputs: float) -> Node:
    """The slider of plain colours on the screen, run."""
    graph, node = colored(**inputs)
    view.open(graph, show=node)
    view.run()
    view.wait_for_frame(node, 0, int(inputs.get("count", COUNT)))
    return node


def shows(view: View, node: Node | str, index: int, shift: float = 0) -> None:
    """Waits for a frame and sees its colour."""
    view.wait_for_frame(node, index, COUNT)
    assert view.color(node) == colors(COUNT, shift)[index]
