"""Makes the pictures of the documentation.

    python docs/make_pictures.py [nodes] [graph] [slider] [denoise] [puppets]

`nodes` are pictures of every node, `graph` is the graph of the embedded demo, `slider` is its
slider, `denoise` is the frame half-way from a low to a high denoise, and `puppets` is the moving
picture. Without a name the script makes all of them. `nodes`, `graph` and `slider` need a ComfyUI
(COMFYUI_PATH, or ~/comfy/ComfyUI), Chromium and playwright.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from front_end import CHECKOUT, fresh, opened, picture, running_server
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page

from diffusion_interpolation.command.cli import main as command

from comfy_host import Server  # isort: skip
from comfy_page import load, set_setting  # isort: skip

DOCS = CHECKOUT / "docs"
CATEGORY = "Diffusion Interpolation"
SCALE = 1.5
"""Pixels of a node's picture for one of the front end's."""
GRAPH_WIDTH, GRAPH_BYTES = 1600, 200_000
DEMO = CHECKOUT / "example_workflows" / "embedded_demo.json"
HALF_WAY = 8
"""The number of the demo's frame in the middle."""
DENOISES = "0.15", "0.3", "0.45", "0.55", "0.7", "0.85"
TILE, LABEL = 160, 26
"""Pixels of a picture's side in the strip of denoises, and of the height of the text above it."""
PUPPET_FRAMES, PUPPET_SIDE = 33, 256

_PLACE = """(type) => {
    app.graph.clear();
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    node.pos = [0, 0];
    const [width, height] = node.computeSize();
    node.size = [Math.max(width, node.size[0], 300), height];
}"""


def node_picture(page: Page, node_id: str) -> Image.Image:
    """A new node, alone."""
    fresh(page)
    page.evaluate(_PLACE, node_id)
    return picture(page).quantize(256, dither=Image.Dither.NONE)


def make_nodes(server: Server) -> None:
    folder = CHECKOUT / "js" / "docs"
    ours = [key for key, told in server.object_info().items() if told["category"] == CATEGORY]
    with opened(server, SCALE) as page:
        for node_id in ours:
            file = folder / f"{node_id}.png"
            node_picture(page, node_id).save(file, optimize=True)
            print(_told(file))


def run_in_page(server: Server, page: Page, timeout: float = 900) -> None:
    """Run the graph as the button does, and wait until all of it is shown."""
    before = server.get("/history").keys()
    page.evaluate("() => app.queuePrompt(0)")
    end = time.monotonic() + timeout
    while not (done := server.get("/history").keys() - before):
        if time.monotonic() > end:
            raise TimeoutError(f"the graph was not through after {timeout} s")
        page.wait_for_timeout(500)
    run = server.get("/history")[done.pop()]
    if run["status"]["status_str"] != "success":
        raise RuntimeError(run["status"]["messages"])
    page.wait_for_timeout(3000)


def save_small(image: Image.Image, file: Path) -> None:
    """As WebP, in the best quality that stays under the limit."""
    for quality in range(90, 20, -10):
        image.save(file, quality=quality, method=6)
        if file.stat().st_size <= GRAPH_BYTES:
            return
    raise ValueError(f"{file}: does not get under {GRAPH_BYTES} bytes")


def make_graph(server: Server) -> None:
    with opened(server) as page:
        load(page, json.loads(DEMO.read_text(encoding="utf-8")))
        picture(page)  # sets the size of the page, which is what previews are made for
        run_in_page(server, page)
        image = picture(page)
    height = round(image.height * GRAPH_WIDTH / image.width)
    image = image.resize((GRAPH_WIDTH, height), Image.Resampling.LANCZOS)
    save_small(image, DOCS / "graph.webp")
    print(_told(DOCS / "graph.webp"))


def make_slider(server: Server) -> None:
    """FrameBisector in both renderers, with the frame half-way and its candidates."""
    for name, vue in (("canvas", False), ("nodes2", True)):
        set_setting(server.url, "Comfy.VueNodes.Enabled", vue)
        with opened(server) as page:
            load(page, json.loads(DEMO.read_text(encoding="utf-8")))
            picture(page, "FrameBisector")
            run_in_page(server, page)
            page.locator(".di-range").focus()
            page.keyboard.press("Home")
            for _ in range(HALF_WAY):
                page.keyboard.press("ArrowRight")
            page.evaluate("() => document.activeElement.blur()")
            file = DOCS / f"slider-{name}.webp"
            save_small(picture(page, "FrameBisector"), file)
            print(_told(file))


def make_denoise() -> None:
    """Draw the demo's frame half-way at each of `DENOISES`, between the two keyframes."""
    with tempfile.TemporaryDirectory() as folder:
        for denoise in DENOISES:
            words = ["--frames", "3", "--max-denoise", denoise, "--min-denoise", denoise]
            if command(["demo", "--out", f"{folder}/{denoise}", *words]):
                raise RuntimeError(f"the demo failed at a denoise of {denoise}")
        runs = [Path(folder) / denoise / "run" / "frames" for denoise in DENOISES]
        files = [runs[0] / "000.png", *(run / "001.png" for run in runs), runs[0] / "002.png"]
        strip = labelled_strip(files, ["first keyframe", *DENOISES, "second keyframe"])
    save_small(strip, DOCS / "denoise.webp")
    print(_told(DOCS / "denoise.webp"))


def labelled_strip(files: list[Path], labels: list[str]) -> Image.Image:
    """Return the pictures of `files` in a row, all of one size, each below its label."""
    strip = Image.new("RGB", (TILE * len(files), TILE + LABEL), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(16)
    for number, (file, label) in enumerate(zip(files, labels, strict=True)):
        with Image.open(file) as tile:
            strip.paste(tile.resize((TILE, TILE), Image.Resampling.LANCZOS), (TILE * number, LABEL))
        draw.text((TILE * (number + 0.5), LABEL / 2), label, "black", font, anchor="mm")
    return strip


def make_puppets() -> None:
    """The frames of the command's demo, forth and back, each puppet held for a while."""
    with tempfile.TemporaryDirectory() as folder:
        if command(["demo", "--out", folder, "--frames", str(PUPPET_FRAMES)]):
            raise SystemExit("the demo failed")
        files = sorted((Path(folder) / "run" / "frames").glob("*.png"))
        frames = [
            Image.open(file).convert("RGB").resize((PUPPET_SIDE,) * 2, Image.Resampling.LANCZOS)
            for file in files
        ]
    film = [*frames, *frames[-2:0:-1]]
    durations = [60] * len(film)
    durations[0] = durations[len(frames) - 1] = 900
    file = DOCS / "puppets.webp"
    film[0].save(
        file,
        save_all=True,
        append_images=film[1:],
        duration=durations,
        loop=0,
        quality=85,
        method=6,
    )
    print(_told(file))


def _told(file: Path) -> str:
    with Image.open(file) as image:
        return f"{file.name}: {image.width} x {image.height}, {file.stat().st_size} bytes"


def main(parts: list[str]) -> None:
    if "denoise" in parts or not parts:
        make_denoise()
    if "puppets" in parts or not parts:
        make_puppets()
    if parts and set(parts) <= {"denoise", "puppets"}:
        return
    with running_server() as server:
        if "nodes" in parts or not parts:
            make_nodes(server)
        if "graph" in parts or not parts:
            make_graph(server)
        if "slider" in parts or not parts:
            make_slider(server)


if __name__ == "__main__":
    main(sys.argv[1:])
