"""The embedded demo as a user meets it: from the template browser to picked candidates."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from comfy_host import CHECKOUT
from comfy_view import SIZE, View
from PIL import Image
from workflow import opening_zoom

TEMPLATE = CHECKOUT / "example_workflows" / "embedded_demo.json"

QUICK = {
    "FrameBisector": {"preset": "custom", "frames_per_gap": 7, "steps": 4, "candidates": 3},
    "TextualInvert": {"steps": 2, "draws": 1, "augmentations": 0},
}
"""Values that make the demo short."""

COUNT = 9
"""Frames of the shortened demo."""

_SET = """(values) => {
    for (const node of app.graph._nodes)
        for (const [name, value] of Object.entries(values[node.type] ?? {}))
            node.widgets.find((widget) => widget.name === name).value = value;
}"""
_PIXELS = "(canvas) => canvas.toDataURL().split(',')[1]"


def test_the_demo_from_its_template_to_another_pick(view: View):
    opens_where_it_can_be_read(view)
    demo = Demo(view)
    assert demo.preview.get_by_label("Play").is_visible()
    first = demo.run()
    demo.pause_what_plays_by_itself()
    demo.drag_through(first)
    demo.walk_with_keys(first)
    demo.play()
    demo.peek_at(2, first)
    picked = demo.pick_another_at(2, first)
    assert demo.preview.get_by_label("Play").is_visible(), "only the first frames play"
    assert changed(first, picked) == {1, 2, 3}
    rolled = demo.new_noise_at(6, picked)
    assert changed(picked, rolled) == {5, 6, 7}
    demo.reload(rolled)
    assert changed(first, demo.reset(2)) == {5, 6, 7}


def test_a_pick_holds_the_seed_of_its_frames_and_is_one_step_for_undo(view: View):
    view.load(json.loads(TEMPLATE.read_text(encoding="utf-8")))
    demo = Demo(view)
    demo.set({"seed": 4, "control_after_generate": "increment"})
    first = demo.run()
    assert demo.value("seed") == 5
    demo.another_at(6).click()
    picks = demo.value("picks")
    assert picks.startswith("0.75: ")
    assert demo.value("seed") == 4 and demo.value("control_after_generate") == "fixed"
    demo.press("Control+z", "")
    assert demo.value("seed") == 5 and demo.value("control_after_generate") == "increment"
    demo.press("Control+y", picks)
    assert demo.value("seed") == 4 and demo.value("control_after_generate") == "fixed"
    demo.press("Control+z", "")
    view.show(demo.node)
    demo.go_to(6)
    demo.shows(6, first)
    view.says(demo.node, "Inputs have changed since these frames were made.")
    assert changed(first, demo.pick_another_at(6, first)) == {5, 6, 7}


SCREEN = 1440, 900


def opens_where_it_can_be_read(view: View) -> None:
    """Open the demo on a small screen: all of it is there, and its text is drawn.

    Newer front ends fit a template into the window, and older ones have the view that is saved.
    """
    view.page.set_viewport_size({"width": SCREEN[0], "height": SCREEN[1]})
    try:
        open_template(view)
        view.settle(20)
        scale = view.evaluate("() => app.canvas.ds.scale")
        assert scale > 0.6, "text is drawn"
        saved = json.loads(TEMPLATE.read_text(encoding="utf-8"))
        zooms = saved["extra"]["ds"]["scale"], opening_zoom(saved, SCREEN)
        assert scale in [pytest.approx(zoom) for zoom in zooms]
        fits_the_screen(view)
    finally:
        view.page.set_viewport_size(SIZE)


def fits_the_screen(view: View) -> None:
    """See that all nodes are on the screen as they are drawn."""
    corners = view.evaluate(
        """() => app.graph._nodes.map(({ id, pos, size }) => {
            const drawn = document.querySelector(`[data-node-id="${id}"]`);
            if (drawn) {
                const { left, top, right, bottom } = drawn.getBoundingClientRect();
                return [left, top, right, bottom];
            }
            const { ds, canvas } = app.canvas, corner = canvas.getBoundingClientRect();
            const at = (x, y) => [
                (x + ds.offset[0]) * ds.scale + corner.x, (y + ds.offset[1]) * ds.scale + corner.y,
            ];
            const title = LiteGraph.NODE_TITLE_HEIGHT;
            return [...at(pos[0], pos[1] - title), ...at(pos[0] + size[0], pos[1] + size[1])];
        })"""
    )
    left, top, right, bottom = zip(*corners, strict=True)
    assert min(left) >= 0 and min(top) >= 0
    assert max(right) <= SCREEN[0] and max(bottom) <= SCREEN[1]


def open_template(view: View) -> None:
    """Open the demo as users do."""
    view.page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    view.page.get_by_text("comfyui-diffusion-interpolation").first.click()
    view.page.get_by_text("embedded_demo").first.click()
    view.wait("() => app.graph._nodes.some(({ type }) => type === 'FrameBisector')")
    view.wait("() => app.extensionManager.workflow.activeWorkflow.path.includes('embedded_demo')")
    view.settle()


class Demo:
    """The demo's graph on a page, and what a user does with its bisector."""

    def __init__(self, view: View) -> None:
        self.view, self.page = view, view.page
        self.node = str(view.evaluate(_BISECTOR))
        view.evaluate(_SET, QUICK)
        view.show(self.node)

    # Doing

    def set(self, values: dict[str, Any]) -> None:
        self.view.evaluate(_SET, {"FrameBisector": values})

    def value(self, name: str) -> Any:
        """Of a widget."""
        return self.view.evaluate(
            "([id, name]) => find(id).widgets.find((widget) => widget.name === name).value",
            [self.node, name],
        )

    def run(self, button: Any = None) -> list[Image.Image]:
        """Run the graph, with the button that is given or the front end's; its frames."""
        outcome = self.view.outcome(self.view.queue(button.click if button else None))
        assert outcome["status"]["status_str"] == "success", outcome["status"]["messages"]
        output = outcome["outputs"][self.node]
        folder = output["interpolation"][0]["folder"]
        self.view.wait(
            "([id, folder]) => find(id).properties.frames === folder", [self.node, folder]
        )
        frames = [self.view.server.image(entry).convert("RGB") for entry in output["frames"]]
        assert len(frames) == COUNT
        return frames

    def go_to(self, index: int) -> None:
        """With the keyboard."""
        self.range.focus()
        self.page.keyboard.press("Home")
        for _ in range(index):
            self.page.keyboard.press("ArrowRight")
        self.view.wait_for_frame(self.node, index, COUNT)
        title = self.preview.locator(".di-strip-title")
        self.page.wait_for_function(
            "([title, text]) => title.textContent.startsWith(text)",
            arg=[title.element_handle(), f"Frame {index + 1} "],
        )

    def press(self, keys: str, picks: str) -> None:
        """Press keys that lead to these picks; the front end hears none while it undoes."""
        self.view.settle(20)
        self.page.keyboard.press(keys)
        self.view.wait(
            """([id, text]) =>
                find(id)?.widgets.find(({ name }) => name === "picks").value === text""",
            [self.node, picks],
        )

    # What is on the screen

    @property
    def preview(self) -> Any:
        return self.view.preview(self.node)

    @property
    def range(self) -> Any:
        return self.view.bar(self.node)

    def shown(self) -> Image.Image:
        """The picture on the screen, pixel by pixel."""
        canvas = self.preview.locator(".di-now canvas")
        assert canvas.is_visible()
        png = base64.b64decode(canvas.evaluate(_PIXELS))
        return Image.open(io.BytesIO(png)).convert("RGB")

    def shows(self, index: int, frames: list[Image.Image]) -> None:
        """Waits for a frame, which after a reload may still be on its way, and sees no other."""
        self.view.wait_for_frame(self.node, index, COUNT)
        for _ in range(100):
            self.view.settle(2)
            shown = self.shown()
            if same(shown, frames[index]):
                break
        assert [n for n, frame in enumerate(frames) if same(shown, frame)] == [index]

    # A user's ways

    def pause_what_plays_by_itself(self) -> None:
        """A template's first frames play as soon as they are there."""
        self.preview.get_by_label("Pause").wait_for()
        self.preview.get_by_label("Pause").click()

    def drag_through(self, frames: list[Image.Image]) -> None:
        """Drag the bar over all frames, and see each of them."""
        for index in range(COUNT):
            self.page.mouse.move(*self.view.on_bar(self.node, index, COUNT))
            if index == 0:
                self.page.mouse.down()
            self.shows(index, frames)
        self.page.mouse.up()

    def walk_with_keys(self, frames: list[Image.Image]) -> None:
        self.range.focus()
        for key, index in (("Home", 0), ("ArrowRight", 1), ("End", 8), ("ArrowLeft", 7)):
            self.page.keyboard.press(key)
            self.shows(index, frames)

    def play(self) -> None:
        """Play until several frames were seen, then pause."""
        self.preview.get_by_label("Play").click()
        seen = {self.range.input_value()}
        for _ in range(300):
            self.page.wait_for_timeout(50)
            seen.add(self.range.input_value())
            if len(seen) > 3:
                break
        assert len(seen) > 3
        self.preview.get_by_label("Pause").click()
        at = self.range.input_value()
        self.page.wait_for_timeout(600)
        assert self.range.input_value() == at

    def peek_at(self, index: int, frames: list[Image.Image]) -> None:
        """A candidate under the mouse is shown large in place of the frame, and no longer."""
        candidate = self.another_at(index)
        self.shows(index, frames)
        candidate.hover()
        self.view.settle(10)
        peeked = self.shown()
        assert peeked.size == (256, 256), "the candidate in the size of its file"
        small = peeked.resize(frames[index].size, Image.Resampling.BOX)
        assert 1 < np.abs(np.asarray(small, float) - np.asarray(frames[index])).mean() < 60
        self.preview.locator(".di-strip-title").hover()
        self.shows(index, frames)
        candidate.focus()
        self.page.keyboard.press("ArrowRight")
        assert self.range.input_value() == str(index), "keys in the strip move nothing"
        candidate.blur()

    def pick_another_at(self, index: int, frames: list[Image.Image]) -> list[Image.Image]:
        """Pick a candidate that was not taken, and run again from the preview."""
        candidate = self.another_at(index)
        candidate.click()
        assert candidate.get_attribute("aria-pressed") == "true"
        other = int(candidate.get_attribute("title").split(",")[0].removeprefix("Candidate "))
        assert f"{index / 8:g}: {other}" in self.value("picks")
        self.view.says(self.node, f"The next run makes 3 of {COUNT} frames again.")
        made = self.run(self.preview.locator(".di-status button"))
        self.view.says(self.node, "")
        self.go_to(index)
        assert "di-shown" in candidate.get_attribute("class")
        self.shows(index, made)
        assert not same(made[index], frames[index])
        return made

    def another_at(self, index: int) -> Any:
        """The first candidate of a frame that is not in it."""
        self.go_to(index)
        candidates = self.preview.locator(".di-candidate")
        assert candidates.count() == 3
        taken = [one.get_attribute("class").split().count("di-shown") for one in candidates.all()]
        assert sum(taken) == 1
        return candidates.nth(taken.index(0))

    def new_noise_at(self, index: int, frames: list[Image.Image]) -> list[Image.Image]:
        self.go_to(index)
        self.preview.get_by_text("New noise").click()
        assert f"{index / 8:g}: roll 1" in self.value("picks")
        made = self.run(self.preview.locator(".di-status button"))
        self.go_to(index)
        names = [one.get_attribute("title") for one in self.preview.locator(".di-candidate").all()]
        assert [name.split(",")[0] for name in names] == [f"Candidate {n}" for n in (3, 4, 5)]
        return made

    def reload(self, frames: list[Image.Image]) -> None:
        """After a reload of the page frames and picks are there again."""
        picks = self.value("picks")
        assert picks
        self.view.wait_until_stored(self.node)
        self.view.reload()
        self.view.wait("(id) => find(id)?.type === 'FrameBisector'", self.node)
        assert self.value("picks") == picks
        self.view.show(self.node)
        for index in (0, 2, 6):
            self.go_to(index)
            self.shows(index, frames)

    def reset(self, index: int) -> list[Image.Image]:
        """Leave a frame to the reranker again."""
        self.go_to(index)
        self.preview.get_by_text("Reset").click()
        return self.run(self.preview.locator(".di-status button"))


_BISECTOR = "() => app.graph._nodes.find(({ type }) => type === 'FrameBisector').id"


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.size == b.size and np.array_equal(np.asarray(a), np.asarray(b))


def changed(before: list[Image.Image], after: list[Image.Image]) -> set[int]:
    """The numbers of the frames that differ."""
    pairs = zip(before, after, strict=True)
    return {index for index, (old, new) in enumerate(pairs) if not same(old, new)}
