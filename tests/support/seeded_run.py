"""A run of Frame Bisector among a server's temporary files, as if the node had made it."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from comfy_host import Graph, Node, Server
from comfy_view import View, colors
from PIL import Image

FRAMES = 5
CANDIDATES = 4
CHOSEN = 2
"""The candidate of the frame half-way that has the best score, and is the frame."""
SIDE = 256
PARENTS = {2: (0, 4), 1: (0, 2), 3: (2, 4)}
DEPTHS = {2: 1, 1: 2, 3: 2}


def seed_run(server: Server, candidates: int = CANDIDATES, **about: Any) -> str:
    """Put the files of five frames there, each of a colour of its own; the folder's name.

    `about` is what else the page is told of the run.
    """
    folder = server.folder / "temp" / f"interpolation_{secrets.token_hex(6)}"
    pictures = folder.with_name(f"interpolation_frames_{folder.name[-6:]}")
    for path in (folder, pictures):
        path.mkdir(parents=True)
    frames = [_frame(index, pictures, candidates) for index in range(FRAMES)]
    told = {
        "version": 5,
        "folder": folder.name,
        "pictures": pictures.name,
        "workflow": "",
        "seed": 0,
        "loop": False,
        "notes": [],
        "settings": {},
        "inputs": {},
        "frames": frames,
        "done": FRAMES,
        "state": "finished",
        "failure": "",
        **about,
    }
    (folder / "frames.json").write_text(json.dumps({"interpolation": [told]}))
    return folder.name


def _frame(index: int, pictures: Path, candidates: int) -> dict[str, Any]:
    """What is told of a frame, whose picture is written."""
    name = f"{secrets.token_hex(16)}.png"
    Image.new("RGB", (SIDE, SIDE), colors(FRAMES)[index]).save(pictures / name)
    made = index in DEPTHS
    strip = None
    if made:
        strip = f"{secrets.token_hex(16)}.jpg"
        sheet = Image.new("RGB", (SIDE * candidates, SIDE))
        for place, color in enumerate(colors(candidates, 0.1 * index)):
            sheet.paste(color, (SIDE * place, 0, SIDE * (place + 1), SIDE))
        sheet.save(pictures / strip)
    return {
        "index": index,
        "position": index / (FRAMES - 1),
        "depth": DEPTHS.get(index, 0),
        "parents": PARENTS.get(index, ()),
        "first": 0,
        "count": candidates if made else 0,
        "scores": [0.1, 0.2, 0.4, 0.3][:candidates] if made else [],
        "candidate": CHOSEN if made else None,
        "picked": False,
        "best": CHOSEN if made else None,
        "roll": 0,
        "file": name,
        "strip": strip,
    }


def opened_run(view: View, **about: Any) -> Node:
    """A Frame Bisector on the screen that shows the frame half-way of such a run (`seed_run`)."""
    graph = Graph()
    node = graph.add("FrameBisector", preset="balanced")
    view.open(graph)
    workflow = view.workflow()
    workflow["nodes"][0]["properties"]["frames"] = seed_run(view.server, **about)
    view.load(workflow)
    view.show(node)
    view.wait_for_frame(node, 0, FRAMES)
    view.bar(node).fill("2")
    view.wait_for_frame(node, 2, FRAMES)
    title = view.preview(node).locator(".di-strip-title")
    view.wait("(title) => title.textContent.startsWith('Frame 3 ')", title.element_handle())
    return node
