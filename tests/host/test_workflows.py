"""The example workflows: held to the nodes' schemas, and run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import workflow
from comfy_host import CHECKOUT, Node, Prompt, Run, Server
from PIL import Image
from workflow import Schemas, Workflow, WorkflowError

from diffusion_interpolation.demo.networks import SIZE

FILES = sorted((CHECKOUT / "example_workflows").glob("*.json"))
OURS = "Diffusion Interpolation"
OF_A_MACHINE = {
    ("CLIPLoader", "clip_name"),
    ("CheckpointLoaderSimple", "ckpt_name"),
    ("CLIPVisionLoader", "clip_name"),
    ("ControlNetLoader", "control_net_name"),
    ("LoadImage", "image"),
    ("LoadReranker", "clip_file"),
    ("LoraLoaderModelOnly", "lora_name"),
    ("UNETLoader", "unet_name"),
    ("VAELoader", "vae_name"),
}
"""Inputs whose values are files that a user has."""

LOADERS = {
    "CLIPLoader": "text_encoders",
    "CheckpointLoaderSimple": "checkpoints",
    "LoraLoaderModelOnly": "loras",
    "UNETLoader": "diffusion_models",
    "VAELoader": "vae",
}
"""The host's loaders of files that it can download, and the folders of these in `models/`."""

SEPARATE = {
    "z_image_turbo": "Z-Image",
    "qwen_image": "Qwen-Image, Qwen-Image-Edit",
    "flux2_klein": "Flux.2 klein",
}
"""Examples of models in several files, and their families."""

QUICK = {
    "ConditionedDenoise": {},
    "FrameBisector": {"preset": "custom", "frames_per_gap": 3, "steps": 8, "candidates": 2},
    "ImageScale": {"width": 64, "height": 64},
    "KSampler": {"steps": 8},
    "KeyframeLora": {"steps": 4},
    "NoisyLatentLerp": {"steps": 8},
    # the detectors' weights are not here
    "PoseExtract": {"detector": "puppets of the demo"},
    "TextualInvert": {"steps": 4, "draws": 1, "augmentations": 2},
}
"""Values by node type that make a run short, and possible without files."""


def read(file: Path) -> Workflow:
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def schemas(server: Server) -> Schemas:
    return server.object_info()


@pytest.fixture(params=FILES, ids=[file.stem for file in FILES])
def file(request) -> Path:
    return request.param


# What is saved


def test_there_are_workflows_of_the_demo_and_of_real_models():
    names = {file.stem for file in FILES}
    assert names >= {"embedded_demo", "one_frame_from_parts", "remix_with_host_nodes"}
    assert names >= {"sd15_openpose", "stylised_poses", "sdxl", "four_keyframes"}
    assert names >= set(SEPARATE)


def test_values_and_wires_fit_the_schemas(file, schemas):
    [kinds, *_] = schemas["CLIPLoader"]["input"]["required"]["type"]
    # older hosts have no text encoder of Flux.2
    older = set() if "flux2" in kinds else {("CLIPLoader", "type")}
    assert workflow.complaints(read(file), schemas, OF_A_MACHINE | older) == []


def test_loaders_say_where_their_files_are(file):
    for node in read(file)["nodes"]:
        for told in node["properties"].get("models", []):
            assert told["name"] in node["widgets_values"]
            assert told["url"].startswith("https://huggingface.co/")
            assert told["url"].endswith(f"/{told['name']}")
        if node["type"] in LOADERS:
            [told] = node["properties"]["models"]
            assert told["directory"] == LOADERS[node["type"]]


def test_every_input_has_a_wire_or_a_value(file, schemas):
    prompt = workflow.to_prompt(read(file), schemas)
    assert {node["type"] for node in workflow.nodes(read(file)).values()} == kinds(prompt)


def test_seeds_stay(file, schemas):
    saved = read(file)
    for node in workflow.nodes(saved).values():
        values = workflow.widget_values(node, schemas[node["type"]])
        assert values.get("control_after_generate", "fixed") == "fixed"


def test_nodes_do_not_overlap_and_stand_in_groups(file):
    saved = read(file)
    assert workflow.overlaps(saved) == []
    for node in saved["nodes"]:
        around = [group["title"] for group in workflow.groups_around(saved, node)]
        assert len(around) == 1 and around[0], node["type"]


def test_it_opens_where_its_text_is_drawn(file):
    assert workflow.opening_zoom(read(file), (1440, 900)) > 0.6


def test_links_lead_to_the_right_or_down(file):
    assert workflow.backward_links(read(file)) == []


def test_it_has_a_picture(file):
    with Image.open(file.with_suffix(".jpg")) as image:
        assert image.format == "JPEG"
        assert 500 <= image.width <= 520 and image.height <= 520


def test_it_says_what_it_does(file):
    notes = [node for node in read(file)["nodes"] if node["type"] in workflow.NOTES]
    assert notes and all(node["widgets_values"][0].startswith("# ") for node in notes)


def test_all_our_nodes_but_those_for_files_are_shown(schemas):
    ours = {key for key, told in schemas.items() if told["category"] == OURS}
    shown = {node["type"] for file in FILES for node in read(file)["nodes"]}
    # the slider of FrameBisector shows what that of InterpolationPreview does, PoseExtract matches
    # poses itself, measures are for comparing paths, and a probe is for a model of one's own
    unshown = {
        "LoadInversion",
        "SaveInversion",
        "InterpolationPreview",
        "PathMetrics",
        "DenoiseProbe",
    }
    assert ours - shown == unshown | {"LoadPoses", "MatchPoses", "MatchColors"}


# What is run


def kinds(prompt: Prompt) -> set[str]:
    return {node["class_type"] for node in prompt.values()}


def only(prompt: Prompt, kind: str) -> Node:
    [node_id] = [key for key, node in prompt.items() if node["class_type"] == kind]
    return Node(node_id)


def add(prompt: Prompt, class_type: str, /, **inputs) -> Node:
    node = Node(str(max(map(int, prompt)) + 1))
    prompt[node.id] = {"class_type": class_type, "inputs": inputs}
    return node


def quick(name: str, schemas: Schemas) -> Prompt:
    """The prompt of an example with `QUICK` values."""
    prompt = workflow.to_prompt(read(CHECKOUT / "example_workflows" / f"{name}.json"), schemas)
    for node in prompt.values():
        known = QUICK.get(node["class_type"], {})
        assert set(known) <= set(node["inputs"])
        node["inputs"] |= known
    return prompt


def run(server: Server, prompt: Prompt, **outputs: list) -> tuple[Run, dict[str, torch.Tensor]]:
    """Run `prompt` and give what its `outputs` are, exactly."""
    for name, link in outputs.items():
        add(prompt, "TestTensor", any=link, name=name)
    done = server.run(prompt, timeout=300)
    assert done.node_errors == {}
    assert done.error is None, done.error["exception_message"]
    return done, {name: server.tensor(name) for name in outputs}


def animation(server: Server, done: Run, prompt: Prompt) -> list[Image.Image]:
    """The frames of the file that SaveAnimatedWEBP wrote."""
    [entry] = done.outputs[only(prompt, "SaveAnimatedWEBP").id]["images"]
    image = Image.open(io.BytesIO((server.folder / "output" / entry["filename"]).read_bytes()))
    frames = []
    for index in range(image.n_frames):
        image.seek(index)
        frames.append(image.convert("RGB"))
    return frames


def check_path(frames: torch.Tensor, keyframes: torch.Tensor, gap: int) -> None:
    """Keyframes at their places, untouched, and pictures that differ in between."""
    assert len(frames) == gap * (len(keyframes) - 1) + len(keyframes)
    assert frames.shape[1:] == keyframes.shape[1:]
    assert torch.equal(frames[:: gap + 1], keyframes)
    assert frames.isfinite().all() and frames.min() >= 0 and frames.max() <= 1
    assert frames.std((1, 2, 3)).min() > 0.05
    assert (frames[1:] - frames[:-1]).abs().mean((1, 2, 3)).min() > 1e-3


def test_embedded_demo(server, schemas):
    prompt = quick("embedded_demo", schemas)
    bisector = only(prompt, "FrameBisector")
    keyframes = prompt[bisector.id]["inputs"]["keyframes"]
    done, given = run(server, prompt, frames=bisector[0], keyframes=keyframes)
    check_path(given["frames"], given["keyframes"], 3)
    ends = (given["frames"][0] - given["frames"][-1]).abs().mean()
    steps = (given["frames"][1:] - given["frames"][:-1]).abs().mean((1, 2, 3))
    assert steps.max() < 0.7 * ends
    saved = animation(server, done, prompt)
    assert [image.size for image in saved] == [(SIZE, SIZE)] * 5


def test_one_frame_from_parts(server, schemas):
    prompt = quick("one_frame_from_parts", schemas)
    best = only(prompt, "CLIPRerank")
    images = prompt[best.id]["inputs"]["images"]
    done, given = run(server, prompt, best=best[0], candidates=images)
    assert given["candidates"].shape == (8, SIZE, SIZE, 3)
    assert given["best"].shape == (1, SIZE, SIZE, 3)
    distances = (given["candidates"] - given["best"]).abs().amax((1, 2, 3))
    assert (distances == 0).sum() == 1
    assert given["best"].std() > 0.1
    [text] = done.outputs[only(prompt, "PreviewAny").id]["text"]
    lines = text.splitlines()
    assert len(lines) == 8 and all(line.startswith("candidate ") for line in lines)
    assert lines[0].startswith(f"candidate {distances.argmin()}:")


def test_one_frame_is_smooth_where_noise_is_not(server, schemas):
    """Neighbouring pixels of a picture are alike."""
    prompt = quick("one_frame_from_parts", schemas)
    _, given = run(server, prompt, best=only(prompt, "CLIPRerank")[0])
    step = (given["best"][:, 1:] - given["best"][:, :-1]).abs().mean()
    assert step < 0.35 * given["best"].std()


def test_remix_with_host_nodes(server, schemas):
    prompt = quick("remix_with_host_nodes", schemas)
    done, _ = run(server, prompt)
    mixed, polished = (
        server.pictures(done, key)
        for key, node in prompt.items()
        if node["class_type"] == "PreviewImage"
    )
    assert mixed.shape == polished.shape == (2, SIZE, SIZE, 3)
    assert mixed.std((1, 2, 3)).min() > 0.1 and polished.std((1, 2, 3)).min() > 0.1
    assert (mixed[0] - mixed[1]).abs().mean() > 0.02, "each has a pose of its own"
    assert 0.002 < (mixed - polished).abs().mean() < 0.1


# With tiny models in the place of files


def stand_in_models(prompt: Prompt, kind: str) -> None:
    """Loaders of files become nodes of the test pack that give the same kinds of things."""
    for node in prompt.values():
        if node["class_type"] == "CheckpointLoaderSimple":
            node |= {"class_type": "TestCheckpoint", "inputs": {"kind": kind, "seed": 0}}
        elif node["class_type"] == "ControlNetLoader":
            node |= {"class_type": "TestControlNet", "inputs": {"kind": kind, "seed": 0}}


def point_to(prompt: Prompt, old: list, new: list) -> None:
    """Every wire from `old` comes from `new` instead."""
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if value == old:
                node["inputs"][name] = new


def demo(prompt: Prompt) -> Node:
    return add(prompt, "PuppetDemo", positive="a puppet", negative="a double exposure")


def stand_in_reranker(prompt: Prompt) -> None:
    loader = only(prompt, "LoadReranker")
    point_to(prompt, loader[0], demo(prompt)[4])
    del prompt[loader.id]


def stand_in_clips(prompt: Prompt) -> None:
    """RerankerFromCLIP gets the two halves of the demo's CLIP."""
    halves = add(prompt, "TestDemoClip", clip=demo(prompt)[1], projection=True)
    inputs = prompt[only(prompt, "RerankerFromCLIP").id]["inputs"]
    inputs |= {"clip": halves[0], "clip_vision": halves[1]}
    del prompt[only(prompt, "CLIPVisionLoader").id]


def nothing_more(prompt: Prompt) -> None:
    """There is no reranker to stand in for."""


def upload_puppets(server: Server, prompt: Prompt) -> None:
    """Puppets under the names that LoadImage has; larger than what they are scaled to."""
    from diffusion_interpolation.demo.pair import pair
    from diffusion_interpolation.demo.world import render
    from diffusion_interpolation.pictures import to_image

    puppets = torch.cat([pair(), pair().lerp(pair().flip(0), 0.3)])
    loads = [node for node in prompt.values() if node["class_type"] == "LoadImage"]
    for node, picture in zip(loads, render(puppets, 128), strict=False):
        server.upload(to_image(picture), node["inputs"]["image"])


@pytest.mark.parametrize(
    ("name", "kind", "stand_in"),
    [
        ("sd15_openpose", "sd15", stand_in_reranker),
        ("stylised_poses", "sd15", nothing_more),
        ("sdxl", "sdxl", stand_in_clips),
        ("four_keyframes", "sd15", nothing_more),
        ("one_subject", "sd15", nothing_more),
    ],
)
def test_with_real_checkpoints(
    server: Server, schemas: Schemas, name: str, kind: str, stand_in: Callable[[Prompt], None]
):
    prompt = quick(name, schemas)
    stand_in_models(prompt, kind)
    stand_in(prompt)
    upload_puppets(server, prompt)
    bisector = only(prompt, "FrameBisector")
    keyframes = prompt[bisector.id]["inputs"]["keyframes"]
    done, given = run(server, prompt, frames=bisector[0], keyframes=keyframes)
    assert len(given["keyframes"]) == (4 if name == "four_keyframes" else 2)
    check_path(given["frames"], given["keyframes"], 3)
    saved = animation(server, done, prompt)
    assert len(saved) == len(given["frames"]) and saved[0].size == (64, 64)


def stand_in_family(prompt: Prompt, family: str) -> None:
    """A tiny model of the family in the place of loaders, LoRAs and the text encoder."""
    tiny = add(prompt, "TestFamily", family=family)
    places = {"UNETLoader": tiny[0], "VAELoader": tiny[1]}
    for key, node in list(prompt.items()):
        kind = node["class_type"]
        if kind == "LoraLoaderModelOnly":
            point_to(prompt, [key, 0], tiny[0])
        elif kind in places:
            point_to(prompt, [key, 0], places[kind])
        elif kind == "CLIPTextEncode":
            node |= {"class_type": "TestFamilyPrompt", "inputs": {"family": family, "seed": 1}}
    for key in [key for key, node in prompt.items() if node["class_type"] in LOADERS]:
        del prompt[key]


@pytest.mark.parametrize("name", SEPARATE)
def test_with_models_in_several_files(server: Server, schemas: Schemas, name: str):
    family = SEPARATE[name]
    if family not in server.object_info("TestFamily")["input"]["required"]["family"][-1]["options"]:
        pytest.skip(f"this ComfyUI has no {family}")
    prompt = quick(name, schemas)
    stand_in_family(prompt, family)
    upload_puppets(server, prompt)
    bisector = only(prompt, "FrameBisector")
    assert ("reference_latents", True) in prompt[bisector.id][
        "inputs"
    ].items() or name != "flux2_klein"
    first, last = (prompt[bisector.id]["inputs"][key] for key in ("first", "last"))
    done, given = run(server, prompt, frames=bisector[0], first=first, last=last)
    check_path(given["frames"], torch.cat([given["first"], given["last"]]), 3)
    saved = animation(server, done, prompt)
    assert len(saved) == 5 and saved[0].size == (128, 128)


# The converter itself


def small() -> Workflow:
    """LoadImage, over a reroute, to PreviewImage."""

    def node(number, kind, inputs, outputs, values, mode=0):
        return {
            "id": number,
            "type": kind,
            "mode": mode,
            "inputs": [{"name": name, "link": link} for name, link in inputs],
            "outputs": [{"type": kind, "links": links} for kind, links in outputs],
            "widgets_values": values,
        }

    return {
        "nodes": [
            node(1, "LoadImage", [("image", None)], [("IMAGE", [1])], ["a.png", "image"]),
            node(2, "Reroute", [("", 1)], [("IMAGE", [2])], []),
            node(3, "PreviewImage", [("images", 2)], [], []),
            node(4, "MarkdownNote", [], [], ["# Words"]),
            node(5, "PreviewImage", [("images", None)], [], [], mode=2),
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]],
    }


def test_reroutes_notes_and_muted_nodes_are_not_sent(schemas):
    assert workflow.to_prompt(small(), schemas) == {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda nodes: nodes[0].update(type="LoadDream"), "no such node"),
        (lambda nodes: nodes[0].update(widgets_values=["a.png"]), "1 widget values, needs"),
        (lambda nodes: nodes[2]["inputs"][0].update(name="dreams"), "no input dreams"),
        (lambda nodes: nodes[2]["inputs"][0].update(link=None), r"nothing for \['images'\]"),
        (lambda nodes: nodes[0].update(mode=2), r"nothing for \['images'\]"),
        (lambda nodes: nodes[0].update(mode=4), "bypassed"),
    ],
)
def test_what_does_not_fit_is_refused(schemas, change, complaint):
    broken = small()
    change(broken["nodes"])
    with pytest.raises(WorkflowError, match=complaint):
        workflow.to_prompt(broken, schemas)


@pytest.mark.parametrize(
    ("kind", "place", "value", "complaint"),
    [
        ("TextualInvert", 0, -1, "steps is not in 0 to 10000"),
        ("TextualInvert", 1, "fast", "learning_rate is not of type FLOAT"),
        ("FrameBisector", 4, "sometimes", "no control_after_generate"),
        ("FrameBisector", 12, "round", "denoise_curve is not one of"),
    ],
)
def test_values_that_do_not_fit_are_told(schemas, kind, place, value, complaint):
    saved = read(CHECKOUT / "example_workflows" / "embedded_demo.json")
    [node] = [node for node in saved["nodes"] if node["type"] == kind]
    node["widgets_values"][place] = value
    [told] = workflow.complaints(saved, schemas, OF_A_MACHINE)
    assert complaint in told


def test_wires_that_do_not_fit_are_told(schemas):
    saved = read(CHECKOUT / "example_workflows" / "embedded_demo.json")
    saved["links"][0][5] = "LATENT"
    saved["links"][-1][2] = 2
    told = workflow.complaints(saved, schemas, OF_A_MACHINE)
    assert any("a wire of LATENT" in line for line in told)
    assert any("STRING into IMAGE" in line for line in told)


def test_nodes_on_top_of_each_other_are_told():
    saved = read(CHECKOUT / "example_workflows" / "embedded_demo.json")
    first, second = saved["nodes"][:2]
    # the title of the second over the end of the first
    second["pos"] = [first["pos"][0], first["pos"][1] + first["size"][1] + workflow.TITLE - 1]
    assert any(first["type"] in one for one, _ in workflow.overlaps(saved))
