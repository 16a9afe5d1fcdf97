"""Files that nodes load, in a real ComfyUI: what is listed, what is in them, what is replaced."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import planted
import pytest
import torch
from comfy_host import Graph, Node, Run, Server
from demo_graphs import Demo, run_with
from safetensors.torch import load_file, save_file

from diffusion_interpolation.command.cli import main
from diffusion_interpolation.demo import world
from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.demo.pair import pair
from diffusion_interpolation.method.learning.inversion import Inversion
from diffusion_interpolation.models.conditioning_file import MadeFor, load_inversion, save_inversion
from diffusion_interpolation.models.prompts import PromptEmbeddings
from diffusion_interpolation.pictures import to_image
from diffusion_interpolation.poses.format import write_poses

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def offered(server: Server, node_id: str, name: str) -> list[str]:
    """The choices of an input of a node."""
    kind, *more = server.object_info(node_id)["input"]["required"][name]
    return kind if isinstance(kind, list) else more[0]["options"]


def completed(server: Server, graph: Graph) -> Run:
    run = server.run(graph.prompt)
    assert not run.node_errors, run.node_errors
    assert run.error is None, run.error["exception_message"]
    return run


def place(server: Server, name: str) -> Path:
    """A file among the server's, whose folder is there."""
    file = server.folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def learned(rows: float, cfg: float = 2.0) -> tuple[Inversion, MadeFor]:
    texts = (
        PromptEmbeddings(torch.full((2, 24, 128), rows)),
        PromptEmbeddings(torch.zeros(1, 24, 128)),
    )
    return Inversion(*texts, {0: 1.0}), MadeFor(cfg)


@pytest.mark.parametrize(
    ("node_id", "name", "folder"),
    [
        ("LoadReranker", "clip_file", "models/rerankers"),
        ("LoadInversion", "file", "models/inversions"),
        ("LoadInversion", "file", "output/inversions"),
    ],
)
def test_only_files_that_can_be_loaded_are_listed(server, node_id, name, folder):
    files = ("listed.safetensors", "sub/listed.SafeTensors", "README.txt", "a.png", "a.pt",
             "._listed.safetensors", ".listed.safetensors.new")  # fmt: skip
    for file in files:
        place(server, f"{folder}/{file}").write_bytes(b"")
    found = {file.replace(os.sep, "/") for file in offered(server, node_id, name)}
    assert found & set(files) == {"listed.safetensors", "sub/listed.SafeTensors"}
    assert all(file.lower().endswith(".safetensors") for file in found)


def test_poses_that_would_be_refused_are_not_listed(server, tmp_path):
    """Links that lead out of the folder or nowhere, folders, and what a Mac leaves behind."""
    (tmp_path / "outside.json").write_text("[]")
    for root in ("input", "input/poses", "output"):
        inside = place(server, f"{root}/inside.json")
        inside.write_text("[]")
        place(server, f"{root}/._inside.json").write_text("")
        (inside.parent / "link.json").symlink_to(inside)
        (inside.parent / "out.json").symlink_to(tmp_path / "outside.json")
        (inside.parent / "broken.json").symlink_to(tmp_path / "nowhere.json")
        (inside.parent / "folder.json").mkdir()
    names = ("inside", "link", "out", "broken", "folder", "._inside")
    forms = ("{}.json", "poses/{}.json", "{}.json [output]")
    all_names = {form.format(name) for form in forms for name in names}
    found = set(offered(server, "LoadPoses", "file")) & all_names
    assert found == {form.format(name) for form in forms for name in ("inside", "link")}


# What is in a file


def test_the_file_of_the_command_is_loaded(server, tmp_path):
    words = ["--inversion-steps", "1", "--frames", "3", "--candidates", "1", "--steps", "4"]
    assert main(["demo", "--out", str(tmp_path), *words]) == 0
    file = tmp_path / "run" / "conditioning.safetensors"
    shutil.copy(file, place(server, "output/inversions/of_the_command.safetensors"))
    demo = Demo(Graph())
    loaded = demo.graph.add("LoadInversion", file="of_the_command.safetensors")
    bisector = demo.bisector(positive=loaded[0], negative=loaded[1], cfg=loaded[2], steps=4)
    outputs = {"rows": loaded[0], "away": loaded[1], "frames": bisector[0]}
    shown = demo.graph.add("PreviewAny", source=loaded[2])
    run, given = run_with(server, demo.graph, **outputs)
    inside = load_file(file)
    assert torch.equal(given["rows"], inside["positive.embeddings"])
    assert torch.equal(given["away"], inside["negative.embeddings"])
    assert run.outputs[shown.id]["text"] == ["2.0"] and len(given["frames"]) == 5


def test_the_file_of_a_node_is_loaded_by_the_library(server):
    demo = Demo(Graph())
    made = demo.invert(steps=1, seed=9)
    ends = {"positive": made[0], "negative": made[1]}
    saved = demo.graph.add("SaveInversion", **ends, filename_prefix="for_library")
    name = completed(server, demo.graph).outputs[saved.id]["text"][0]
    found, made_for = load_inversion(server.folder / "output" / "inversions" / name)
    assert len(found.positive) == 2 and len(found.negative) == 1 and set(found.losses) == {0, 1}
    assert made_for == MadeFor(cfg=4.0)


def test_a_file_keeps_all_that_goes_with_a_prompt(server):
    """The states of further text encoders above all; what no file can hold is named."""
    demo = Demo(Graph())
    words = demo.graph.add("TestExtras", conditioning=demo.positive)
    keys = ("conditioning_llama3", "t5xxl_ids", "reference_latents", "guidance", "control")
    before = [demo.graph.add("TestExtra", conditioning=words[0], key=key) for key in keys]
    ends = {"positive": words[0], "negative": demo.negative}
    saved = demo.graph.add("SaveInversion", **ends, filename_prefix="extras")
    run = completed(server, demo.graph)
    name, line = run.outputs[saved.id]["text"]
    assert line.startswith("positive: control cannot be saved in a file; add it again")
    assert f"SaveInversion: {line}" in server.log
    graph = Graph()
    loaded = graph.add("LoadInversion", file=name)
    after = [graph.add("TestExtra", conditioning=loaded[0], key=key) for key in keys]
    again = completed(server, graph)
    want = [run.outputs[node.id]["text"] for node in before[:-1]]
    got = [again.outputs[node.id]["text"] for node in after]
    assert got == [*want, ["None"]]
    assert want[0][0].startswith("torch.float16 [[[[0.0")


def tiny_clips(folder: Path, **widths: int) -> None:
    """Tell open-clip of small architectures, by their names and widths."""
    import open_clip

    for name, width in widths.items():
        shape = TINY_CLIP | {"vision_cfg": {**TINY_CLIP["vision_cfg"], "width": width}}
        (folder / f"{name}.json").write_text(json.dumps(shape))
    open_clip.add_model_config(folder)


def scores_by_open_clip(clip: tuple, positives: list[str], negative: str) -> list[float]:
    """How the keyframes of the demo score by the paper's formula."""
    model, preprocess, tokenizer = clip
    pictures = [preprocess(to_image(picture)) for picture in world.render(pair(), SIZE)]
    with torch.no_grad():
        *towards, away = model.eval().encode_text(tokenizer([*positives, negative]), normalize=True)
        seen = model.encode_image(torch.stack(pictures), normalize=True)
    return (seen @ (torch.stack(towards).mean(0) - away)).tolist()


def test_a_clip_of_open_clip_is_loaded_from_a_file(server, tmp_path):
    import open_clip

    tiny_clips(tmp_path, narrow_files=32, wide_files=64)
    # of random weights that tell the two keyframes apart
    torch.manual_seed(1)
    model, _, preprocess = open_clip.create_model_and_transforms("narrow_files")
    file = place(server, "models/rerankers/random.safetensors")
    save_file(model.state_dict(), file)
    demo = Demo(Graph())
    folder = demo.graph.add("TestClipFolder", folder=str(tmp_path), name="narrow_files")
    loaded = demo.graph.add(
        "LoadReranker",
        clip_file=file.name,
        architecture=folder[0],
        positive="a puppet\na doll",
        negative="a stone",
    )
    got = demo.scores(server, loaded[0])
    clip = model, preprocess, open_clip.get_tokenizer("narrow_files")
    want = scores_by_open_clip(clip, ["a puppet", "a doll"], "a stone")
    assert abs(want[0] - want[1]) > 0.01
    assert [got[0], got[1]] == pytest.approx(want, abs=2e-3)
    demo.graph.prompt[folder.id]["inputs"]["name"] = "wide_files"
    error = server.run(demo.graph.prompt).error
    assert error["node_id"] == loaded.id
    assert "is not a wide_files CLIP" in error["exception_message"]


# Replaced files


def executed_again(server: Server, graph: Graph, node: Node, replace: Any) -> bool:
    """Whether a node runs again when its file is replaced, and only then."""
    completed(server, graph)
    assert node.id not in completed(server, graph).executed
    replace()
    return node.id in completed(server, graph).executed


def test_a_replaced_inversion_is_read_again(server):
    file = place(server, "output/inversions/replaced.safetensors")
    save_inversion(file, *learned(1.0))
    graph = Graph()
    loaded = graph.add("LoadInversion", file=file.name)
    graph.add("TestTensor", any=loaded[0], name="replaced")

    def replace() -> None:
        """By one of another size that is as old."""
        times = file.stat().st_atime_ns, file.stat().st_mtime_ns
        save_inversion(file, *learned(2.0, cfg=12.25))
        os.utime(file, ns=times)

    assert executed_again(server, graph, loaded, replace)
    assert server.tensor("replaced").unique().tolist() == [2.0]


@pytest.mark.parametrize("by_wire", [False, True])
def test_a_replaced_reranker_is_read_again(server, tmp_path, by_wire):
    import open_clip

    tiny_clips(tmp_path, replaced_files=32)
    file = place(server, "models/rerankers/replaced.safetensors")

    def write(seed: int) -> None:
        torch.manual_seed(seed)
        save_file(open_clip.create_model("replaced_files").state_dict(), file)

    write(0)
    demo = Demo(Graph())
    graph = demo.graph
    name = graph.add("TestClipFolder", folder=str(tmp_path), name="replaced_files")[0]
    word = graph.add("TestWord", word=file.name)[0] if by_wire else file.name
    loaded = graph.add(
        "LoadReranker", clip_file=word, architecture=name, positive="a puppet", negative="a dog"
    )
    best = graph.add("CLIPRerank", images=demo.keyframes, reranker=loaded[0], keep=1)
    shown = graph.add("PreviewAny", source=best[2])
    before = completed(server, graph).outputs[shown.id]["text"]
    assert executed_again(server, graph, loaded, lambda: write(1))
    assert server.run(graph.prompt).outputs[shown.id]["text"] != before


def test_replaced_poses_are_read_again(server):
    file = place(server, "input/replaced.json")

    def write(seed: int) -> None:
        people = planted.people_of(1, 96, 128, seed)
        file.write_text(json.dumps(write_poses([people], (96, 128))))

    write(0)
    graph = Graph()
    loaded = graph.add("LoadPoses", file=file.name)
    graph.add("TestEnd", any=loaded[0])
    assert executed_again(server, graph, loaded, lambda: write(1))
