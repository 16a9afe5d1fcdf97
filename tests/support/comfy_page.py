"""ComfyUI's own front end in Chromium, as tests and the pictures of the documentation use it."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.VueNodes.Enabled": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasMenu": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.Workflow.Persist": False,
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
    "Comfy.NodeBadge.NodeLifeCycleBadgeMode": "None",
}
"""The canvas renderer, and nothing on top of the graph."""

MAKE_NODES = """(prompt) => {
    const graph = app.graph, made = {};
    graph.clear();
    for (const [id, { class_type, inputs }] of Object.entries(prompt)) {
        const node = made[id] = LiteGraph.createNode(class_type);
        node.id = Number(id);
        graph.add(node);
        const values = { control_after_generate: "fixed", preset: "custom", ...inputs };
        for (const widget of node.widgets ?? [])
            if (widget.name in values && !Array.isArray(values[widget.name]))
                widget.value = values[widget.name];
    }
    for (const [id, { inputs }] of Object.entries(prompt))
        for (const [name, value] of Object.entries(inputs))
            if (Array.isArray(value))
                made[value[0]].connect(value[1], made[id], made[id].findInputSlot(name));
    return made;
}"""
"""Puts a prompt of the API on the page as a graph; gives its nodes by id."""

_READY = "() => window.app?.graph && window.LiteGraph?.registered_node_types?.FrameBisector"


def newest_front_end() -> Path | None:
    """A front end other than the host's own, in `$COMFYUI_FRONTEND`.

    Raises `ValueError` where that names a folder without one: another would surprise.
    """
    told = os.environ.get("COMFYUI_FRONTEND")
    if told and not (Path(told) / "index.html").is_file():
        raise ValueError(f"COMFYUI_FRONTEND is {told}, needs a folder with index.html")
    return Path(told).absolute() if told else None


def write_settings(folder: Path, **changes: Any) -> None:
    """The settings of a server's user; `changes` as `Comfy_Workflow_Persist=True`."""
    changed = {name.replace("_", "."): value for name, value in changes.items()}
    user = folder / "user" / "default"
    user.mkdir(parents=True, exist_ok=True)
    (user / "comfy.settings.json").write_text(json.dumps(SETTINGS | changed))


def set_setting(url: str, name: str, value: Any) -> None:
    """Change one setting of a running server; pages that are open do not see it."""
    data = json.dumps(value).encode()
    request = urllib.request.Request(
        f"{url}/settings/{name}", data, {"Content-Type": "application/json"}
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).close()


def wait_until_ready(page: Page) -> None:
    """Until the front end knows the pack's nodes."""
    page.wait_for_function(_READY, timeout=120_000)
    page.wait_for_timeout(2000)


def fresh(page: Page) -> None:
    """Start the front end anew: it keeps widgets' values by the ids of nodes that are gone."""
    page.reload()
    wait_until_ready(page)


def load(page: Page, workflow: dict[str, Any]) -> None:
    """Open a workflow, as dropping its file on the page does."""
    page.evaluate("(data) => app.loadGraphData(data)", workflow)
    page.wait_for_timeout(1000)
