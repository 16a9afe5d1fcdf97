"""A page with ComfyUI's front end, and what tests and benchmarks do on it."""

from __future__ import annotations

import colorsys
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import comfy_page
from comfy_host import Graph, Node, Server
from PIL import Image
from playwright.sync_api import Browser, Locator, Page

LONGEST_WAIT = 60_000  # ms; machines that test are busy
SIZE = {"width": 1200, "height": 1500}
OURS = "/extensions/comfyui-diffusion-interpolation/"
RENDERERS = {"canvas": False, "vue": True}
"""And what the setting `Comfy.VueNodes.Enabled` is for each."""
FIRST_WITH_DOM_WIDGETS = (1, 28)
"""Before this version, Nodes 2.0 was an experiment that drew no pack's DOM widgets."""

HOSTS_OWN = [
    # files that a user may have, and that are asked for to see whether there are any
    r"404 \(Not Found\) .*/(user\.css|userdata|settings)",
    # models of the workflow that a new user is shown, and releases: there is no internet
    r"ERR_(NAME_NOT_RESOLVED|INTERNET_DISCONNECTED|CONNECTION_\w+|PROXY_\w+|TUNNEL_\w+) ",
    r"(Network Error|Failed to fetch|NetworkError)",
    r"legacy (queue|manager|menu)|\[MaskEditor\]|graph accessed before initialization",
    # a subgraph's workflow that is no longer the one on the screen
    r"\[subgraphNavigation\]",
    r"Invalid layout total size|input\.link is deprecated|\[DEPRECATION WARNING\]",
    # 1.27.10, at start-up and at the making of a subgraph
    r"Cannot read properties of undefined \(reading 'id'\)",
    r"404 \(Not Found\) .*/favicon\.ico$",
    r"Attempted to cleanup event listeners for graph that was never set up",
]
"""Complaints in the console that come without this pack, too."""

_BUILD = """(prompt) => {
    app.canvas.setGraph(app.rootGraph ?? app.graph);
    const made = (MAKE_NODES)(prompt);
    let x = 0;
    for (const id of Object.keys(prompt)) {
        made[id].pos = [x, 0];
        x += made[id].size[0] + 60;
    }
    return { ...JSON.parse(JSON.stringify(app.graph.serialize())), id: crypto.randomUUID() };
}""".replace("MAKE_NODES", comfy_page.MAKE_NODES)

_STILL = """addEventListener("DOMContentLoaded", () => {
    const style = document.createElement("style");
    style.textContent = ".animate-pulse, .animate-spin { animation: none !important; }";
    document.head.append(style);
});"""
"""Stops what the host has blinking while it works: without a GPU that takes a quarter of a core."""

_FIND = """const find = (id) => {
    let graph = app.rootGraph ?? app.graph, node = null;
    for (const part of String(id).split(":")) {
        node = graph.getNodeById(Number(part));
        graph = node?.subgraph;
    }
    return node;
};"""


_STORED = """(id) => [localStorage, sessionStorage].some((storage) =>
    Object.values(storage).some((text) => text.includes(find(id).properties.frames)))"""


def colors(count: int = 17, shift: float = 0) -> list[tuple[int, ...]]:
    """What a node TestColors shows, in bytes."""
    hues = [0.8 * place / max(1, count - 1) + shift for place in range(count)]
    return [tuple(round(255 * p) for p in colorsys.hsv_to_rgb(hue % 1, 1, 0.9)) for hue in hues]


def version_of(text: str) -> tuple[int, ...]:
    """The three numbers of a front end's version."""
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


@dataclass
class View:
    """A page with the front end, and what a test does on it."""

    page: Page
    server: Server
    renderer: str
    complaints: list[str] = field(default_factory=list)

    @property
    def vue(self) -> bool:
        return RENDERERS[self.renderer]

    @property
    def version(self) -> tuple[int, ...]:
        """Of the front end."""
        return version_of(self.page.evaluate("() => window.__COMFYUI_FRONTEND_VERSION__"))

    def wait(self, condition: str, arg: Any = None, timeout: float = LONGEST_WAIT) -> None:
        """Until a function of JavaScript gives something true; `find(id)` in it finds a node."""
        self.page.wait_for_function(
            f"(arg) => {{ {_FIND} return ({condition})(arg); }}", arg=arg, timeout=timeout
        )

    def evaluate(self, function: str, arg: Any = None) -> Any:
        """What a function of JavaScript gives; `find(id)` in it finds a node."""
        return self.page.evaluate(f"(arg) => {{ {_FIND} return ({function})(arg); }}", arg)

    def set_widget(self, node: Node | str, name: str, value: Any) -> None:
        """Give an input of a node another value, as both renderers do for a person."""
        self.evaluate(
            """([id, name, value]) => {
                const widget = find(id).widgets.find((widget) => widget.name === name);
                widget.value = value;
                widget.callback(value);
            }""",
            [_id(node), name, value],
        )

    def open(self, graph: Graph, show: Node | None = None) -> None:
        """Put a graph on the screen as a workflow that was loaded."""
        self.load(self.page.evaluate(_BUILD, graph.prompt))
        if show:
            self.show(show)

    def load(self, workflow: dict[str, Any]) -> None:
        """Open a workflow, as dropping its file on the page does."""
        self.page.evaluate("(data) => app.loadGraphData(data)", workflow)
        kinds = sorted(node["type"] for node in workflow["nodes"])
        self.wait(
            "(kinds) => String(app.graph._nodes.map((node) => node.type).sort()) === String(kinds)",
            kinds,
        )
        self.settle()

    def reload(self) -> None:
        self.page.reload()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Until the front end knows all nodes and shows a workflow."""
        self.page.wait_for_function(
            "() => window.app?.extensionManager?.workflow?.activeWorkflow"
            " && LiteGraph.registered_node_types.FrameBisector && app.graph?._nodes.length",
            timeout=2 * LONGEST_WAIT,
        )
        self.settle()

    def settle(self, frames: int = 4) -> None:
        """Let a few animation frames pass, which the front end needs to place what is new."""
        self.page.evaluate(
            """async (frames) => {
                for (let i = 0; i < frames; i += 1) await new Promise(requestAnimationFrame);
            }""",
            frames,
        )

    def queue(self, press: Callable[[], Any] | None = None) -> str:
        """Press Run, or do what `press` does; the id of the prompt that is queued."""
        asked = lambda answer: (  # noqa: E731
            answer.url.endswith("/prompt") and answer.request.method == "POST"
        )
        with self.page.expect_response(asked) as answer:
            (press or self._press_run)()
        return answer.value.json()["prompt_id"]

    def _press_run(self) -> None:
        self.page.evaluate("() => { app.queuePrompt(0); }")

    def enter_subgraph(self, kind: str) -> str:
        """Put all nodes into a subgraph, open it, and show its node of this kind; the node's id."""
        outside, inside = self.evaluate(
            """(kind) => {
                const { subgraph, node } = app.graph.convertToSubgraph(new Set(app.graph._nodes));
                app.canvas.openSubgraph(subgraph, node);
                return [node.id, subgraph._nodes.find(({ type }) => type === kind).id];
            }""",
            kind,
        )
        self.settle()
        self.show(f"{outside}:{inside}")
        return f"{outside}:{inside}"

    def wait_until_stored(self, node: Node | str) -> None:
        """Until the browser has a node's frames in its copy of the workflow.

        The front end stores that a moment after a change, for the next time the page is opened.
        """
        self.wait(_STORED, _id(node))

    def outcome(self, prompt_id: str, timeout: float = 120) -> dict[str, Any]:
        """Wait until a prompt has ended; what the history says of it."""
        for _ in range(round(timeout / 0.1)):
            history = self.server.get(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            self.page.wait_for_timeout(100)
        raise TimeoutError(f"{prompt_id} did not end within {timeout} s: {self.server.log[-2000:]}")

    def run(self, timeout: float = 120) -> dict[str, Any]:
        """Press Run and wait for the end; what the history says of it."""
        return self.outcome(self.queue(), timeout)

    def show(self, node: Node | str, scale: float = 1) -> None:
        """Bring a node into view, its upper left corner near that of the canvas."""
        self.evaluate(
            """([id, scale]) => {
                const { pos } = find(id), { ds } = app.canvas;
                ds.scale = scale;
                ds.offset[0] = 250 / scale - pos[0];
                ds.offset[1] = 130 / scale - pos[1];
                app.canvas.setDirty(true, true);
            }""",
            [_id(node), scale],
        )
        self.settle()

    def preview(self, node: Node | str) -> Locator:
        """The locator of what a node shows of its frames; to be asked again for a new node."""
        name = _id(node)
        self.wait("(id) => find(id)?.widgets?.some(({ name }) => name === 'preview')", name)
        self.evaluate(
            """(id) => {
                for (const old of document.querySelectorAll(`[data-test="${id}"]`))
                    delete old.dataset.test;
                const widget = find(id).widgets.find(({ name }) => name === "preview");
                widget.element.dataset.test = id;
            }""",
            name,
        )
        return self.page.locator(f'.di-preview[data-test="{name}"]')

    def wait_for_frame(self, node: Node | str, index: int, count: int) -> None:
        """Until a frame (from 0) is drawn on a node's preview."""
        self.preview(node).wait_for()
        self.page.wait_for_function(
            """([id, text]) => {
                const preview = document.querySelector(`.di-preview[data-test="${id}"]`);
                const range = preview?.querySelector(".di-range");
                return range?.getAttribute("aria-valuetext")?.startsWith(text)
                    && !preview.querySelector(".di-message").textContent;
            }""",
            arg=[_id(node), f"Frame {index + 1} of {count},"],
            timeout=LONGEST_WAIT,
        )

    def bar(self, node: Node | str) -> Locator:
        """The range input of a node's slider."""
        return self.preview(node).locator(".di-range")

    def on_bar(self, node: Node | str, index: int, count: int) -> tuple[float, float]:
        """Where the thumb of the bar is for a frame (from 0), on the screen."""
        box, thumb = self.bar(node).bounding_box(), 16
        share = index / (count - 1)
        return box["x"] + thumb / 2 + share * (box["width"] - thumb), box["y"] + box["height"] / 2

    def says(self, node: Node | str, text: str) -> None:
        """Waits until this is the line under a node's slider."""
        self.page.wait_for_function(
            "([status, text]) => status.textContent === text",
            arg=[self.preview(node).locator(".di-status-text").element_handle(), text],
        )

    def listen(self, node: Node | str) -> None:
        """Keep in `said` what the line under a node's slider says from now on."""
        self.preview(node).locator(".di-status-text").evaluate(
            """(status) => {
                window.said = [];
                new MutationObserver(() => said.push(status.textContent))
                    .observe(status, { childList: true, characterData: true, subtree: true });
            }"""
        )

    def command(self, name: str) -> None:
        """One of the front end's, which its menus and keys call."""
        self.page.evaluate("(name) => app.extensionManager.command.execute(name)", name)
        self.settle()

    def workflow(self) -> dict[str, Any]:
        """The workflow on the screen."""
        return self.page.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")

    def wait_for_color(self, node: Node | str, color: tuple[int, ...]) -> None:
        """Until a node's picture has this colour, which is another's while its own is decoded."""
        for _ in range(LONGEST_WAIT // 100):
            if self.color(node) == color:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the picture is {self.color(node)}, not {color}")

    def color(self, node: Node | str) -> tuple[int, ...]:
        """The colour in the middle of a node's picture, on a screenshot."""
        box = self.preview(node).locator(".di-now canvas").bounding_box()
        middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        shot = self.page.screenshot(clip={**middle, "width": 4, "height": 4})
        return Image.open(io.BytesIO(shot)).convert("RGB").getpixel((1, 1))

    def forgive(self, text: str) -> None:
        """Take a complaint off the console that the test has brought about."""
        assert any(text in complaint for complaint in self.complaints)
        self.complaints[:] = [one for one in self.complaints if text not in one]

    def check(self) -> None:
        """Fails where the console has seen a complaint that is not the host's own."""
        known = [re.compile(pattern) for pattern in HOSTS_OWN]
        unknown = [
            complaint
            for complaint in self.complaints
            if OURS in complaint or not any(pattern.search(complaint) for pattern in known)
        ]
        self.complaints.clear()
        assert not unknown, "\n".join(unknown)


def _id(node: Node | str) -> str:
    return node.id if isinstance(node, Node) else str(node)


@contextmanager
def opened_view(
    browser: Browser, server: Server, renderer: str, address: str = ""
) -> Iterator[View]:
    """The front end in a browser that knows nothing of earlier ones.

    `address` is where the browser finds the server, if that is not its own.
    """
    comfy_page.set_setting(server.url, "Comfy.VueNodes.Enabled", RENDERERS[renderer])
    context = browser.new_context(viewport=SIZE, accept_downloads=True)
    context.set_default_timeout(LONGEST_WAIT)
    context.add_init_script(_STILL)
    view = View(context.new_page(), server, renderer)
    _listen(view)
    view.page.goto(address or server.url)
    view.wait_until_ready()
    yield view
    context.close()


def _listen(view: View) -> None:
    """Keep what the console complains of, with the file it comes from."""

    def hear(message: Any) -> None:
        if message.type in ("error", "warning"):
            view.complaints.append(f"{message.text} {message.location.get('url', '')}")

    view.page.on("console", hear)
    view.page.on("pageerror", lambda error: view.complaints.append(error.stack or str(error)))
