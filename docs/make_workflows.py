"""Writes example_workflows/: the JSON as the front end saves it, and a picture of each.

    python docs/make_workflows.py [name ...]

It needs a ComfyUI (COMFYUI_PATH, or ~/comfy/ComfyUI), Chromium and playwright.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from front_end import CHECKOUT, fresh, opened, picture, running_server
from PIL import Image
from playwright.sync_api import Page

from comfy_host import Graph, Node, Run, Server  # isort: skip
from comfy_page import MAKE_NODES, load  # isort: skip
from workflow import to_prompt  # isort: skip

FOLDER = CHECKOUT / "example_workflows"
WIDTH = 512
"""Of a picture, in pixels."""

_BUILD = """([prompt, sheet]) => {
    const graph = app.graph, made = (MAKE_NODES)(prompt);
    const title = LiteGraph.NODE_TITLE_HEIGHT, head = 30, pad = 20;
    const gap = 50; // the other renderer draws many nodes taller
    let x = 0;
    for (const { name, width, color, nodes } of sheet) {
        let y = head + pad;
        for (const { id, title: words, tall, room } of nodes) {
            const node = made[id];
            if (words) node.title = words;
            node.pos = [x + pad, y + title];
            node.size = [width, tall || Math.ceil(node.computeSize()[1]) + room];
            y += title + node.size[1] + gap;
        }
        const group = new LiteGraph.LGraphGroup(name);
        group.pos = [x, 0];
        group.size = [width + 2 * pad, y - gap + pad];
        group.color = color;
        graph.add(group);
        x += width + 2 * pad + 30;
    }
    return JSON.stringify(graph.serialize());
}""".replace("MAKE_NODES", MAKE_NODES)


_TALLER = {"PuppetDemo": 60, "LoadReranker": 90, "RerankerFromCLIP": 60, "NoisyLatentLerp": 30}
"""Room that nodes take in the front end's other renderer, where that is much."""


@dataclass
class Column:
    """A titled group of nodes, one above the other."""

    name: str
    width: int
    color: str
    nodes: list[dict[str, Any]] = field(default_factory=list)


class Sheet(Graph):
    """A graph in the making, in columns from left to right."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: list[Column] = []

    def column(self, name: str, width: int = 320, color: str = "#3f789e") -> None:
        self.columns.append(Column(name, width, color))

    def put(
        self, kind: str, /, title: str = "", room: int = 0, tall: int = 0, **inputs: Any
    ) -> Node:
        """A node at the end of the last column, with `room` pixels for what it will show.

        Or it is `tall` pixels high.
        """
        node = self.add(kind, **inputs)
        room = room or _TALLER.get(kind, 0)
        place = {"id": node.id, "title": title, "room": room, "tall": tall}
        self.columns[-1].nodes.append(place)
        return node

    def note(self, words: str, height: int) -> None:
        self.put("MarkdownNote", title="Note", tall=height, text=words)

    def prompt_of(self, clip: list, words: str, title: str) -> list:
        return self.put("CLIPTextEncode", title=title, tall=120, clip=clip, text=words)[0]


Wires = dict[str, list]

INVERT = {
    "steps": 100,
    "learning_rate": 1e-4,
    "min_denoise": 0.33,
    "max_denoise": 0.67,
    "draws": 1,
    "augmentations": 16,
    "seed": 0,
}
NAMES = ["first", "second", "third", "fourth"]
SCHEDULE = {"scheduler": "ddim_uniform", "steps": 20}
PATH = {
    "max_denoise": 0.55,
    "min_denoise": 0.3,
    "denoise_curve": "linear",
    "candidates": 4,
    **SCHEDULE,
    "sampler_name": "euler",
    "blend": "lerp",
    "seed": 0,
}
FAULTS = "blurry, distorted, text, watermark"
WEBP = {"lossless": False, "quality": 90, "method": "default"}


def two_prompts(sheet: Sheet, clip: list, positive: str, negative: str = FAULTS) -> list[list]:
    sheet.column("Prompts", 300)
    return [
        sheet.prompt_of(clip, positive, "What all frames show"),
        sheet.prompt_of(clip, negative, "What they should not look like"),
    ]


def puppets(sheet: Sheet, note: str, height: int) -> tuple[Node, list[list]]:
    """The embedded demo and its two prompts."""
    sheet.column("Puppets: nothing to download")
    demo = sheet.put(
        "PuppetDemo", positive="a puppet", negative="a double exposure", network="unet"
    )
    sheet.note(note, height)
    return demo, two_prompts(sheet, demo[1], "a puppet", "a double exposure")


def learn(sheet: Sheet, words: list[list], source: Wires, **values: Any) -> list[list]:
    """What TextualInvert makes of the positive and negative prompt `words`."""
    sheet.column("Learn the keyframes")
    prompts = {"positive": words[0], "negative": words[1]}
    learned = sheet.put("TextualInvert", room=220, **source, **prompts, **{**INVERT, **values})
    return [learned[0], learned[1]]


def between(sheet: Sheet, words: list[list], source: Wires, **values: Any) -> list:
    """All frames, under the positive and negative prompt `words`."""
    sheet.column("Frames between", 360)
    prompts = {"positive": words[0], "negative": words[1]}
    return sheet.put("FrameBisector", room=60, **source, **prompts, **{**PATH, **values})[0]


def save(sheet: Sheet, frames: list, prefix: str, fps: float) -> None:
    sheet.column("Animation")
    sheet.put("SaveAnimatedWEBP", room=340, images=frames, filename_prefix=prefix, fps=fps, **WEBP)


def keyframes(sheet: Sheet, count: int, side: int) -> list:
    """Pictures from the input folder, of one size, as one batch."""
    sheet.column("Keyframes")
    loaded = [
        sheet.put("LoadImage", title=f"{name.title()} keyframe", room=250, image=f"{name}.png")
        for name in NAMES[:count]
    ]
    sheet.column("One size", 280)
    sized = [
        sheet.put(
            "ImageScale",
            title=f"{side} x {side}",
            image=image[0],
            upscale_method="lanczos",
            width=side,
            height=side,
            crop="center",
        )
        for image in loaded
    ]
    sheet.column("One batch", 280)
    batch = sized[0][0]
    for image in sized[1:]:
        batch = sheet.put("ImageBatch", title="Batch Images", image1=batch, image2=image[0])[0]
    return batch


def embedded_demo(sheet: Sheet) -> None:
    demo, words = puppets(
        sheet,
        "# From one puppet to another\n\n"
        "Press **Run**: everything here comes with the pack and runs on a CPU in a minute or "
        "two.\n\n"
        "1. *Textual Invert* learns a prompt for each of the two pictures.\n"
        "2. *Frame Bisector* makes the frame half-way, then the frames at the quarters, and so "
        "on. For each frame the reranker keeps the best of several candidates, and the poses "
        "keep limbs in one piece.\n\n"
        "The embedded model needs cfg 2 and a learning rate of 0.25. The values for Stable "
        "Diffusion are in the other examples.",
        330,
    )
    source = {"model": demo[0], "vae": demo[2], "keyframes": demo[5]}
    learned = learn(sheet, words, source, learning_rate=0.25, cfg=2.0, draws=4, augmentations=0)
    frames = between(
        sheet,
        learned,
        source,
        reranker=demo[4],
        control_net=demo[3],
        poses=demo[6],
        frames_per_gap=15,
        cfg=2.0,
    )
    save(sheet, frames, "puppets", 8.0)


def sd15_openpose(sheet: Sheet) -> None:
    sheet.column("Models", 360)
    model = sheet.put("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    control = sheet.put(
        "ControlNetLoader", control_net_name="control_v11p_sd15_openpose_fp16.safetensors"
    )
    reranker = sheet.put(
        "LoadReranker",
        clip_file="ViT-L-14-openai.safetensors",
        architecture="ViT-L-14-quickgelu",
        positive="a sharp photo of one person, high quality",
        negative="blurry, distorted, double exposure, extra limbs",
    )
    sheet.note(
        "# Files\n\n"
        "| in *models/* | what |\n|---|---|\n"
        "| *checkpoints/* | any Stable Diffusion 1.5 |\n"
        "| *controlnet/* | an OpenPose ControlNet for it |\n"
        "| *rerankers/* | a CLIP of open-clip as *.safetensors* |\n"
        "| *pose_detection/* | *vitpose* and *rtdetr*, which find people |\n\n"
        "Choose yours in the loaders above. *Load Reranker* needs the package open-clip and says "
        "how to install it. Turn on *download* in *Pose Extract* for its files, or take poses from "
        "DWPose or from an editor.\n\n"
        "No people in the pictures? Take away *Pose Extract* and the ControlNet.",
        360,
    )
    pictures = keyframes(sheet, 2, 512)
    poses = sheet.put(
        "PoseExtract", room=220, images=pictures, detector="ViTPose", people="largest"
    )
    words = two_prompts(sheet, model[1], "a photo of a dancer")
    source = {"model": model[0], "vae": model[2], "keyframes": pictures}
    learned = learn(sheet, words, source, steps=200, cfg=7.5)
    frames = between(
        sheet,
        learned,
        source,
        reranker=reranker[0],
        control_net=control[0],
        poses=poses[0],
        frames_per_gap=15,
        cfg=7.5,
    )
    save(sheet, frames, "interpolation", 8.0)


def stylised_poses(sheet: Sheet) -> None:
    sheet.column("Models", 360)
    model = sheet.put("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    edges, skeletons = (
        sheet.put("ControlNetLoader", title=f"For {what}", control_net_name=f"{file}.safetensors")
        for what, file in (
            ("edges", "control_v11p_sd15_canny_fp16"),
            ("skeletons", "control_v11p_sd15_openpose_fp16"),
        )
    )
    sheet.note(
        "# Poses of drawings\n\n"
        "Detectors know only photographs. So each drawing is first made into a photograph with "
        "the same edges, and the pose is taken from the photograph. The frames are made from the "
        "drawings themselves.\n\n"
        "Look at the photographs: they need not be beautiful, but each must show a person in the "
        "pose of the drawing. If one does not, say in *The photographs* what it should show, or "
        "change the seed, *denoise* or the strength of the edges.\n\n"
        "You need a Stable Diffusion 1.5, a Canny and an OpenPose ControlNet for it, and ViTPose "
        "and RT-DETR in *models/pose_detection/* (*download* in *Pose Extract* fetches them).",
        420,
    )
    pictures = keyframes(sheet, 2, 512)
    sheet.column("Photographs of them")
    photograph = sheet.prompt_of(model[1], "a photo of a person, full body", "The photographs")
    nothing = sheet.prompt_of(model[1], "drawing, painting, " + FAULTS, "What they are not")
    outlines = sheet.put("Canny", image=pictures, low_threshold=0.2, high_threshold=0.5)
    held = sheet.put(
        "ControlNetApplyAdvanced",
        positive=photograph,
        negative=nothing,
        control_net=edges[0],
        image=outlines[0],
        strength=0.8,
        start_percent=0.0,
        end_percent=0.8,
    )
    latents = sheet.put("VAEEncode", pixels=pictures, vae=model[2])
    sampled = sheet.put(
        "KSampler",
        model=model[0],
        positive=held[0],
        negative=held[1],
        latent_image=latents[0],
        seed=0,
        steps=25,
        cfg=7.5,
        sampler_name="dpmpp_2m",
        scheduler="karras",
        denoise=0.85,
    )
    photographs = sheet.put("VAEDecode", samples=sampled[0], vae=model[2])
    sheet.column("Poses")
    sheet.put("PreviewImage", title="The photographs", tall=300, images=photographs[0])
    poses = sheet.put(
        "PoseExtract",
        room=220,
        images=photographs[0],
        detector="ViTPose",
        people="largest",
        missing_joints="fill in",
    )
    words = two_prompts(sheet, model[1], "a drawing of a dancer")
    source = {"model": model[0], "vae": model[2], "keyframes": pictures}
    learned = learn(sheet, words, source, steps=200, cfg=7.5)
    frames = between(
        sheet,
        learned,
        source,
        control_net=skeletons[0],
        poses=poses[0],
        frames_per_gap=15,
        cfg=7.5,
    )
    save(sheet, frames, "interpolation", 8.0)


def sdxl(sheet: Sheet) -> None:
    sheet.column("Models", 360)
    model = sheet.put("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors")
    vision = sheet.put("CLIPVisionLoader", clip_name="clip_vision_g.safetensors")
    reranker = sheet.put(
        "RerankerFromCLIP",
        clip=model[1],
        clip_vision=vision[0],
        positive="high quality, detailed",
        negative="blurry, distorted, double exposure",
    )
    sheet.note(
        "# Files\n\n"
        "| in *models/* | what |\n|---|---|\n"
        "| *checkpoints/* | any Stable Diffusion XL |\n"
        "| *clip_vision/* | *clip_vision_g.safetensors* |\n\n"
        "CLIP-G's vision is the other half of one of SDXL's own text encoders, so the checkpoint "
        "and this file make a reranker. Without the file: take both nodes away, the frames are "
        "then not chosen among candidates.",
        300,
    )
    pictures = keyframes(sheet, 2, 1024)
    words = two_prompts(sheet, model[1], "a photo of a landscape")
    source = {"model": model[0], "vae": model[2], "keyframes": pictures}
    learned = learn(sheet, words, source, cfg=6.0)
    frames = between(sheet, learned, source, reranker=reranker[0], frames_per_gap=7, cfg=6.0)
    save(sheet, frames, "interpolation_xl", 6.0)


def four_keyframes(sheet: Sheet) -> None:
    sheet.column("Model", 360)
    model = sheet.put("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    sheet.note(
        "# A path through four pictures\n\n"
        "The keyframes are one batch, and their prompts are one conditioning with a row for each "
        "keyframe. *Batch Images* and *Keyframe Conditioning* add one more at the end. Four "
        "keyframes with 7 frames in each gap make 25 frames.\n\n"
        "You need a Stable Diffusion 1.5 in *models/checkpoints/* and four pictures.\n\n"
        "If the frames should look more like the pictures, put *Textual Invert* between the "
        "prompts and *Frame Bisector*.",
        300,
    )
    pictures = keyframes(sheet, 4, 512)
    sheet.column("A prompt for each", 300)
    prompts = [
        sheet.prompt_of(model[1], f"a photo of a tree in {season}", f"{name.title()} keyframe")
        for name, season in zip(NAMES, ["spring", "summer", "autumn", "winter"], strict=True)
    ]
    negative = sheet.prompt_of(model[1], FAULTS, "What they should not look like")
    sheet.column("In a row", 240)
    row = prompts[0]
    for prompt in prompts[1:]:
        row = sheet.put("KeyframeConditioning", first=row, second=prompt)[0]
    source = {"model": model[0], "vae": model[2], "keyframes": pictures}
    frames = between(sheet, [row, negative], source, frames_per_gap=7, cfg=7.5)
    save(sheet, frames, "four_keyframes", 8.0)


def mixed(sheet: Sheet, demo: Node, candidates: int) -> Node:
    """The demo's keyframes, mixed half-way."""
    sheet.column("Mix half-way")
    latents = sheet.put("VAEEncode", pixels=demo[5], vae=demo[2])
    return sheet.put(
        "NoisyLatentLerp",
        model=demo[0],
        latents=latents[0],
        position=0.5,
        denoise=0.55,
        **SCHEDULE,
        blend="lerp",
        candidates=candidates,
        seed=0,
    )


def one_frame_from_parts(sheet: Sheet) -> None:
    demo, words = puppets(
        sheet,
        "# The frame half-way, step by step\n\n"
        "These nodes do what *Frame Bisector* does for each frame:\n\n"
        "1. *Noisy Latent Lerp* adds the same noise to both pictures and mixes them. It does so "
        "eight times, each time with other noise.\n"
        "2. *Conditioned Denoise* removes the noise, with the pose half-way.\n"
        "3. *CLIP Rerank* keeps the best of the eight candidates.\n\n"
        "Change *position* and *denoise*, and run the graph again.",
        310,
    )
    noisy = mixed(sheet, demo, 8)
    sheet.column("Take the noise off")
    sampler = sheet.put("KSamplerSelect", sampler_name="euler")
    clean = sheet.put(
        "ConditionedDenoise",
        model=demo[0],
        noisy_latent=noisy[0],
        sigmas=noisy[1],
        sampler=sampler[0],
        positive=words[0],
        negative=words[1],
        cfg=2.0,
        position=noisy[2],
        seed=0,
        control_net=demo[3],
        poses=demo[6],
        strength_at_keyframes=1.0,
        strength_half_way=1.5,
    )
    pictures = sheet.put("VAEDecode", samples=clean[0], vae=demo[2])
    sheet.column("All candidates", 340)
    sheet.put("PreviewImage", title="The eight candidates", tall=340, images=pictures[0])
    sheet.column("The best of them")
    best = sheet.put("CLIPRerank", images=pictures[0], reranker=demo[4], keep=1)
    sheet.put("PreviewImage", title="The frame half-way", tall=320, images=best[0])
    sheet.put("PreviewAny", title="Scores", tall=220, source=best[2])


def remix_with_host_nodes(sheet: Sheet) -> None:
    demo, words = puppets(
        sheet,
        "# The parts with ComfyUI's own nodes\n\n"
        "A noisy mix and its sigmas go through any sampler that adds no noise of its own "
        "(*DisableNoise*). Here two mixes half-way, one in the pose of either puppet: the two "
        "skeletons are a batch, matched with the two latents.\n\n"
        "*KSampler* then goes over them once more at denoise 0.3.",
        270,
    )
    sheet.column("Poses")
    poses = sheet.put(
        "PoseExtract", room=220, images=demo[5], detector="puppets of the demo", people="largest"
    )
    held = sheet.put(
        "ControlNetApplyAdvanced",
        positive=words[0],
        negative=words[1],
        control_net=demo[3],
        image=poses[1],
        strength=1.5,
        start_percent=0.0,
        end_percent=1.0,
    )
    noisy = mixed(sheet, demo, 2)
    sheet.column("ComfyUI's sampler", 300)
    noise = sheet.put("DisableNoise")
    guider = sheet.put("CFGGuider", model=demo[0], positive=held[0], negative=held[1], cfg=2.0)
    sampler = sheet.put("KSamplerSelect", sampler_name="euler")
    clean = sheet.put(
        "SamplerCustomAdvanced",
        noise=noise[0],
        guider=guider[0],
        sampler=sampler[0],
        sigmas=noisy[1],
        latent_image=noisy[0],
    )
    sheet.column("Polish", 300)
    polished = sheet.put(
        "KSampler",
        model=demo[0],
        positive=held[0],
        negative=held[1],
        latent_image=clean[0],
        seed=0,
        steps=20,
        cfg=2.0,
        sampler_name="euler",
        scheduler="normal",
        denoise=0.3,
    )
    sheet.column("Pictures", 320)
    for latent, title in ((clean, "Mixed"), (polished, "Polished")):
        pictures = sheet.put("VAEDecode", samples=latent[0], vae=demo[2])
        sheet.put("PreviewImage", title=title, tall=240, images=pictures[0])


WORKFLOWS: dict[str, tuple[Callable[[Sheet], None], list[str]]] = {
    "embedded_demo": (embedded_demo, ["FrameBisector"]),
    "one_frame_from_parts": (one_frame_from_parts, ["PreviewImage"]),
    "remix_with_host_nodes": (remix_with_host_nodes, ["PreviewImage"]),
    "sd15_openpose": (sd15_openpose, []),
    "stylised_poses": (stylised_poses, []),
    "sdxl": (sdxl, []),
    "four_keyframes": (four_keyframes, []),
}
"""How each is made, and the nodes whose pictures it is shown by; none: by the graph itself."""


def build(page: Page, make: Callable[[Sheet], None]) -> dict[str, Any]:
    """The workflow as the front end saves it."""
    sheet = Sheet()
    make(sheet)
    fresh(page)
    columns = [vars(column) for column in sheet.columns]
    workflow = json.loads(page.evaluate(_BUILD, [sheet.prompt, columns]))
    # where the view is when it is opened
    return workflow | {"extra": {"ds": {"scale": 0.7, "offset": [120, 170]}}}


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
