"""The candidates of a frame, and the picture of the frame as one of the front end's."""

from __future__ import annotations

import urllib.request

import pytest
from comfy_host import Node
from comfy_view import View
from node_boxes import boxes, drag_corner, on_title, stands_inside
from seeded_run import FRAMES, opened_run


def marks(view: View, node: Node) -> list[str]:
    """What is written on the candidates."""
    return view.preview(node).locator(".di-mark").all_text_contents()


@pytest.mark.plain_dom
def test_a_legend_tells_the_choice_by_scores_from_that_of_a_person(view):
    node = opened_run(view)
    candidates = view.preview(node).locator(".di-candidate")
    assert marks(view, node) == ["", "", "best score", ""]
    candidates.nth(0).click()
    assert marks(view, node) == ["your pick", "", "best score", ""]
    names = [one.get_attribute("title") for one in candidates.all()]
    assert names == [
        "Candidate 0, score +0.1000, your pick",
        "Candidate 1, score +0.2000",
        "Candidate 2, score +0.4000, best score",
        "Candidate 3, score +0.3000",
    ]
    candidates.nth(2).click()
    assert marks(view, node) == ["", "", "your pick", ""]


def test_candidates_grow_with_the_node(view):
    node = opened_run(view)
    thumbnail = view.preview(node).locator(".di-thumbnail").first
    picture = view.preview(node).locator(".di-now canvas")

    def sides(wider: float, higher: float) -> list[float]:
        drag_corner(view, boxes(view, node)[1], wider, higher)
        view.settle(15)
        return [thumbnail.bounding_box()["width"], picture.bounding_box()["height"]]

    beside, large, tall = sides(0, 0), sides(250, 300), sides(-450, 0)
    assert large[0] > 1.5 * beside[0] and large[1] > beside[1] + 200
    # below the picture of a tall node
    assert tall[0] > 1.5 * beside[0]


LONG = {
    "text": "A note that takes several lines under the slider of a new node. " * 4,
    "values": {},
}


def test_a_long_message_leaves_room_for_every_score(view):
    node = opened_run(view, notes=[LONG])
    view.says(node, LONG["text"])
    assert lowest_score(view, node) <= lowest(view, node, ".di-candidates")
    view.preview(node).locator(".di-candidate").nth(0).click()
    view.preview(node).get_by_role("button", name="Reset").wait_for()
    assert lowest_score(view, node) <= lowest(view, node, ".di-candidates")


@pytest.mark.plain_dom
@pytest.mark.parametrize("width", [0, -450], ids=["beside the picture", "below it"])
def test_a_pick_moves_no_candidate(view, width):
    node = opened_run(view, candidates=3)
    drag_corner(view, boxes(view, node)[1], width, 0)
    view.settle(15)
    candidates = view.preview(node).locator(".di-candidate")
    places = [one.bounding_box() for one in candidates.all()]
    candidates.nth(1).click()
    view.preview(node).get_by_role("button", name="Reset").wait_for()
    view.settle()
    assert [one.bounding_box() for one in candidates.all()] == places
    last = ".di-candidate:last-child"
    assert lowest(view, node, last) <= lowest(view, node, ".di-candidates")
    view.preview(node).get_by_role("button", name="Reset").click()
    view.preview(node).get_by_role("button", name="Reset").wait_for(state="hidden")


def lowest_score(view: View, node: Node) -> float:
    view.settle()
    return lowest(view, node, ".di-candidate:last-child .di-score")


def lowest(view: View, node: Node, part: str) -> float:
    """The lower edge of a part of the preview."""
    box = view.preview(node).locator(part).bounding_box()
    return box["y"] + box["height"]


OUTDATED = "Inputs have changed since these frames were made."


def test_the_line_says_what_is_true_of_the_frames_now(view):
    """Notes of the frames while the node is as it was; no price of a run that is over."""
    price = {"text": "3 candidates of 3 frames.", "values": {}, "running": True}
    note = {"text": "The keyframes were cropped.", "values": {}}
    inputs = {"frames_per_gap": "15", "seed": 0, "picks": "", "preset": "balanced"}
    node = opened_run(view, notes=[note, price], inputs=inputs)
    view.says(node, note["text"])
    view.set_widget(node, "frames_per_gap", "7")
    view.says(node, OUTDATED)
    assert view.preview(node).get_by_role("button", name="Run").is_visible()
    view.set_widget(node, "frames_per_gap", "15")
    view.says(node, note["text"])


def test_another_seed_takes_picks_away_that_were_of_its_noise(view):
    node = opened_run(view, inputs={"seed": 0})
    view.preview(node).locator(".di-candidate").nth(0).click()
    view.says(node, "The next run makes 3 of 5 frames again.")
    picks = "(id) => find(id).widgets.find(({ name }) => name === 'picks').value"
    view.set_widget(node, "seed", 0)
    assert view.evaluate(picks, node.id) == "0.5: 0"
    view.set_widget(node, "seed", 7)
    assert view.evaluate(picks, node.id) == ""
    assert marks(view, node) == ["", "", "best score", ""]
    view.says(node, OUTDATED)


@pytest.mark.plain_dom
def test_picks_that_cannot_be_read_go_away_with_a_press(view):
    node = opened_run(view, inputs={"seed": 0, "picks": ""})
    view.set_widget(node, "picks", "the nice one, 0.75: 1")
    view.says(
        node,
        "picks has an entry that cannot be read: the nice one. "
        "A click on a candidate takes it out.",
    )
    assert not view.preview(node).get_by_role("button", name="Run").is_visible()
    view.preview(node).locator(".di-candidate").nth(1).click()
    picks = "(id) => find(id).widgets.find(({ name }) => name === 'picks').value"
    assert view.evaluate(picks, node.id) == "0.75: 1, 0.5: 1"
    view.says(node, "The next run makes 3 of 5 frames again.")


_NAMES_ANOTHER = """([bar, title]) => bar.value !== "2"
    && title.textContent.startsWith(`Frame ${Number(bar.value) + 1} `)"""


@pytest.mark.plain_dom
def test_while_it_plays_the_title_follows_and_no_candidates_are_shown(view):
    node = opened_run(view)
    preview = view.preview(node)
    bar, title = view.bar(node), preview.locator(".di-strip-title")
    candidate = preview.locator(".di-candidate").nth(0)
    preview.get_by_label("Play").click()
    view.wait(_NAMES_ANOTHER, [bar.element_handle(), title.element_handle()])
    assert not candidate.is_visible()
    preview.get_by_label("Pause").click()
    bar.fill("2")
    view.wait_for_frame(node, 2, FRAMES)
    view.settle()
    candidate.click()
    view.settle(10)
    assert marks(view, node) == ["your pick", "", "best score", ""]
    candidate.click()
    view.settle(10)
    assert marks(view, node) == ["", "", "best score", ""], "a second press takes it back"


@pytest.mark.plain_dom
def test_a_double_click_opens_the_frame_in_a_tab_of_its_own(view):
    node = opened_run(view)
    with view.page.context.expect_page() as opened:
        view.preview(node).locator(".di-now canvas").dblclick()
    address = opened.value.url
    opened.value.close()
    assert address == shown(view, node)
    assert urllib.request.urlopen(address).headers["Content-Type"] == "image/png"


def shown(view: View, node: Node) -> str:
    """The address of the frame half-way."""
    return view.evaluate(
        """async (id) => {
            const folder = find(id).properties.frames;
            const answer = await fetch(`/diffusion_interpolation/run?folder=${folder}`);
            const { frames, pictures } = (await answer.json()).interpolation[0];
            const query = { filename: frames[2].file, subfolder: pictures, type: "temp" };
            return app.api.apiURL(`/view?${new URLSearchParams(query)}`);
        }""",
        node.id,
    ).replace("/api/view", f"{view.server.url}/api/view")


@pytest.mark.parametrize("entry", ["Open Image", "Save Image"])
def test_the_menu_of_the_node_has_its_picture(view, entry):
    node = opened_run(view)
    address = shown(view, node)
    open_menu(view, node)
    view.page.get_by_text("Copy Image", exact=True).first.wait_for()
    item = view.page.get_by_text(entry, exact=True).first
    if entry == "Open Image":
        with view.page.context.expect_page() as opened:
            item.click()
        assert opened.value.url == address
        opened.value.close()
    else:
        with view.page.expect_download() as download:
            item.click()
        assert download.value.suggested_filename in address


def open_menu(view: View, node: Node) -> None:
    """Click with the right button on the title of a node."""
    view.page.mouse.click(*on_title(view, node), button="right")
    view.settle()


def visible(view: View, node: Node) -> list[str]:
    """The inputs that a node shows as rows in the canvas renderer."""
    return view.evaluate(
        """(id) => {
            const node = find(id);
            const rows = node.widgets.filter((widget) => node.isWidgetVisible(widget));
            return rows.map(({ name }) => name);
        }""",
        node.id,
    )


_GROUP = "() => app.graph._groups[0].size[1]"
_PUT_IN_GROUP = """(id) => {
    const { pos, size } = find(id), group = new LiteGraph.LGraphGroup("Around");
    group.pos = [pos[0] - 20, pos[1] - 60];
    group.size = [size[0] + 40, size[1] + 80];
    app.graph.add(group);
    return group.size[1];
}"""
"""Draw a tight group around a node; its height."""


@pytest.mark.plain_dom
def test_rare_inputs_are_rows_only_where_they_are_asked_for(view):
    """Nodes 2.0 folds them itself."""
    if view.vue:
        pytest.skip("the front end has a button of its own")
    node = opened_run(view)
    rows = visible(view, node)
    assert "preset" in rows and "sampler_name" not in rows
    size = "(id) => find(id).size[1]"
    before = view.evaluate(size, node.id)
    tight = view.evaluate(_PUT_IN_GROUP, node.id)
    picture = view.preview(node).locator(".di-now canvas")
    height = picture.bounding_box()["height"]
    press = """(id) => find(id).widgets.find(({ name }) => name === "options").callback()"""
    view.evaluate(press, node.id)
    view.settle(10)
    assert {*rows} < {*visible(view, node)} and "sampler_name" in visible(view, node)
    assert view.evaluate(size, node.id) > before + 200
    grown = view.evaluate(size, node.id) - before
    assert view.evaluate(_GROUP) == pytest.approx(tight + grown), "the node stays in its group"
    assert picture.bounding_box()["height"] == pytest.approx(height, abs=2)
    view.load(view.workflow())
    view.show(node)
    assert "sampler_name" in visible(view, node), "it stays so"
    view.evaluate(press, node.id)
    view.settle(10)
    assert visible(view, node) == rows
    assert view.evaluate(size, node.id) == pytest.approx(before, abs=2)
    assert view.evaluate(_GROUP) == pytest.approx(tight, abs=2)


def test_without_a_preset_the_inputs_that_it_would_decide_are_there(view):
    node = opened_run(view)
    view.evaluate(
        """(id) => {
            const preset = find(id).widgets.find(({ name }) => name === "preset");
            preset.value = "custom";
            preset.callback("custom");
        }""",
        node.id,
    )
    view.settle(10)
    if view.vue:
        label = view.page.locator(f'[data-node-id="{node.id}"]').get_by_text("max_denoise")
        label.first.wait_for()
        return
    rows = visible(view, node)
    assert {"steps", "cfg", "candidates", "max_denoise", "min_denoise"} < {*rows}
    assert "sampler_name" not in rows
    inner, outer = boxes(view, node)
    assert stands_inside(inner, outer)


@pytest.mark.plain_dom
def test_a_change_of_the_renderer_leaves_no_row_hidden(view):
    """Nodes 2.0 folds by itself, and in newer front ends shows nothing that is hidden."""
    if view.vue:
        pytest.skip("it has no other renderer to come from")
    node = opened_run(view)
    name = "Comfy.VueNodes.Enabled"
    change = "([name, value]) => app.extensionManager.setting.set(name, value)"
    hidden = "(id) => find(id).widgets.filter(({ hidden }) => hidden).length"
    assert view.evaluate(hidden, node.id) > 5
    view.page.evaluate(change, [name, True])
    try:
        view.wait(f"(id) => ({hidden})(id) === 0", node.id)
    finally:
        view.page.evaluate(change, [name, False])
    view.wait(f"(id) => ({hidden})(id) > 5", node.id)


SCREEN, TITLE = 900, 30
"""Pixels of a screen's height, and of a node's title."""


def test_a_new_node_fits_the_screen_and_is_half_a_picture(view):
    node = opened_run(view)
    picture = view.preview(node).locator(".di-now canvas").bounding_box()
    inner, outer = boxes(view, node)
    save = view.preview(node).get_by_role("button", name="Save").bounding_box()
    assert stands_inside(save, inner)
    assert picture["height"] >= 0.45 * (outer["height"] + (0 if view.vue else TITLE))
    assert outer["height"] <= SCREEN - (0 if view.vue else TITLE)
