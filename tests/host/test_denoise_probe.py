"""Denoise Probe in a real ComfyUI."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from comfy_host import Graph, Node
from demo_graphs import SMALL, Demo, run_with

PLAIN = {"preset": "custom", "seed": 0, "steps": 8, "cfg": 2.0}
SAMPLER = {"sampler_name": "euler", "scheduler": "ddim_uniform"}


def probe(demo: Demo, **changes: object) -> Node:
    """A probe of the demo's keyframes."""
    source = {name: getattr(demo, name) for name in ("model", "vae", "positive", "negative")}
    inputs = {**source, "keyframes": demo.keyframes, **PLAIN, **SAMPLER, **changes}
    return demo.graph.add("DenoiseProbe", **inputs)


def test_it_makes_the_half_way_frames_of_frame_bisector(server):
    demo = Demo(Graph())
    shown = probe(demo, values="0.25, 0.7")
    paths = [
        demo.bisector(
            frames_per_gap=1,
            max_denoise=denoise,
            min_denoise=0.05,
            candidates=1,
            poses=None,
            control_net=None,
            **PLAIN,
            **SAMPLER,
        )
        for denoise in (0.25, 0.7)
    ]
    run, given = run_with(
        server, demo.graph, frames=shown[1], grid=shown[0], low=paths[0][0], high=paths[1][0]
    )
    assert torch.allclose(
        given["frames"], torch.stack([given["low"][1], given["high"][1]]), atol=1e-5
    )
    assert given["grid"].shape == (1, SMALL + 20, 2 * SMALL + 4, 3)
    tiles = given["grid"][0, 20:, :SMALL], given["grid"][0, 20:, SMALL + 4 :]
    for tile, frame in zip(tiles, given["frames"], strict=True):
        assert (tile - frame).abs().max() <= 0.5 / 255 + 1e-6
    labels = given["grid"][0, :20]
    assert labels.max() > 0.7, "each has its value above it"
    assert len(run.outputs[shown.id]["images"]) == 1
    [told] = run.outputs[shown.id]["probe"]
    assert [one.pop("denoise") for one in told["frames"]] == [0.25, 0.7]
    for entry, frame in zip(told["frames"], given["frames"], strict=True):
        seen = np.asarray(server.image(entry).convert("RGB"), np.float32) / 255
        assert np.abs(seen - frame.numpy()).max() <= 1 / 255 + 1e-6
    assert told["presets"].keys() == {"fast try", "balanced", "best", "as in the paper"}
    assert told["presets"]["balanced"]["cfg"] == 2 and told["presets"]["best"]["steps"] == 30


def test_a_higher_denoise_goes_further_from_the_cross_fade(server):
    demo = Demo(Graph())
    shown = probe(demo, preset="balanced", values="0.1, 0.4, 0.8")
    _, given = run_with(server, demo.graph, frames=shown[1], keyframes=demo.keyframes)
    fade = given["keyframes"].mean(0)
    away = [(frame - fade).abs().mean().item() for frame in given["frames"]]
    assert away == sorted(away) and away[2] > 1.2 * away[0]


@pytest.mark.parametrize(
    "values, said",
    [
        ("0.2; 0.3", "values: got '0.2; 0.3', needs numbers, as in 0.2, 0.3"),
        ("", "values: got '', needs numbers"),
        ("0.5, 1.5", "values: got 1.5, needs 0.01 to 1.0"),
    ],
)
def test_other_values_are_refused(server, values, said):
    demo = Demo(Graph())
    probe(demo, values=values)
    run = server.run(demo.graph.prompt)
    assert said in run.error["exception_message"]
