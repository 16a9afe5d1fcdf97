"""Writes example_workflows/: the JSON as the front end saves it, and a picture of each.

    python docs/make_workflows.py [name ...]

It needs a ComfyUI (COMFYUI_PATH, or ~/comfy/ComfyUI), Chromium and playwright.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from front_end import CHECKOUT, fresh, opened, picture, running_server
from PIL import Image
from playwright.sync_api import Page

from comfy_host import Run, Server  # isort: skip
from comfy_page import MAKE_NODES, load  # isort: skip
from workflow import to_prompt  # isort: skip
from workflows import models, puppets, separate  # isort: skip
from workflows.links import add_links  # isort: skip
from workflows.sheet import Sheet  # isort: skip

FOLDER = CHECKOUT / "example_workflows"
WIDTH = 512
"""Of a picture, in pixels."""

_BUILD = """([prompt, sheet]) => {
    const graph = app.graph, made = (MAKE_NODES)(prompt);
    const title = LiteGraph.NODE_TITLE_HEIGHT, head = 30, pad = 15;
    const gap = 30; // the other renderer draws some nodes taller
    const between = 20; // groups
    const height = (node) => node.flags.collapsed ? 0 : node.size[1];
    let x = 0, bottom = 0, widest = 0;
    for (const { name, width, color, below, across, nodes } of sheet) {
        if (!below) {
            x += widest;
            widest = bottom = 0;
        }
        let y = bottom + head + pad;
        for (let first = 0; first < nodes.length; first += across) {
            const row = nodes.slice(first, first + across).flatMap((told, place) => {
                if (!told) return [];
                const node = made[told.id];
                if (told.title) node.title = told.title;
                node.flags.collapsed = told.collapsed || undefined;
                node.pos = [x + pad + place * (width + gap), y + title];
                const least = Math.ceil(node.computeSize()[1]) + told.room;
                node.size = [width, Math.max(told.tall, least)];
                return node;
            });
            y += title + Math.max(...row.map(height)) + gap;
        }
        const wide = across * (width + gap) - gap + 2 * pad;
        const group = new LiteGraph.LGraphGroup(name);
        group.pos = [x, bottom];
        group.size = [wide, y - gap + pad - bottom];
        group.color = color;
        graph.add(group);
        bottom = y - gap + pad + between;
        widest = Math.max(widest, wide + between);
    }
    return JSON.stringify(graph.serialize());
}""".replace("MAKE_NODES", MAKE_NODES)


WORKFLOWS: dict[str, tuple[Callable[[Sheet], None], list[str]]] = {
    "embedded_demo": (puppets.embedded_demo, ["FrameBisector"]),
    "one_frame_from_parts": (puppets.one_frame_from_parts, ["PreviewImage"]),
    "remix_with_host_nodes": (puppets.remix_with_host_nodes, ["PreviewImage"]),
    "two_pictures": (models.two_pictures, []),
    "one_subject": (models.one_subject, []),
    "sd15_openpose": (models.sd15_openpose, []),
    "stylised_poses": (models.stylised_poses, []),
    "sdxl": (models.sdxl, []),
    "four_keyframes": (models.four_keyframes, []),
    "z_image_turbo": (separate.z_image_turbo, []),
    "qwen_image": (separate.qwen_image, []),
    "flux2_klein": (separate.flux2_klein, []),
}
"""How each is made, and the nodes whose pictures it is shown by; none: by the graph itself."""


def build(page: Page, make: Callable[[Sheet], None]) -> dict[str, Any]:
    """The workflow as the front end saves it."""
    sheet = Sheet()
    make(sheet)
    fresh(page)
    columns = [vars(column) for column in sheet.columns]
    workflow = json.loads(page.evaluate(_BUILD, [sheet.prompt, columns]))
    add_links(workflow)
    for node in workflow["nodes"]:
        if node["type"] == "FrameBisector":
            node["properties"]["play_when_done"] = True
    # where older front ends have the view when it is opened; text is drawn from 60 %
    return workflow | {"extra": {"ds": {"scale": 0.62, "offset": [120, 120]}}}


def shown(server: Server, workflow: dict[str, Any], kinds: list[str]) -> list[Image.Image]:
    """The pictures that the workflow makes."""
    prompt = to_prompt(workflow, server.object_info())
    run: Run = server.run(prompt, timeout=1200)
    if run.error or run.node_errors:
        raise SystemExit(f"{run.node_errors} {run.error}")
    return [
        server.image(entry).convert("RGB")
        for key, node in prompt.items()
        if node["class_type"] in kinds
        for entry in run.outputs[key].get("frames") or run.outputs[key]["images"]
    ]


def contact_sheet(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size in rows, `WIDTH` pixels wide."""
    columns = next(n for n in range(1, 99) if n * n >= len(pictures))
    side = WIDTH // columns
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (side * columns, side * rows), "#222222")
    for place, image in enumerate(pictures):
        corner = side * (place % columns), side * (place // columns)
        sheet.paste(image.resize((side, side), Image.Resampling.LANCZOS), corner)
    return sheet


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    with running_server() as server, opened(server) as page:
        for name in names or WORKFLOWS:
            make, kinds = WORKFLOWS[name]
            workflow = build(page, make)
            text = json.dumps(workflow, indent=1, ensure_ascii=False)
            (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            if kinds:
                image = contact_sheet(shown(server, workflow, kinds))
            else:
                load(page, workflow)
                image = picture(page)
                image = image.resize((WIDTH, round(image.height * WIDTH / image.width)))
            image.save(FOLDER / f"{name}.jpg", quality=88)
            print(f"{name}: {len(workflow['nodes'])} nodes, {image.width} x {image.height}")


if __name__ == "__main__":
    main(sys.argv[1:])
