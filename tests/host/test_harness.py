"""The harness and the test models, against a real ComfyUI."""

from __future__ import annotations

import sys

import comfy_host
import pytest
import torch
from comfy_host import Graph, Node
from PIL import Image
from tiny_graphs import KINDS, sample


def text(graph: Graph, checkpoint: Node, words: str) -> Node:
    return graph.add("CLIPTextEncode", clip=checkpoint[1], text=words)


def picture_of(
    server: comfy_host.Server, kind: str, words: str, control: float = 0
) -> torch.Tensor:
    """What a kind makes of a text, on top of an empty picture."""
    graph = Graph()
    checkpoint = graph.add("TestCheckpoint", kind=kind, seed=0)
    image = graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0xFF8000)
    latent = graph.add("VAEEncode", pixels=image[0], vae=checkpoint[2])
    texts = [text(graph, checkpoint, words)[0], text(graph, checkpoint, "")[0]]
    if control:
        applied = graph.add(
            "ControlNetApplyAdvanced",
            positive=texts[0],
            negative=texts[1],
            control_net=graph.add("TestControlNet", kind=kind, seed=0)[0],
            image=image[0],
            strength=control,
            start_percent=0.0,
            end_percent=1.0,
        )
        texts = [applied[0], applied[1]]
    sampled = sample(graph, checkpoint[0], latent[0], *texts)
    graph.add("TestTensor", any=sampled[0], name="latent")
    decoded = graph.add("VAEDecode", samples=sampled[0], vae=checkpoint[2])
    graph.add("TestTensor", any=decoded[0], name="picture")
    run = server.run(graph.prompt)
    assert not run.error
    assert server.tensor("latent").isfinite().all()
    return server.tensor("picture")


def slow_prompt(delay: float) -> tuple[Graph, str]:
    """Twenty calls of a model that counts them."""
    graph = Graph()
    checkpoint = graph.add("TestCheckpoint", kind="sd15", seed=0)
    model = graph.add("TestCount", model=checkpoint[0], name="slow", delay=delay)
    latent = graph.add("EmptyLatentImage", width=64, height=64, batch_size=1)
    words = text(graph, checkpoint, "a red puppet")
    sampled = sample(graph, model[0], latent[0], words[0], words[0])
    graph.prompt[sampled.id]["inputs"] |= {"steps": 20, "cfg": 1.0}
    graph.add("TestTensor", any=sampled[0], name="slow")
    return graph, sampled.id


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_depends_on_the_text(server, kind):
    red, blue = (picture_of(server, kind, words) for words in ("a red puppet", "a blue dog"))
    assert red.shape == (1, 64, 64, 3)
    assert red.std() > 0.1
    assert (red - blue).abs().mean() > 0.01
    assert torch.equal(red, picture_of(server, kind, "a red puppet"))


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_controlnet_changes_the_picture(server, kind):
    free, held = (picture_of(server, kind, "a red puppet", strength) for strength in (0, 1))
    assert (free - held).abs().mean() > 0.02


def test_pictures_go_in_and_come_out(server):
    graph = Graph()
    name = server.upload(Image.new("RGB", (8, 4), (255, 51, 0)), "orange.png")
    loaded = graph.add("LoadImage", image=name)
    shown = graph.add("PreviewImage", images=loaded[0])
    run = server.run(graph.prompt)
    pictures = server.pictures(run, shown.id)
    assert pictures.shape == (1, 4, 8, 3)
    assert torch.allclose(pictures, torch.tensor([1, 0.2, 0]))
    assert run.executed == [loaded.id, shown.id]


def test_the_second_run_is_served_from_the_cache(server):
    graph = Graph()
    image = graph.add("EmptyImage", width=64, height=64, batch_size=2, color=255)
    shown = graph.add("PreviewImage", images=image[0])
    first, second = server.run(graph.prompt), server.run(graph.prompt)
    assert first.executed == [image.id, shown.id]
    assert second.executed == []
    assert second.cached == {image.id, shown.id}
    assert second.outputs == first.outputs


@pytest.mark.parametrize("metadata", [True, False])
def test_previews_come_in_both_formats(server, metadata):
    graph, sampler = slow_prompt(delay=0)
    # not from the cache
    graph.prompt[sampler]["inputs"]["seed"] = 2 + metadata
    run = server.run(graph.prompt, preview_metadata=metadata)
    assert len(run.previews) == 20
    assert {node for node, _ in run.previews} == {sampler if metadata else None}
    assert all(isinstance(image, Image.Image) for _, image in run.previews)


def test_a_run_can_be_interrupted(server):
    graph, _ = slow_prompt(delay=0.1)

    def stop(message):
        if message["type"] == "progress" and message["data"]["value"] == 3:
            server.interrupt()

    run = server.run(graph.prompt, on_message=stop)
    assert run.interrupted
    assert run.error is None
    assert 3 <= server.calls("slow") < 20


def test_a_run_that_takes_too_long_is_given_up(server):
    graph, _ = slow_prompt(delay=0.2)
    with pytest.raises(TimeoutError, match="took too long"):
        server.run(graph.prompt, timeout=1)
    assert not server.run(slow_prompt(delay=0)[0].prompt).error


def test_a_refused_prompt_says_why(server):
    graph = Graph()
    shown = graph.add("PreviewImage")
    run = server.run(graph.prompt)
    assert run.executed == []
    assert run.node_errors[shown.id]["errors"][0]["type"] == "required_input_missing"


def test_the_sound_part_of_a_prompt_runs(server):
    graph = Graph()
    image = graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0)
    shown, broken = graph.add("PreviewImage", images=image[0]), graph.add("PreviewImage")
    run = server.run(graph.prompt)
    assert set(run.outputs) == {shown.id}
    assert set(run.node_errors) == {broken.id}


def test_a_graph_that_shows_nothing_is_refused(server):
    graph = Graph()
    graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0)
    assert "no outputs" in server.run(graph.prompt).node_errors[""]["errors"][0]["message"]


def decoding(good_calls: int) -> tuple[Graph, Node]:
    """Two decodings, one after the other."""
    graph = Graph()
    checkpoint = graph.add("TestCheckpoint", kind="sd15", seed=0)
    vae = graph.add("TestBrokenVAE", vae=checkpoint[2], good_calls=good_calls)
    latent = graph.add("EmptyLatentImage", width=64, height=64, batch_size=1)
    first = graph.add("VAEDecode", samples=latent[0], vae=vae[0])
    encoded = graph.add("VAEEncode", pixels=first[0], vae=vae[0])
    second = graph.add("VAEDecode", samples=encoded[0], vae=vae[0])
    graph.add("TestTensor", any=second[0], name="decoded")
    return graph, second


def test_an_error_in_a_node_is_told(server):
    graph, second = decoding(good_calls=1)
    run = server.run(graph.prompt)
    assert run.error["node_id"] == second.id
    assert "decoding failed on purpose" in run.error["exception_message"]


def test_a_vae_fails_only_after_its_good_calls(server):
    assert not server.run(decoding(good_calls=2)[0].prompt).error


def test_a_model_of_nothing_but_nan(server):
    graph = Graph()
    checkpoint = graph.add("TestCheckpoint", kind="sd15", seed=0)
    model = graph.add("TestNaN", model=checkpoint[0])
    latent = graph.add("EmptyLatentImage", width=64, height=64, batch_size=1)
    words = text(graph, checkpoint, "a red puppet")
    sampled = sample(graph, model[0], latent[0], words[0], words[0])
    graph.add("TestTensor", any=sampled[0], name="nothing")
    assert not server.run(graph.prompt).error
    assert server.tensor("nothing").isnan().all()


def test_nodes_are_described(server):
    told = server.object_info("TestCheckpoint")
    assert told["output"] == ["MODEL", "CLIP", "VAE"]
    assert told == server.object_info()["TestCheckpoint"]


def test_the_test_models_load_without_a_word(server):
    lines = server.log.splitlines()
    # before the start, and at it
    timed = [line for line in lines if line.endswith("custom_nodes/interpolation_test_models")]
    assert len(timed) == 2
    assert all("seconds:" in line for line in timed), timed
    assert "clip missing" not in server.log
    assert "Missing VAE keys" not in server.log


def make_host(folder, main: str):
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").write_text(main)
    return folder


def test_a_host_that_does_not_start_shows_its_log(tmp_path):
    host = make_host(tmp_path / "ComfyUI", "raise SystemExit('the cat sleeps on the keyboard')")
    with pytest.raises(RuntimeError, match="the cat sleeps"):
        comfy_host.Server(host, tmp_path / "base").__enter__()


def test_the_told_host_is_taken(tmp_path, monkeypatch):
    host = make_host(tmp_path / "elsewhere", "")
    monkeypatch.setenv("COMFYUI_PATH", str(host))
    assert comfy_host.find_host() == host


def test_a_told_host_that_is_none_is_a_mistake(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(ValueError, match="COMFYUI_PATH"):
        comfy_host.find_host()


def test_the_host_around_the_checkout_is_found(tmp_path, monkeypatch):
    host = make_host(tmp_path / "ComfyUI", "")
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(comfy_host, "CHECKOUT", host / "custom_nodes" / "here")
    assert comfy_host.find_host() == host


def test_a_hosts_own_python_goes_first(tmp_path):
    assert comfy_host.host_python(tmp_path) == sys.executable
    own = tmp_path / "venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch()
    assert comfy_host.host_python(tmp_path) == str(own)


def test_an_environment_that_lacks_what_a_host_requires(tmp_path, monkeypatch):
    host = make_host(tmp_path / "ComfyUI", "")
    (host / "requirements.txt").write_text("torch\n# for fun\nno-such-package>=2\n")
    monkeypatch.setenv("COMFYUI_PATH", str(host))
    assert "lacks no-such-package: pip install -r" in comfy_host.why_not()
    (host / "requirements.txt").write_text("torch\n")
    assert comfy_host.why_not() == ""
