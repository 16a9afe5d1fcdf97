"""ComfyUI's own front end in Chromium, for pictures of nodes and graphs."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

CHECKOUT = Path(__file__).parents[1]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests" / "support")]

import comfy_page  # noqa: E402
from chromium import CHROMIUM, FLAGS  # noqa: E402
from comfy_host import Server, find_host, why_not  # noqa: E402
from comfy_page import write_settings  # noqa: E402

from diffusion_interpolation.demo.pair import pair  # noqa: E402
from diffusion_interpolation.demo.world import render  # noqa: E402
from diffusion_interpolation.pictures import to_image  # noqa: E402

STAND_INS = [
    "checkpoints/v1-5-pruned-emaonly-fp16.safetensors",
    "checkpoints/sd_xl_base_1.0.safetensors",
    "clip_vision/clip_vision_g.safetensors",
    "controlnet/control_v11p_sd15_openpose_fp16.safetensors",
    "inversions/inversion_00001_.safetensors",
    "rerankers/ViT-L-14-openai.safetensors",
    "diffusion_models/flux-2-klein-4b.safetensors",
    "diffusion_models/qwen_image_fp8_e4m3fn.safetensors",
    "diffusion_models/z_image_turbo_bf16.safetensors",
    "loras/Qwen-Image-Lightning-8steps-V1.0.safetensors",
    "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors",
    "text_encoders/qwen_3_4b.safetensors",
    "vae/ae.safetensors",
    "vae/flux2-vae.safetensors",
    "vae/qwen_image_vae.safetensors",
]
"""Empty files in `models/`, so that loaders have something to choose."""

MARGIN = 24
_BOUNDS = """(only) => {
    const boxes = app.graph._nodes.filter((n) => !only || n.type === only).map((n) => [
        n.pos[0], n.pos[1] - LiteGraph.NODE_TITLE_HEIGHT,
        n.pos[0] + n.size[0], n.pos[1] + n.size[1],
    ]);
    for (const g of only ? [] : app.graph._groups)
        boxes.push([g.pos[0], g.pos[1], g.pos[0] + g.size[0], g.pos[1] + g.size[1]]);
    const least = (i) => Math.min(...boxes.map((b) => b[i]));
    const most = (i) => Math.max(...boxes.map((b) => b[i]));
    return [least(0), least(1), most(2), most(3)];
}"""
_MOVE = """([x, y]) => {
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset[0] = x;
    app.canvas.ds.offset[1] = y;
    app.canvas.deselectAll?.();
    app.canvas.setDirty(true, true);
}"""


@contextmanager
def running_server() -> Iterator[Server]:
    """A server on the host that is found, in a folder of its own."""
    if reason := why_not():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as name:
        _furnish(Path(name))
        with Server(find_host(), Path(name)) as server:
            yield server


def _furnish(folder: Path) -> None:
    """Settings, stand-ins for models, and puppets for LoadImage."""
    write_settings(folder)
    for name in STAND_INS:
        (folder / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "models" / name).touch()
    (folder / "input").mkdir()
    first, second = render(pair(), 512)
    puppets = {"first": first, "second": second, "third": second, "fourth": first, "last": second}
    for name, puppet in puppets.items():
        to_image(puppet).save(folder / "input" / f"{name}.png")


@contextmanager
def opened(server: Server, scale: float = 1) -> Iterator[Page]:
    """The front end, with `scale` pixels of a picture for one of its own."""
    with sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(device_scale_factor=scale)
        page.goto(server.url)
        fresh(page)
        yield page
        browser.close()


def fresh(page: Page) -> None:
    """Start the front end again, with only the graph on the screen."""
    comfy_page.fresh(page)
    page.evaluate("() => { app.extensionManager.focusMode = true; }")


def picture(page: Page, only: str = "") -> Image.Image:
    """All of the graph, or one type of node, at its natural size."""
    left, top, right, bottom = page.evaluate(_BOUNDS, only)
    size = [round(right - left) + 2 * MARGIN, round(bottom - top) + 2 * MARGIN]
    # away from the edges, where the front end has its menus
    wide, high = max(1400, size[0] + 200), max(900, size[1] + 200)
    page.set_viewport_size({"width": wide, "height": high})
    page.evaluate(_MOVE, [100 + MARGIN - left, 100 + MARGIN - top])
    page.mouse.move(-5, -5)
    page.wait_for_timeout(1500)
    clip = {"x": 100, "y": 100, "width": size[0], "height": size[1]}
    return Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
