"""The slider in nodes, by mouse and keys, and what it saves."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from comfy_host import Node
from comfy_view import View, colors
from PIL import Image
from plain_frames import COUNT, opened, opened_whole, shows
from screen import bar_is_seen

_GRAPH = """() => ({
    view: [app.canvas.ds.scale, ...app.canvas.ds.offset],
    nodes: app.graph._nodes.map(({ id, pos, size }) => [id, ...pos, ...size]),
})"""


def test_dragging_the_bar_shows_each_frame_and_moves_nothing_else(view):
    node = opened(view)
    before = view.evaluate(_GRAPH)
    for place, index in enumerate((0, 3, 8, 15, 16, 4)):
        view.page.mouse.move(*view.on_bar(node, index, COUNT))
        if place == 0:
            view.page.mouse.down()
        shows(view, node, index)
    view.page.mouse.up()
    view.settle()
    assert view.evaluate(_GRAPH) == before


def test_dragging_the_picture_moves_nothing_else(view):
    node = opened(view)
    before = view.evaluate(_GRAPH)
    box = view.preview(node).locator(".di-now canvas").bounding_box()
    x, y = box["x"] + 5, box["y"] + box["height"] / 2
    view.page.mouse.move(x, y)
    view.page.mouse.down()
    for share, index in ((0.5, 8), (1, 16), (0.25, 4)):
        view.page.mouse.move(x + share * box["width"], y, steps=3)
        shows(view, node, index)
    view.page.mouse.up()
    view.page.keyboard.press("ArrowRight")
    shows(view, node, 5)
    assert view.evaluate(_GRAPH) == before


def test_keys_work_in_the_slider_and_not_on_the_graph(view):
    node = opened(view)
    view.evaluate("(id) => app.canvas.selectNode(find(id))", node.id)
    before = view.evaluate(_GRAPH)
    view.bar(node).focus()
    for key, index in (("ArrowRight", 1), ("End", 16), ("PageDown", 14), ("Home", 0)):
        view.page.keyboard.press(key)
        shows(view, node, index)
    for key in ("Delete", "Backspace", ".", "p"):
        view.page.keyboard.press(key)
    view.settle()
    assert view.evaluate(_GRAPH) == before
    view.page.keyboard.press("Space")
    view.preview(node).get_by_label("Pause").wait_for()
    view.page.keyboard.press("Space")
    view.preview(node).get_by_label("Play").wait_for()
    with view.page.expect_request(lambda request: request.url.endswith("/prompt")):
        view.page.keyboard.press("Control+Enter")


def test_the_wheel_is_the_canvas_s_until_the_slider_has_the_focus(view):
    node = opened(view)
    scale = "() => app.canvas.ds.scale"
    view.preview(node).locator(".di-now canvas").hover()
    view.page.mouse.wheel(0, 120)
    view.wait("() => app.canvas.ds.scale !== 1")
    assert view.bar(node).input_value() == "0"
    view.show(node)
    view.bar(node).focus()
    view.preview(node).locator(".di-now canvas").hover()
    for index in (1, 2, 3):
        view.page.mouse.wheel(0, 120)
        shows(view, node, index)
    assert view.evaluate(scale) == 1


# Looks


def test_the_focus_is_shown_whole_and_covers_nothing(view):
    node = opened(view)
    view.bar(node).focus()
    view.page.keyboard.press("ArrowRight")
    shows(view, node, 1)
    ring, bar = view.preview(node).evaluate(
        """(preview) => {
            const range = preview.querySelector(".di-range");
            const style = getComputedStyle(range), box = range.getBoundingClientRect();
            const scale = box.width / range.offsetWidth;
            const out = scale * (parseFloat(style.outlineOffset) + parseFloat(style.outlineWidth));
            const ring = [box.left - out, box.top - out, box.right + out, box.bottom + out];
            const sides = ({ left, top, right, bottom }) => [left, top, right, bottom];
            const of = (element) => sides(element.getBoundingClientRect());
            return style.outlineStyle === "none" ? null
                : [ring, of(range)];
        }"""
    )
    # inside the bar, where nothing cuts it off and it covers nothing
    assert bar[0] <= ring[0] and ring[2] <= bar[2]
    assert bar[1] <= ring[1] and ring[3] <= bar[3]


def test_forced_colours_leave_the_bar_to_be_seen(view):
    node = opened(view)
    view.bar(node).fill("8")
    shows(view, node, 8)
    view.page.emulate_media(forced_colors="active")
    try:
        assert bar_is_seen(view.bar(node))
    finally:
        view.page.emulate_media(forced_colors="none")


def test_the_slider_of_a_muted_node_is_dimmed(view):
    node = opened(view)
    set_mode = "([id, mode]) => { find(id).mode = mode; app.canvas.setDirty(true, true); }"
    for mode in (2, 4):
        view.evaluate(set_mode, [node.id, mode])
        view.settle(10)
        assert max(view.color(node)) < 200
        view.evaluate(set_mode, [node.id, 0])
        view.wait_for_color(node, colors()[0])


# Saving


def choose(view: View, node: Node, name: str) -> None:
    view.preview(node).get_by_role("button", name="Save").click()
    view.page.get_by_role("menuitem", name=name).click()


def saved(view: View, node: Node, name: str) -> tuple[str, bytes]:
    """What the browser saves when this is chosen: its name and content."""
    with view.page.expect_download() as download:
        choose(view, node, name)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


@pytest.mark.plain_dom
def test_saving(view):
    node = opened(view)
    view.bar(node).focus()
    view.page.keyboard.press("ArrowRight")
    view.page.keyboard.press("ArrowRight")
    shows(view, node, 2)
    name, content = saved(view, node, "This frame")
    assert name == "0003.png"
    picture = Image.open(io.BytesIO(content))
    assert picture.getpixel((32, 32)) == colors(COUNT)[2]
    kinds = {node["type"] for node in json.loads(picture.info["workflow"])["nodes"]}
    assert kinds == {"TestColors", "InterpolationPreview"}
    name, content = saved(view, node, "All frames")
    assert name == "interpolation.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [f"{number:04d}.png" for number in range(1, COUNT + 1)]
    name, content = saved(view, node, "Animation")
    assert name == "interpolation.webp"
    assert Image.open(io.BytesIO(content)).n_frames == 2 * (COUNT - 1)
    name, content = saved(view, node, "Film")
    assert name == "interpolation.mp4" and content[4:8] == b"ftyp"
    view.says(node, "")


GONE = (
    "Could not save: These frames are gone: ComfyUI keeps those of a node's last runs until it is "
    "restarted. Run the workflow again."
)


@pytest.mark.plain_dom
def test_a_failure_to_save_is_said(view):
    node = opened_whole(view, shift=0.3 + 0.01 * view.vue)  # nobody else's files
    folder = view.evaluate("(id) => find(id).properties.frames", node.id)
    for file in (view.server.folder / "temp" / folder).iterdir():
        file.unlink()
    for name in ("All frames", "This frame"):
        view.listen(node)
        choose(view, node, name)
        view.wait("(text) => said.at(-1) === text", GONE)
        view.forgive("404 (Not Found)")


@pytest.mark.plain_dom
def test_keys_in_the_menu(view):
    node = opened(view)
    button = view.preview(node).get_by_role("button", name="Save")
    before = view.evaluate(_GRAPH)
    button.focus()
    view.page.keyboard.press("Enter")
    focused = "() => document.activeElement.textContent"
    view.wait("() => document.activeElement.textContent === 'This frame (PNG)'")
    for key, text in (
        ("ArrowDown", "All frames (ZIP)"),
        ("End", "Film (MP4)"),
        ("ArrowDown", "This frame (PNG)"),
        ("ArrowUp", "Film (MP4)"),
        ("Home", "This frame (PNG)"),
    ):
        view.page.keyboard.press(key)
        assert view.evaluate(focused) == text
    view.page.keyboard.press("Escape")
    assert view.evaluate(focused) == "Save"
    assert not view.page.get_by_role("menu").is_visible()
    assert view.evaluate(_GRAPH) == before
