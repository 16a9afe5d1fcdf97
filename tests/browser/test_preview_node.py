"""The slider through all that its node and its workflow go through."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from comfy_host import Graph, Node
from comfy_view import View
from node_boxes import boxes, drag_corner, on_title, stands_inside
from plain_frames import COUNT, colored, opened, shows
from seeded_run import FRAMES, opened_run

LEAST = {"FrameBisector": 420, "InterpolationPreview": 280}
"""Pixels that a preview is high when its node is as small as it gets."""


@pytest.mark.parametrize("kind", LEAST)
def test_the_preview_fills_its_node_at_every_size(view, kind):
    graph = Graph()
    node = graph.add(kind)
    view.open(graph)
    view.show(node, scale=0.5)
    _, outer = boxes(view, node)
    drag_corner(view, outer, -600, -600)
    least, outer = boxes(view, node)
    assert stands_inside(least, outer) and least["height"] >= 0.5 * LEAST[kind]
    for wider, higher in ((0, 100), (150, 0), (100, 150)):
        drag_corner(view, outer, wider, higher)
        inner, outer = boxes(view, node)
        assert stands_inside(inner, outer)
    assert inner["width"] > least["width"] + 200 and inner["height"] > least["height"] + 200
    drag_corner(view, outer, -600, -600)
    inner, outer = boxes(view, node)
    assert stands_inside(inner, outer)
    assert inner["height"] == pytest.approx(least["height"], abs=2)


def test_the_preview_opens_with_a_picture_of_512_pixels(view):
    node = opened(view)
    picture = view.preview(node).locator(".di-now canvas").bounding_box()
    assert 510 <= min(picture["width"], picture["height"]) <= 530


def test_a_new_node_keeps_its_seed(view):
    graph = Graph()
    node = graph.add("FrameBisector")
    view.open(graph)
    control = "({ name }) => name === 'control_after_generate'"
    made = f"() => LiteGraph.createNode('FrameBisector').widgets.find({control}).value"
    assert node and view.evaluate(made) == "fixed"


def set_panel(view: View, is_open: bool) -> None:
    """Open or close the properties panel, and wait for the page to make room."""
    view.page.evaluate(
        "(open) => app.extensionManager.setting.set('Comfy.RightSidePanel.IsOpen', open)", is_open
    )
    view.settle(30)


def test_the_properties_panel_leaves_the_slider_as_it_is(view):
    graph = Graph()
    node = graph.add("FrameBisector")
    view.open(graph, show=node)
    known = "() => app.extensionManager.setting.get('Comfy.RightSidePanel.IsOpen') !== undefined"
    if not view.page.evaluate(known):
        pytest.skip("this front end has no properties panel")
    before, _ = boxes(view, node)
    view.evaluate("(id) => app.canvas.selectNode(find(id))", node.id)
    try:
        set_panel(view, True)
        view.page.get_by_role("button", name="Toggle properties panel").wait_for()
        view.page.get_by_text("frames_per_gap", exact=True).last.wait_for()
        assert view.page.get_by_text("preview", exact=True).count() == 0
    finally:
        set_panel(view, False)
    after, _ = boxes(view, node)
    assert after["width"] == pytest.approx(before["width"], abs=1)


def test_a_workflow_of_an_older_version_gets_room_and_no_picks(view):
    graph = Graph()
    node = graph.add("FrameBisector")
    view.open(graph, show=node)
    workflow = view.workflow()
    saved = workflow["nodes"][0]
    values = [w for w in view.evaluate("(id) => find(id).widgets.map((w) => w.name)", node.id)]
    assert "picks" in values
    saved["widgets_values"].pop()
    saved["inputs"] = [slot for slot in saved["inputs"] if slot["name"] != "picks"]
    saved["size"] = [300, 420]
    view.load(workflow)
    view.show(node)
    inner, outer = boxes(view, node)
    assert stands_inside(inner, outer) and inner["height"] > 400
    picks = "(id) => find(id).widgets.find(({ name }) => name === 'picks').value"
    assert view.evaluate(picks, node.id) == ""
    assert "No frames yet" in view.preview(node).inner_text()


def test_a_removed_node_leaves_nothing_running(view):
    node = opened(view)
    view.preview(node).get_by_label("Play").click()
    view.wait_for_frame(node, 2, COUNT)
    view.evaluate(
        """() => {
            const ask = window.ask = requestAnimationFrame;
            window.asked = [];
            window.requestAnimationFrame = (act) => {
                if (new Error().stack.includes("frame_slider.js")) asked.push(performance.now());
                return ask(act);
            };
        }"""
    )
    view.wait("() => asked.length > 3")
    menus = view.page.locator(".di-menu").count()
    view.evaluate("(id) => app.graph.remove(find(id))", node.id)
    view.settle(2)
    last = view.evaluate("() => asked.length")
    view.page.wait_for_timeout(500)
    assert view.evaluate("() => asked.length") == last
    assert view.page.locator(".di-menu").count() == menus - 1
    view.evaluate("() => { window.requestAnimationFrame = ask; }")


def select(view: View, node: Node | str) -> None:
    """Click on the title of a node."""
    view.page.mouse.click(*on_title(view, node))
    view.wait("() => app.canvas.selectedItems.size === 1")


def delete_and_undo(view: View, node: Node) -> None:
    select(view, node)
    view.page.keyboard.press("Delete")
    view.wait("(id) => !find(id)", node.id)
    view.page.keyboard.press("Control+z")
    view.wait("(id) => find(id)", node.id)
    view.show(node)


def test_undo_brings_a_deleted_node_back_with_its_frames(view):
    node = opened(view)
    delete_and_undo(view, node)
    shows(view, node, 0)


@pytest.mark.plain_dom
def test_a_chosen_speed_stays_with_its_node(view):
    node = opened_run(view)
    assert view.preview(node).get_by_label("Speed").input_value() == "2"
    view.preview(node).get_by_label("Speed").select_option("24")
    delete_and_undo(view, node)
    view.wait_for_frame(node, 2, FRAMES)
    assert view.preview(node).get_by_label("Speed").input_value() == "24"
    view.load(view.workflow())
    view.show(node)
    view.wait_for_frame(node, 2, FRAMES)
    assert view.preview(node).get_by_label("Speed").input_value() == "24"


def test_undo_in_the_bar_leaves_the_shown_frame(view):
    node = opened(view)
    size = "(id) => find(id).size[0]"
    before = view.evaluate(size, node.id)
    view.evaluate(
        """(id) => {
            app.canvas.emitBeforeChange();
            find(id).setSize([500, find(id).size[1]]);
            app.canvas.emitAfterChange();
        }""",
        node.id,
    )
    view.bar(node).focus()
    view.page.keyboard.press("End")
    shows(view, node, 16)
    view.page.keyboard.press("Control+z")
    view.wait(f"(given) => ({size})(given[0]) === given[1]", [node.id, before])
    shows(view, node, 16)
    view.bar(node).focus()
    view.page.keyboard.press("Control+y")
    view.wait(f"(id) => ({size})(id) === 500", node.id)
    shows(view, node, 16)


def test_a_copy_has_the_frames_and_is_independent(view):
    node = opened(view)
    select(view, node)
    view.page.keyboard.press("Control+c")
    view.page.keyboard.press("Control+v")
    view.wait("() => app.graph._nodes.length === 3")
    other = view.evaluate("() => String(Math.max(...app.graph._nodes.map(({ id }) => id)))")
    view.evaluate("(id) => { find(id).pos = [1000, 600]; }", other)
    view.show(other)
    shows(view, other, 0)
    view.bar(other).focus()
    view.page.keyboard.press("End")
    shows(view, other, 16)
    view.show(node)
    shows(view, node, 0)


def test_in_a_subgraph(view):
    graph, _ = colored()
    view.open(graph)
    place = view.enter_subgraph("InterpolationPreview")
    view.run()
    shows(view, place, 0)


@pytest.mark.plain_dom
def test_two_sliders_mind_their_own_frames(view):
    graph, first = colored()
    second = graph.add("InterpolationPreview", images=["1", 0])
    view.open(graph, show=first)
    view.run()
    shows(view, first, 0)
    view.bar(first).focus()
    view.page.keyboard.press("End")
    shows(view, first, 16)
    view.show(second)
    shows(view, second, 0)


@pytest.mark.plain_dom
def test_what_is_on_the_screen_is_kept_while_another_tab_runs(view):
    """The server keeps a node's last runs, and what a page shows beyond them."""
    graph, node = colored(shift=0.25 + 0.001 * view.vue)
    view.open(graph, show=node)
    view.run()
    shows(view, node, 0, 0.25 + 0.001 * view.vue)
    workflow = view.workflow()
    view.page.wait_for_timeout(1000)  # until the page has told the server
    for press in range(6):
        graph.prompt["1"]["inputs"]["shift"] = 0.5 + 0.01 * press + 0.1 * view.vue
        run = view.server.run(graph.prompt, extra_pnginfo={"workflow": {"id": workflow["id"]}})
        assert run.error is None
    view.load(workflow)
    view.show(node)
    shows(view, node, 0, 0.25 + 0.001 * view.vue)
    view.says(node, "")


# Other workflows


def test_another_workflow_and_back(view):
    """While one runs, another with the same numbers of nodes is on the screen."""
    graph, node = colored()
    view.open(graph, show=node)
    other = a_copy(view)
    view.run()
    shows(view, node, 0)
    view.evaluate(
        """() => {
            app.canvas.emitBeforeChange();
            const [shift, delay] = app.graph._nodes[0].widgets.slice(2);
            [shift.value, delay.value] = [0.1, 2];
            app.canvas.emitAfterChange();
        }"""
    )
    prompt = view.queue()
    view.load(other)
    assert view.outcome(prompt)["status"]["status_str"] == "success"
    view.settle(60)  # the page asks the server whose run that was
    assert "No frames yet" in view.preview(node).inner_text()
    view.command("Workspace.PreviousOpenedWorkflow")
    view.wait("() => app.graph._nodes[0].widgets[2].value === 0.1")
    view.show(node)
    shows(view, node, 0, 0.1)
    view.command("Workspace.NextOpenedWorkflow")
    view.wait("() => app.graph._nodes[0].widgets[2].value === 0")
    view.settle(20)
    assert "No frames yet" in view.preview(node).inner_text()


def a_copy(view: View) -> dict[str, Any]:
    """What the workflow on the screen is as one of its own."""
    return {**view.workflow(), "id": str(uuid.uuid4())}


@pytest.mark.plain_dom
def test_a_copy_of_a_workflow_shows_what_the_server_has_in_its_cache(view):
    graph, node = colored(shift=0.05)
    view.open(graph, show=node)
    other = a_copy(view)
    view.run()
    shows(view, node, 0, 0.05)
    view.load(other)
    view.show(node)
    assert "No frames yet" in view.preview(node).inner_text()
    view.run()
    shows(view, node, 0, 0.05)


def test_a_run_of_the_history_brings_its_frames_back(view):
    """As the front end opens a job of the past: its workflow, and what its nodes put out."""
    graph, node = colored(shift=0.15)
    view.open(graph, show=node)
    job = view.run()
    shows(view, node, 0, 0.15)
    view.evaluate("() => { app.graph._nodes[0].widgets[2].value = 0.2; }")
    view.run()
    shows(view, node, 0, 0.2)
    workflow = job["prompt"][3]["extra_pnginfo"]["workflow"]
    assert "frames" not in workflow["nodes"][1]["properties"]
    view.load(workflow)
    view.evaluate("(outputs) => { app.nodeOutputs = outputs; }", job["outputs"])
    view.show(node)
    shows(view, node, 0, 0.15)


def test_a_job_that_is_opened_from_the_panel_has_its_frames(view):
    """Its workflow is the one that was sent, from before its node had the frames."""
    button = view.page.get_by_role("button", name=re.compile("active"))
    if not button.count():
        pytest.skip("this front end has no panel of jobs")
    graph, node = colored(shift=0.35)
    view.open(graph, show=node)
    view.run()
    shows(view, node, 0, 0.35)
    view.wait_until_stored(node)
    folder = view.evaluate("(id) => find(id).properties.frames", node.id)
    view.evaluate("() => { app.graph._nodes[0].widgets[2].value = 0.45; }")
    view.run()
    shows(view, node, 0, 0.45)
    panel = view.page.get_by_text("Job Queue", exact=True)
    if not panel.is_visible():
        button.click()
    # each is called by the file of the picture that it is shown by
    view.page.get_by_text(f"{folder}.webp", exact=True).click(button="right")
    view.page.get_by_text("Open as workflow in new tab").click()
    view.wait("() => app.graph._nodes[0]?.widgets[2].value === 0.35")
    if panel.is_visible():
        button.click()
    view.show(node)
    shows(view, node, 0, 0.35)
