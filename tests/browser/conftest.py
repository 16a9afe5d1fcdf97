"""Chromium, and ComfyUI's front ends in it, in both of their renderers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import comfy_host
import comfy_page
import pytest
from chromium import CHROMIUM, FLAGS
from comfy_host import Server
from comfy_view import FIRST_WITH_DOM_WIDGETS, RENDERERS, View, opened_view
from front_ends import HOSTS, NEWEST

FAILED = pytest.StashKey[bool]()
"""Whether a test failed, and may have left its page in any state."""
OPENED = pytest.StashKey[list[View]]()
"""All pages that were opened."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run every test in each renderer once: what a renderer breaks, few front ends break alone.

    The canvas renderer is that of the host's own front end, and Nodes 2.0 that of the newest one,
    or of the host's if there is no other. Tests of plain DOM run in one renderer. With
    `--all-pages` all tests run in both renderers of both front ends.
    """
    if config.getoption("all_pages"):
        return
    dropped = [item for item in items if _repeats(item)]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


def _repeats(item: pytest.Item) -> bool:
    params = getattr(getattr(item, "callspec", None), "params", {})
    if "pages" not in params:
        return False
    if params["pages"] == "canvas":
        return params.get("front_end") == NEWEST
    if item.get_closest_marker("plain_dom"):
        return True
    another = comfy_page.newest_front_end() is not None
    return params.get("front_end") == HOSTS and another


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Gives the server with a front end, started when it is first asked for."""
    stack = ExitStack()
    started: dict[str, Server] = {}

    def server(name: str) -> Server:
        if reason := comfy_host.why_not():
            pytest.skip(reason)
        if name not in started:
            folder = tmp_path_factory.mktemp("comfyui")
            comfy_page.write_settings(folder, Comfy_Workflow_Persist=True)
            host, arguments = comfy_host.find_host(), _arguments(name)
            started[name] = stack.enter_context(Server(host, folder, arguments=arguments))
        return started[name]

    with stack:
        yield server


def _arguments(name: str) -> list[str | Path]:
    """What a server with this front end is started with; skips where there is none."""
    if name == HOSTS:
        return []
    newest = comfy_page.newest_front_end()
    if newest is None:
        pytest.skip("COMFYUI_FRONTEND names no other front end")
    return ["--front-end-root", newest]


@pytest.fixture(scope="session", params=[HOSTS, NEWEST])
def front_end(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> Server:
    """A server with each front end."""
    return servers(request.param)


@pytest.fixture(scope="session")
def hosts_front_end(servers: Callable[[str], Server]) -> Server:
    """A server with the host's own front end."""
    return servers(HOSTS)


@pytest.fixture(scope="session", params=RENDERERS)
def pages(
    request: pytest.FixtureRequest, browser: Any, front_end: Server
) -> Iterator[Callable[[bool], View]]:
    """Gives the one page with the front end in each renderer, or opens another for it."""
    stack = ExitStack()
    views: list[View] = []

    def page(anew: bool) -> View:
        if anew or not views:
            stack.close()
            views[:] = [stack.enter_context(opened_view(browser, front_end, request.param))]
            request.config.stash.setdefault(OPENED, []).extend(views)
        return views[0]

    with stack:
        yield page


@pytest.fixture
def any_view(request: pytest.FixtureRequest, pages: Callable[[bool], View]) -> Iterator[View]:
    """A page with the front end in each renderer; at its end the console must be quiet.

    Tests share it, each with workflows of its own, until one of them fails.
    """
    view = pages(request.session.stash.get(FAILED, False))
    request.session.stash[FAILED] = True
    yield view
    view.check()
    request.session.stash[FAILED] = request.node.stash.get(FAILED, False)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Close pages that no further test needs: drawing them takes most of a core."""
    if nextitem is not None and nextitem.path.parent != item.path.parent:
        for view in item.config.stash.get(OPENED, []):
            view.page.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def view(any_view: View) -> View:
    """A page with the front end in each renderer that draws what nodes show of frames."""
    if any_view.vue and any_view.version < FIRST_WITH_DOM_WIDGETS:
        pytest.skip("Nodes 2.0 of this front end is an experiment that draws no DOM widgets")
    return any_view
