"""The slider in nodes, in ComfyUI's real front ends: what it shows, and that it comes back."""

from __future__ import annotations

import shutil

import comfy_page
import pytest
from comfy_host import Graph
from comfy_view import FIRST_WITH_DOM_WIDGETS, colors, opened_view
from plain_frames import COUNT, colored, opened, opened_whole

GONE = "These frames are gone: ComfyUI keeps those of a node's last runs until it is restarted."


def test_frames_are_shown_and_come_back_after_a_reload(view):
    node = opened(view)
    view.wait_for_color(node, colors()[0])
    view.bar(node).focus()
    view.page.keyboard.press("End")
    view.wait_for_frame(node, COUNT - 1, COUNT)
    view.wait_for_color(node, colors()[-1])
    view.wait_until_stored(node)
    view.reload()
    view.show(node)
    view.wait_for_frame(node, 0, COUNT)
    view.wait_for_color(node, colors()[0])


@pytest.mark.plain_dom
def test_no_frames_yet(view):
    graph, node = colored()
    view.open(graph, show=node)
    assert "No frames yet" in view.preview(node).inner_text()
    assert view.bar(node).is_disabled()
    assert view.preview(node).get_by_role("button", name="Save").is_disabled()


def test_the_slider_speaks_the_language_of_the_page(browser, any_view):
    if any_view.vue and any_view.version < FIRST_WITH_DOM_WIDGETS:
        pytest.skip("Nodes 2.0 of this front end is an experiment that draws no DOM widgets")
    url = any_view.server.url
    comfy_page.set_setting(url, "Comfy.Locale", "zh")
    try:
        with opened_view(browser, any_view.server, any_view.renderer) as view:
            graph, node = colored()
            view.open(graph, show=node)
            assert "还没有帧" in view.preview(node).inner_text()
            assert view.preview(node).get_by_role("button", name="保存").is_disabled()
    finally:
        comfy_page.set_setting(url, "Comfy.Locale", "en")


@pytest.mark.plain_dom
def test_a_thousand_frames(view):
    graph, node = colored(count=1000)
    view.open(graph, show=node)
    view.run()
    view.wait_for_frame(node, 0, 1000)
    view.bar(node).focus()
    view.page.keyboard.press("End")
    view.wait_for_frame(node, 999, 1000)
    view.wait_for_color(node, colors(1000)[-1])


@pytest.mark.plain_dom
def test_frames_of_different_sizes(view):
    graph = Graph()
    same = graph.add("TestColors", count=3)
    source = graph.add("TestSizes", images=same[0], sides="64, 48, 16")
    node = graph.add("InterpolationPreview", images=source[0])
    view.open(graph, show=node)
    view.run()
    view.wait_for_frame(node, 0, 9)
    view.bar(node).focus()
    for index in range(9):
        view.wait_for_frame(node, index, 9)
        view.wait_for_color(node, colors(3)[index % 3])
        view.page.keyboard.press("ArrowRight")


@pytest.mark.plain_dom
def test_a_frame_that_is_gone_is_said_to_be(view):
    graph, node = colored()
    view.open(graph, show=node)
    view.run()
    view.wait_until_stored(node)
    file = view.evaluate(
        """async (id) => {
            const folder = find(id).properties.frames;
            const answer = await fetch(`/diffusion_interpolation/run?folder=${folder}`);
            return (await answer.json()).interpolation[0].frames[5].file;
        }""",
        node.id,
    )
    address = f"**/view?*{file}*"
    view.page.route(address, lambda route: route.fulfill(status=404))
    view.reload()
    view.show(node)
    view.says(node, GONE)
    view.bar(node).focus()
    for _ in range(5):
        view.page.keyboard.press("ArrowRight")
    view.preview(node).get_by_text("Frame 6 could not be loaded").wait_for()
    view.page.unroute(address)
    view.forgive("404 (Not Found)")


@pytest.mark.plain_dom
def test_one_frame_leaves_nothing_to_drag(view):
    node = opened(view, count=1)
    assert view.bar(node).is_disabled()
    assert view.preview(node).locator(".di-play").is_disabled()


@pytest.mark.plain_dom
def test_frames_that_are_gone_are_said_to_be_and_made_again(view):
    node = opened_whole(view, shift=0.4 + 0.01 * view.vue)  # nobody else's files
    workflow = view.workflow()
    shutil.rmtree(view.server.folder / "temp" / workflow["nodes"][1]["properties"]["frames"])
    view.load(workflow)
    view.show(node)
    view.says(node, GONE)
    view.preview(node).locator(".di-status button").click()
    view.wait_for_frame(node, 0, COUNT)
    view.says(node, "")


def test_front_ends_without_dom_widgets_run_the_node_all_the_same(any_view):
    """Where this skips nothing any more, the other tests need skip nothing, either."""
    graph, node = colored(count=3)
    any_view.open(graph)
    any_view.run()
    any_view.wait("(id) => find(id).properties.frames", node.id)
