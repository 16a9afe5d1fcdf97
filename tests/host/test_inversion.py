"""TextualInvert in a real ComfyUI, and the files of what it learned."""

from __future__ import annotations

import pytest
import torch
from comfy_host import Graph, Message, Node
from demo_graphs import INVERT, Demo
from safetensors import safe_open
from tiny_graphs import KINDS, sample

from diffusion_interpolation.demo.networks import TEXT_WIDTH, TOKENS
from diffusion_interpolation.models.conditioning_file import load_inversion


def losses(server, file: str) -> dict[int, float]:
    return load_inversion(server.folder / "output" / "inversions" / file)[0].losses


def saved(demo: Demo, learned: Node, prefix: str) -> Node:
    return demo.graph.add(
        "SaveInversion", positive=learned[0], negative=learned[1], filename_prefix=prefix
    )


def test_the_loss_falls_and_the_frames_change(server):
    demo = Demo(Graph())
    learned = demo.invert(steps=30, draws=4)
    file = saved(demo, learned, "falls")
    with_it = demo.bisector(positive=learned[0], negative=learned[1])
    without = demo.bisector()
    tensors = {"rows": learned[0], "away": learned[1], "curve": learned[2]}
    for name, link in {**tensors, "with": with_it[0], "without": without[0]}.items():
        demo.graph.add("TestTensor", any=link, name=name)
    run = server.run(demo.graph.prompt)
    assert run.error is None, run.error["exception_message"]
    assert server.tensor("rows").shape == (2, TOKENS, TEXT_WIDTH)
    assert server.tensor("away").shape == (1, TOKENS, TEXT_WIDTH)
    curve = server.tensor("curve")
    assert curve.shape == (1, 400, 640, 3)
    assert 0.001 < (curve > 0.5).float().mean() < 0.5
    assert len(run.outputs[learned.id]["images"]) == 1
    known = losses(server, run.outputs[file.id]["text"][0])
    assert min(known.values()) < 0.97 * known[0]
    assert (server.tensor("with") - server.tensor("without")).abs().mean() > 0.005


def test_it_sends_progress(server):
    demo = Demo(Graph())
    learned = demo.invert(steps=12, seed=50)
    demo.graph.add("TestTensor", any=learned[0], name="rows")
    run = server.run(demo.graph.prompt)
    values = [
        message["data"]["nodes"][learned.id]["value"]
        for message in run.messages
        if message["type"] == "progress_state" and learned.id in message["data"]["nodes"]
    ]
    assert values[-1] == 12 and values == sorted(values)
    # the loss so far at the steps 10 and 12
    plots = [picture for node, picture in run.previews if node == learned.id]
    assert [plot.size for plot in plots] == [(640, 400)] * 2
    assert len({plot.tobytes() for plot in plots}) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_the_model_stays_as_it_was(server, kind, cfg):
    """A picture made before and one made after are the same, bit by bit."""
    graph = Graph()
    checkpoint = graph.add("TestCheckpoint", kind=kind, seed=3)
    words = graph.add("CLIPTextEncode", clip=checkpoint[1], text="two pictures")
    lora = graph.add("TestLora", model=checkpoint[0], strength=0.3) if kind == "sd15" else None
    model = (lora or checkpoint)[0]
    pictures = graph.add("EmptyImage", width=64, height=64, batch_size=2, color=0x40A0FF)
    latents = graph.add("VAEEncode", pixels=pictures[0], vae=checkpoint[2])

    def picture(words: list, name: str) -> None:
        sampled = sample(graph, model, latents[0], words, words)
        graph.add("TestTensor", any=sampled[0], name=name)

    picture(words[0], "before")
    assert server.run(graph.prompt).error is None
    learned = graph.add(
        "TextualInvert",
        model=model,
        vae=checkpoint[2],
        keyframes=pictures[0],
        positive=words[0],
        negative=words[0],
        **{**INVERT, "steps": 2, "learning_rate": 0.01, "cfg": cfg},
    )
    graph.add("TestTensor", any=learned[0], name="learned")
    run = server.run(graph.prompt)
    assert run.error is None, run.error["exception_message"]
    again = graph.add("TestPause", model=model, after=learned[0])
    sampled = sample(graph, again[0], latents[0], words[0], words[0])
    graph.add("TestTensor", any=sampled[0], name="after")
    assert server.run(graph.prompt).error is None
    assert torch.equal(server.tensor("before"), server.tensor("after"))
    assert len(server.tensor("learned")) == 2 and server.tensor("learned").isfinite().all()


def test_a_cancel_ends_it(server):
    demo = Demo(Graph())
    learned = demo.invert(steps=5000, seed=77)
    demo.graph.add("TestTensor", any=learned[0], name="rows")

    def cancel(message: Message) -> None:
        if message["type"] == "progress" and message["data"]["value"] >= 2:
            server.interrupt()

    run = server.run(demo.graph.prompt, on_message=cancel)
    steps = [message["data"]["value"] for message in run.messages if message["type"] == "progress"]
    assert run.interrupted and max(steps) < 100
    # and the model can still be used, and learned on
    demo = Demo(Graph())
    demo.graph.add("TestTensor", any=demo.invert(steps=1)[0], name="rows")
    assert server.run(demo.graph.prompt).error is None


def test_what_was_learned_is_saved_and_loaded(server):
    demo = Demo(Graph())
    learned = demo.invert(steps=3, seed=5)
    file = saved(demo, learned, "kept")
    for name, link in {"rows": learned[0], "away": learned[1]}.items():
        demo.graph.add("TestTensor", any=link, name=name)
    name = server.run(demo.graph.prompt).outputs[file.id]["text"][0]
    with safe_open(server.folder / "output" / "inversions" / name, "pt") as opened:
        assert '"cfg": 4.0' in opened.metadata()["made_for"]
    graph = Graph()
    loaded = graph.add("LoadInversion", file=name)
    for number, output in enumerate(("loaded_rows", "loaded_away")):
        graph.add("TestTensor", any=loaded[number], name=output)
    shown = graph.add("PreviewAny", source=loaded[2])
    run = server.run(graph.prompt)
    assert run.error is None and not run.node_errors
    assert torch.equal(server.tensor("rows"), server.tensor("loaded_rows"))
    assert torch.equal(server.tensor("away"), server.tensor("loaded_away"))
    assert run.outputs[shown.id]["text"][0] == "4.0"


def test_what_goes_with_a_prompt_is_saved_too(server):
    """The size that SDXL is told, for one."""
    graph = Graph()
    checkpoint = graph.add("TestCheckpoint", kind="sdxl", seed=0)
    size = {"width": 512, "height": 256, "target_width": 512, "target_height": 256}
    words = graph.add(
        "CLIPTextEncodeSDXL",
        clip=checkpoint[1],
        text_g="a picture",
        text_l="a picture",
        crop_w=0,
        crop_h=0,
        **size,
    )
    file = graph.add("SaveInversion", positive=words[0], negative=words[0], filename_prefix="sizes")
    run = server.run(graph.prompt)
    assert run.error is None, "".join(run.error["traceback"])
    place = server.folder / "output" / "inversions" / run.outputs[file.id]["text"][0]
    with safe_open(place, "pt") as opened:
        assert opened.get_tensor("positive.pooled").ndim == 2
        assert '"width": 512' in opened.metadata()["made_for"]


def test_without_a_negative_there_is_none_to_take(server):
    demo = Demo(Graph())
    learned = demo.invert(steps=1, cfg=1.0, negative=None)
    demo.graph.add("TestTensor", any=learned[0], name="rows")
    assert server.run(demo.graph.prompt).error is None
    demo.graph.add("TestTensor", any=learned[1], name="away")
    run = server.run(demo.graph.prompt)
    assert "connect its input negative" in run.error["exception_message"]
