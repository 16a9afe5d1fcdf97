"""The embedded flow transformer in a real ComfyUI: the same nodes, without a ControlNet."""

from __future__ import annotations

import pytest
from comfy_host import Graph
from demo_graphs import INVERT, NEGATIVE, POSITIVE, SMALL, Demo, tensors

from diffusion_interpolation.demo import load_flow, load_reader, reranker, world
from diffusion_interpolation.demo.networks import SIZE, TEXT_WIDTH
from diffusion_interpolation.method.bisection import Bisection
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.method.path import Path
from diffusion_interpolation.settings import FrameSettings

PATH = {
    "frames_per_gap": 1,
    "max_denoise": 0.4,
    "candidates": 3,
    "scheduler": "simple",
    "rank_fraction": 1.0,
}


@pytest.mark.parametrize(("network", "steps", "cfg"), [("flow", 20, 2.0), ("flow, 8 steps", 8, 1)])
def test_frames_are_those_of_the_library(server, network, steps, cfg):
    """The graph is that of the UNet: with poses and a ControlNet, which are empty here."""
    demo = Demo(Graph(), network)
    bisector = demo.bisector(**PATH, steps=steps, cfg=cfg)
    frames = tensors(server, demo.graph, frames=bisector[0])["frames"]
    assert frames.shape == (3, SMALL, SMALL, 3)
    model = load_flow(network != "flow", steps=steps)
    guide = Guide(model.encode_text([POSITIVE]), model.encode_text([NEGATIVE]), cfg)
    settings = FrameSettings(
        max_denoise=PATH["max_denoise"],
        min_denoise=0.3,
        candidates=3,
        rank_fraction=1.0,
        smoothness_weight=4.0,
    )
    scorer = reranker().scorer([POSITIVE], NEGATIVE)
    keyframes = frames[[0, -1]].movedim(-1, 1)
    [frame] = Bisection(model, Path((1,)), guide, settings, scorer).frames(model.encode(keyframes))
    assert (frame.picture.movedim(0, -1) - frames[1]).abs().mean() < 2 / 255
    assert (frames[1] - frames[[0, -1]].mean(0)).abs().mean() > 0.02


def test_prompts_are_not_padded_and_are_learned(server):
    demo = Demo(Graph(), "flow")
    learned = demo.invert(**{**INVERT, "cfg": 2.0})
    frames = demo.bisector(**PATH, steps=6, cfg=2.0, positive=learned[0], negative=learned[1])
    given = tensors(
        server, demo.graph, rows=learned[0], away=learned[1], prompt=demo.positive, frames=frames[0]
    )
    # the words, and one token each for the beginning and the end
    assert given["prompt"].shape == (1, len(POSITIVE.split()) + 2, TEXT_WIDTH)
    assert given["rows"].shape == (2, *given["prompt"].shape[1:])
    assert given["away"].shape == (1, len(NEGATIVE.split()) + 2, TEXT_WIDTH)
    assert (given["rows"] - given["prompt"]).norm(dim=-1).max() > 0.1
    assert given["frames"].isfinite().all()


def test_the_hosts_own_sampler_draws_puppets(server):
    """A caption from pure noise, with the host's nodes alone; the reader reads its words."""
    caption = "a red puppet in white trousers with a top hat, on a blue background with hills"
    demo = Demo(Graph(), "flow, 8 steps")
    graph = demo.graph
    words = graph.add("CLIPTextEncode", clip=demo.clip, text=caption)
    empty = graph.add("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=4)
    sampled = graph.add(
        "KSampler",
        model=demo.model,
        positive=words[0],
        negative=words[0],
        latent_image=empty[0],
        seed=1,
        steps=8,
        cfg=1.0,
        sampler_name="euler",
        scheduler="simple",
        denoise=1.0,
    )
    decoded = graph.add("VAEDecode", samples=sampled[0], vae=demo.vae)
    pictures = tensors(server, graph, pictures=decoded[0])["pictures"]
    read = load_reader()(pictures.movedim(-1, 1))
    assert world.colour_words(read[:, world.BODY]).count("red") >= 3
    assert world.colour_words(read[:, world.BACK]).count("blue") >= 3
    assert world.hat_words(read).count("a top hat") >= 3
