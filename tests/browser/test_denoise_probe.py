"""Denoise Probe on a page: a click on one of its frames gives Frame Bisector the denoise."""

from __future__ import annotations

import pytest
from comfy_host import Graph, Node
from comfy_view import View
from demo_graphs import SMALL, Demo

VALUES = "0.3, 0.45, 0.6"


def opened(view: View, bisectors: int = 1) -> tuple[Node, list[Node]]:
    """A probe that has run, and bisectors of the same pictures that have not."""
    demo = Demo(Graph())
    source = {name: getattr(demo, name) for name in ("model", "vae", "positive", "negative")}
    source |= {"keyframes": demo.keyframes, "preset": "fast try"}
    probe = demo.graph.add("DenoiseProbe", **source, values=VALUES)
    paths = [demo.graph.add("FrameBisector", **source) for _ in range(bisectors)]
    for path in paths:
        demo.graph.prompt[path.id]["inputs"]["max_denoise"] = 0.5
    view.open(demo.graph, show=probe)
    mute = "(ids) => ids.forEach((id) => { find(id).mode = 2; })"
    view.evaluate(mute, [path.id for path in paths])
    view.run()
    tiles(view, probe).nth(2).wait_for()
    return probe, paths


def element(view: View, node: Node | str):
    """What a probe shows."""
    node_id = getattr(node, "id", node)
    view.evaluate(
        """(id) => {
            const widget = find(id).widgets.find(({ name }) => name === "probe");
            widget.element.dataset.test = `probe ${id}`;
        }""",
        node_id,
    )
    return view.page.locator(f'[data-test="probe {node_id}"]')


def tiles(view: View, node: Node | str):
    return element(view, node).locator(".di-tile")


def values(view: View, node: Node, *names: str) -> list[object]:
    return view.evaluate(
        """([id, names]) => names.map((name) =>
            find(id).widgets.find((widget) => widget.name === name).value)""",
        [node.id, names],
    )


def says(view: View, probe: Node, text: str) -> None:
    element(view, probe).locator(".di-status-text").get_by_text(text, exact=True).wait_for()


def pressed(view: View, probe: Node) -> list[str]:
    return [tile.inner_text() for tile in tiles(view, probe).all() if is_pressed(tile)]


def is_pressed(tile) -> bool:
    return tile.get_attribute("aria-pressed") == "true"


def test_a_click_on_a_frame_sets_the_denoise_and_can_be_undone(view):
    probe, [path] = opened(view)
    labels = [text.strip() for text in tiles(view, probe).all_inner_texts()]
    assert labels == ["denoise 0.3", "denoise 0.45", "denoise 0.6"]
    for picture in tiles(view, probe).locator("img").all():
        width = f"(image) => image.complete && image.naturalWidth === {SMALL}"
        view.wait(width, picture.element_handle())
    assert pressed(view, probe) == []
    tiles(view, probe).nth(1).click()
    says(view, probe, "max_denoise of Frame Bisector is now 0.45.")
    assert pressed(view, probe) == ["denoise 0.45"]
    # with the other values of its preset for this model, not those that a new node has
    told = "preset", "max_denoise", "min_denoise", "steps", "cfg", "candidates"
    assert values(view, path, *told) == ["custom", 0.45, 0.3, 10, 2, 1]
    tiles(view, probe).nth(0).click()
    assert values(view, path, "max_denoise", "min_denoise") == [0.3, 0.3]
    view.page.keyboard.press("Control+z")
    maximum = "(id) => find(id)?.widgets.find(({ name }) => name === 'max_denoise').value"
    view.wait(f"(id) => ({maximum})(id) === 0.45", path.id)
    tiles(view, probe).nth(2).wait_for()
    view.settle(10)
    assert pressed(view, probe) == ["denoise 0.45"]
    view.page.keyboard.press("Control+z")
    view.wait(f"(id) => ({maximum})(id) === 0.5", path.id)
    assert values(view, path, "preset", "cfg") == ["fast try", 7.5]


def test_among_several_nodes_those_of_the_same_pictures_are_meant_or_the_selected(view):
    probe, paths = opened(view, 2)
    tiles(view, probe).nth(2).click()
    assert [values(view, path, "max_denoise") for path in paths] == [[0.6], [0.6]]
    cut = "(ids) => ids.forEach((id) => { const node = find(id);"
    cut += " node.disconnectInput(node.findInputSlot('keyframes')); })"
    view.evaluate(cut, [paths[1].id])
    tiles(view, probe).nth(1).click()
    assert [values(view, path, "max_denoise") for path in paths] == [[0.45], [0.6]]
    view.evaluate(cut, [paths[0].id])
    view.evaluate("() => app.canvas.deselectAll()")
    tiles(view, probe).nth(0).click()
    says(view, probe, "No Frame Bisector here can take it: select the one you mean.")
    view.evaluate("(id) => app.canvas.selectNode(find(id))", paths[1].id)
    tiles(view, probe).nth(0).evaluate("(tile) => tile.click()")
    assert [values(view, path, "max_denoise") for path in paths] == [[0.45], [0.3]]


@pytest.mark.plain_dom
def test_a_wrong_value_is_said_in_the_node(view):
    demo = Demo(Graph())
    source = {name: getattr(demo, name) for name in ("model", "vae", "positive", "negative")}
    wrong = "low, 0.5, high"
    probe = demo.graph.add("DenoiseProbe", **source, keyframes=demo.keyframes, values=wrong)
    view.open(demo.graph, show=probe)
    outcome = view.run()
    [error] = [told for kind, told in outcome["status"]["messages"] if kind == "execution_error"]
    says(view, probe, error["exception_message"].strip())


def test_the_frames_are_there_only_once(view):
    """The front end would draw its own picture of the grid below them."""
    probe, _ = opened(view, 0)
    names = view.evaluate("(id) => find(id).widgets.map(({ name }) => name)", probe.id)
    assert not [name for name in names if "image-preview" in name]
    drawn = view.page.locator(f'[data-node-id="{probe.id}"] img').count()
    assert drawn == (3 if view.vue else 0)


def test_inputs_show_what_the_preset_decided_until_one_is_changed(view):
    probe, _ = opened(view)
    value = "([id, name]) => find(id).widgets.find((widget) => widget.name === name).value"
    view.wait(f"(told) => ({value})(told) === 10", [probe.id, "steps"])
    assert view.evaluate(value, [probe.id, "preset"]) == "fast try"
    view.set_widget(probe, "steps", 12)
    assert view.evaluate(value, [probe.id, "preset"]) == "custom"
