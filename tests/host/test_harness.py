"""The harness, where nothing else would show that it fails: tiny models, previews, refusals."""

from __future__ import annotations

import sys

import comfy_host
import pytest
from comfy_host import Graph
from PIL import Image
from tiny_graphs import KINDS, Tiny, sample


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_depends_on_the_text(server, kind):
    """The tiny models do what real ones do; they would hide mistakes, otherwise."""
    tiny = Tiny(kind)
    latent = tiny.graph.add("VAEEncode", pixels=tiny.keyframes, vae=tiny.vae)
    empty = tiny.prompt("")
    for name, prompt in {"red": tiny.positive, "blue": tiny.negative}.items():
        sampled = sample(tiny.graph, tiny.model, latent[0], prompt, empty)
        decoded = tiny.graph.add("VAEDecode", samples=sampled[0], vae=tiny.vae)
        tiny.graph.add("TestTensor", any=decoded[0], name=name)
    assert not server.run(tiny.graph.prompt).error
    red, blue = server.tensor("red"), server.tensor("blue")
    assert red.shape == (2, 64, 64, 3) and red.isfinite().all() and red.std() > 0.1
    assert (red - blue).abs().mean() > 0.01


def slow_prompt(delay: float, seed: int) -> tuple[Graph, str]:
    """Twenty calls of a model that counts them, by a sampler that shows each."""
    tiny = Tiny("sd15")
    model = tiny.graph.add("TestCount", model=tiny.model, name="slow", delay=delay)
    latent = tiny.graph.add("EmptyLatentImage", width=64, height=64, batch_size=1)
    sampled = sample(tiny.graph, model[0], latent[0], tiny.positive, tiny.positive)
    tiny.graph.prompt[sampled.id]["inputs"] |= {"steps": 20, "cfg": 1.0, "seed": seed}
    tiny.graph.add("TestEnd", any=sampled[0])
    return tiny.graph, sampled.id


def test_previews_are_told_by_their_node(server):
    graph, sampler = slow_prompt(delay=0, seed=2)
    run = server.run(graph.prompt)
    assert [node for node, _ in run.previews] == [sampler] * 20
    assert all(isinstance(image, Image.Image) for _, image in run.previews)


def test_a_run_that_takes_too_long_is_given_up(server):
    with pytest.raises(TimeoutError, match="took too long"):
        server.run(slow_prompt(delay=0.2, seed=3)[0].prompt, timeout=1)
    assert server.run(slow_prompt(delay=0, seed=4)[0].prompt).error is None
    assert server.calls("slow") == 20


def test_a_refused_prompt_says_why(server):
    """Its sound part runs; a fault of the whole graph belongs to no node."""
    graph = Graph()
    image = graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0)
    assert "no outputs" in server.run(graph.prompt).node_errors[""]["errors"][0]["message"]
    broken = graph.add("PreviewImage")
    refused = server.run(graph.prompt)
    assert refused.executed == [] and refused.prompt_id == ""
    assert refused.node_errors[broken.id]["errors"][0]["type"] == "required_input_missing"
    shown = graph.add("PreviewImage", images=image[0])
    run = server.run(graph.prompt)
    assert set(run.outputs) == {shown.id} and set(run.node_errors) == {broken.id}


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
