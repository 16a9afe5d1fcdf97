"""The slider in Firefox: on the command's page and in ComfyUI."""

from __future__ import annotations

import io
from collections.abc import Iterator

import comfy_page
import pytest
from comfy_host import Graph, Server
from comfy_view import FIRST_WITH_DOM_WIDGETS, RENDERERS, colors, version_of
from firefox import FIREFOX, Firefox
from front_ends import HOSTS
from PIL import Image
from plain_frames import COUNT, PLAIN

from diffusion_interpolation.command.page import write_page

needs_firefox = pytest.mark.skipif(FIREFOX is None, reason="firefox is not installed")

_SHOWS = """([place, color]) => {
    const range = document.querySelector(".di-range");
    const canvas = document.querySelector(".di-now canvas");
    const middle = [canvas.width / 2, canvas.height / 2, 1, 1];
    const seen = [...canvas.getContext("2d").getImageData(...middle).data];
    return range.getAttribute("aria-valuetext")?.startsWith(place)
        && color.every((part, at) => Math.abs(part - seen[at]) <= 3);
}"""
_BOX = "() => document.querySelector('.di-range').getBoundingClientRect().toJSON()"
_PUT = f"""async (prompt) => {{
    const made = ({comfy_page.MAKE_NODES})(prompt);
    const node = made[2], {{ ds }} = app.canvas;
    node.pos = [400, 0];
    ds.scale = 1;
    ds.offset[0] = -100;
    ds.offset[1] = 130;
    app.canvas.setDirty(true, true);
    await app.queuePrompt(0);
}}"""


@pytest.fixture
def firefox(tmp_path) -> Iterator[Firefox]:
    with Firefox(tmp_path) as browser:
        yield browser


def shows(browser: Firefox, index: int) -> None:
    """Waits for a frame, and sees its colour."""
    browser.wait(_SHOWS, [f"Frame {index + 1} of {COUNT},", colors(COUNT)[index]])


def use_the_slider(browser: Firefox) -> None:
    """Drag the bar, then press keys in it."""
    shows(browser, 0)
    box = browser.evaluate(_BOX)
    y, thumb = box["y"] + box["height"] / 2, 18

    def at(index: int) -> tuple[float, float]:
        return box["x"] + thumb / 2 + index / (COUNT - 1) * (box["width"] - thumb), y

    browser.drag(at(0), at(5), at(8))
    shows(browser, 8)
    for key, index in (("End", 16), ("Home", 0), ("ArrowRight", 1)):
        browser.press(key)
        shows(browser, index)


@needs_firefox
def test_the_page_of_the_command(firefox, tmp_path):
    pictures = []
    for color in colors(COUNT):
        stream = io.BytesIO()
        Image.new("RGB", (64, 64), color).save(stream, "PNG")
        pictures.append(stream.getvalue())
    file = tmp_path / "index.html"
    write_page(file, pictures, "Seventeen colours")
    firefox.open(file.as_uri())
    firefox.wait("() => !!document.querySelector('.di-range')")
    use_the_slider(firefox)


@needs_firefox
@pytest.mark.parametrize("renderer", RENDERERS, ids=[f"{HOSTS}-{name}" for name in RENDERERS])
def test_the_slider_in_comfyui(firefox, hosts_front_end: Server, renderer):
    name = "Comfy.VueNodes.Enabled"
    before = hosts_front_end.get(f"/settings/{name}")
    comfy_page.set_setting(hosts_front_end.url, name, RENDERERS[renderer])
    try:
        firefox.open(hosts_front_end.url)
        firefox.wait(
            "() => !!window.app?.extensionManager?.workflow?.activeWorkflow"
            " && !!LiteGraph.registered_node_types.FrameBisector"
        )
        version = version_of(firefox.evaluate("() => window.__COMFYUI_FRONTEND_VERSION__"))
        if RENDERERS[renderer] and version < FIRST_WITH_DOM_WIDGETS:
            pytest.skip("Nodes 2.0 of this front end is an experiment that draws no DOM widgets")
        graph = Graph()
        source = graph.add("TestColors", **PLAIN)
        graph.add("InterpolationPreview", images=source[0])
        firefox.evaluate(_PUT, graph.prompt)
        firefox.wait("() => !!document.querySelector('.di-range:not(:disabled)')")
        use_the_slider(firefox)
    finally:
        comfy_page.set_setting(hosts_front_end.url, name, before)
