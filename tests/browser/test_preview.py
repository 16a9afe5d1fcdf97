"""The slider in nodes, in ComfyUI's real front ends: used with the mouse and with keys."""

from __future__ import annotations

import time

from comfy_host import Graph
from comfy_view import colors


def colored(**inputs):
    graph = Graph()
    source = graph.add("TestColors", **inputs)
    return graph, graph.add("InterpolationPreview", images=source[0])


def test_first(view):
    t = time.time()
    graph, node = colored(count=17)
    view.open(graph, show=node)
    view.run()
    view.wait_for_frame(node, 0, 17)
    print("frame", time.time() - t)
    assert view.color(node) == colors()[0]
    view.page.screenshot(path=f"/tmp/mine/t1-{view.version[1]}-{view.renderer}.png")
    print(*view.complaints, sep="\n")


def test_second(view):
    graph, node = colored(count=17)
    view.open(graph, show=node)
    view.run()
    view.wait_for_frame(node, 0, 17)
    assert view.color(node) == colors()[0]
    view.reload()
    view.wait_for_frame(node, 0, 17)
    view.page.screenshot(path=f"/tmp/mine/t1b-{view.version[1]}-{view.renderer}.png")
