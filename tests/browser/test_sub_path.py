"""The slider where a reverse proxy serves ComfyUI under a sub-path."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import comfy_view
import pytest
from comfy_view import colors
from plain_frames import COUNT, opened, shows
from sub_path_proxy import sub_path_proxy


@pytest.fixture
def view(request, browser, front_end, pages):
    """A page that knows the server by the proxy's address alone."""
    renderer = pages(False).renderer
    with (
        sub_path_proxy(front_end.url) as proxy,
        comfy_view.opened_view(browser, front_end, renderer, f"{proxy.url}/") as view,
    ):
        if view.vue and view.version < comfy_view.FIRST_WITH_DOM_WIDGETS:
            pytest.skip("Nodes 2.0 of this front end is an experiment that draws no DOM widgets")
        yield view, proxy


def test_the_slider_works_under_a_sub_path(view):
    view, proxy = view
    node = opened(view, shift=0.33)
    view.wait_for_color(node, colors(COUNT, 0.33)[0])
    view.bar(node).focus()
    view.page.keyboard.press("End")
    shows(view, node, COUNT - 1, 0.33)
    with view.page.expect_download() as download:
        view.preview(node).get_by_role("button", name="Save").click()
        view.page.get_by_role("menuitem", name="All frames").click()
    content = Path(download.value.path()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == COUNT
    view.says(node, "")
    view.wait_until_stored(node)
    view.reload()
    view.show(node)
    shows(view, node, 0, 0.33)
    # pictures of the front end's own, which it looks for at the root
    hosts_own = ("/assets/", "/favicon")
    assert [path for path in proxy.strays if not path.startswith(hosts_own)] == []
