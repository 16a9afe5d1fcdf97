"""The slider in a browser, dragged and filled again and again: `python benchmarks/slider.py`

In a real ComfyUI, its own front end, and the Chromium that tests use; canvas renderer.

`drag`: the mouse moves the bar to each of 65 frames of 512 x 512 that were seen before; the time
from its event to the frame in the canvas, p95, against the time between two animation frames of
the page at rest. Every frame is told by its colour; a wrong one ends the benchmark.

The rest: what a page holds after all runs of a graph against what it held after the first ten,
garbage collected; with the slider, and without it (its script is kept from the page), which tells
what the front end adds by itself. `process` is the resident memory of the page's process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.report import parser, publish

if TYPE_CHECKING:
    from comfy_host import Node, Server
    from comfy_view import View
    from playwright.sync_api import Browser

CHECKOUT = Path(__file__).parents[1]
_WATCH = """(preview) => {
    const [range, canvas] = ["range", "now canvas"].map((name) =>
        preview.querySelector(`.di-${name}`));
    window.drags = [];
    preview.addEventListener("input", ({ timeStamp }) => {
        requestAnimationFrame(() => {
            const ms = performance.now() - timeStamp;
            const middle = [canvas.width / 2, canvas.height / 2];
            const { data } = canvas.getContext("2d").getImageData(...middle, 1, 1);
            drags.push({ ms, index: Number(range.value), color: [...data].slice(0, 3) });
        });
    });
}"""
_FRAME_TIMES = """async () => {
    const times = [];
    for (let i = 0; i < 120; i += 1) times.push(await new Promise(requestAnimationFrame));
    return times.slice(1).map((time, i) => time - times[i]);
}"""


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--frames", type=int, default=65)
    words.add_argument("--size", type=int, default=512, help="side of a frame in pixels")
    words.add_argument("--runs", type=int, default=100)
    words.add_argument("--first", type=int, default=10, help="runs before the first measurement")
    options = words.parse_args()
    sys.path.insert(0, str(CHECKOUT / "tests" / "support"))
    with host() as server:
        with page(server) as view:
            rows = [dragged(view, options.frames, options.size)]
            rows += grown(view, "with the slider", options)
        with page(server, blocked=True) as view:
            rows += grown(view, "without it", options)
    publish(rows, options.json)


@contextmanager
def host() -> Iterator[Server]:
    """A ComfyUI with this pack."""
    import comfy_host
    import comfy_page

    if reason := comfy_host.why_not():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as folder:
        comfy_page.write_settings(Path(folder))
        with comfy_host.Server(comfy_host.find_host(), Path(folder)) as server:
            yield server


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium that tests use."""
    from chromium import CHROMIUM, FLAGS
    from playwright.sync_api import sync_playwright

    with sync_playwright() as runner:
        yield runner.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@contextmanager
def page(server: Server, blocked: bool = False) -> Iterator[View]:
    """Its front end in a Chromium of its own; where `blocked`, without the script of the slider."""
    from comfy_view import opened_view

    with chromium() as browser, opened_view(browser, server, "canvas") as view:
        if blocked:
            view.page.route("**/interpolation_preview.js", lambda route: route.abort())
            view.reload()
        yield view


def colored(view: View, frames: int, size: int) -> Node:
    """A graph of plain colours before a slider, on the page; the slider."""
    from plain_frames import colored as graph_of

    graph, node = graph_of(count=frames, size=size)
    view.open(graph, show=node)
    return node


def run(view: View, number: int) -> None:
    """Run the graph with colours that no other number has."""
    view.evaluate(
        """(number) => {
            app.graph._nodes[0].widgets.find(({ name }) => name === "shift").value = number / 1000;
        }""",
        number,
    )
    view.run()


def dragged(view: View, frames: int, size: int) -> dict[str, Any]:
    """Time from the mouse to the picture."""
    from comfy_view import colors

    node = colored(view, frames, size)
    run(view, 0)
    mouse = view.page.mouse
    for index in range(frames):
        mouse.move(*view.on_bar(node, index, frames))
        if index == 0:
            mouse.down()
        view.wait_for_frame(node, index, frames)
    at_rest = statistics.median(view.evaluate(_FRAME_TIMES))
    view.preview(node).evaluate(_WATCH)
    for index in reversed(range(frames)):
        mouse.move(*view.on_bar(node, index, frames))
        view.settle(2)
    mouse.up()
    drags = view.evaluate("() => drags")
    expected = [list(color) for color in colors(frames)]
    seen = {drag["index"] for drag in drags}
    if len(seen) < frames - 1 or any(drag["color"] != expected[drag["index"]] for drag in drags):
        raise SystemExit(f"the slider did not show what it should have: {drags}")
    times = [drag["ms"] for drag in drags]
    return row(f"drag: p95 of {len(times)}, ms", statistics.quantiles(times, n=20)[-1], at_rest)


def grown(view: View, name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What the page holds after all runs, against after the first."""
    colored(view, options.frames, options.size)
    for number in range(options.first):
        run(view, number)
    early = held(view)
    for number in range(options.first, options.runs):
        run(view, number)
    late = held(view)
    return [
        row(f"{what} after {options.runs} runs, {options.first}, {name}", late[what], early[what])
        for what in late
    ]


def held(view: View) -> dict[str, float]:
    """What the page holds once garbage is collected."""
    view.page.wait_for_timeout(2000)  # the last run's pictures are loaded
    session = view.page.context.new_cdp_session(view.page)
    session.send("Performance.enable")
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    metrics = {
        one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]
    }
    session.detach()
    return {
        "heap MiB": metrics["JSHeapUsedSize"] / 2**20,
        "DOM nodes": metrics["Nodes"],
        "listeners": metrics["JSEventListeners"],
        "process MiB": resident(view),
    }


def resident(view: View) -> float:
    """MiB of the process of the page."""
    session = view.page.context.browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    pids = [process["id"] for process in processes if process["type"] == "renderer"]
    return max(_resident(pid) for pid in pids) / 2**10


def _resident(pid: int) -> int:
    """KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def row(measure: str, figure: float, against: float) -> dict[str, Any]:
    return {"measure": measure, "figure": figure, "against": against, "ratio": figure / against}


if __name__ == "__main__":
    main()
