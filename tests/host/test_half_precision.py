"""Frames and learned prompts where the host's flags store weights in two bytes or in one."""

from __future__ import annotations

import pytest
from comfy_host import Graph
from demo_graphs import BISECTOR, INVERT, run_with

FLAGS = {
    "torch.bfloat16": "bf16_unet",
    "torch.float16": "fp16_unet",
    "torch.float8_e4m3fn": "fp8_e4m3fn_unet",
}
FAMILIES = {"SD 1.5": 4.0, "SDXL, Pony, Illustrious": 4.0, "Flux.1 dev, Krea": 1.0}
"""And the scale of guidance of each."""


@pytest.mark.parametrize("dtype", FLAGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_it_draws_and_learns(server, dtype, family):
    graph, cfg = Graph(), FAMILIES[family]
    model = graph.add("TestFamily", family=family, flag=FLAGS[dtype])
    told = graph.add("TestWeights", model=model[0])
    positive, negative = (graph.add("TestFamilyPrompt", family=family, seed=n) for n in (1, 2))
    red, blue = (
        graph.add("EmptyImage", width=64, height=64, batch_size=1, color=color)[0]
        for color in (0xFF4000, 0x2060FF)
    )
    shared = {
        "model": model[0],
        "vae": model[1],
        "positive": positive[0],
        "negative": negative[0],
        "keyframes": graph.add("ImageBatch", image1=red, image2=blue)[0],
    }
    learned = graph.add("TextualInvert", **{**shared, **INVERT, "steps": 2, "cfg": cfg})
    options = {**BISECTOR, "steps": 4, "frames_per_gap": 1, "cfg": cfg}
    path = graph.add("FrameBisector", **{**shared, **options, "positive": learned[0]})
    run, given = run_with(server, graph, frames=path[0], prompt=positive[0], learned=learned[0])
    assert run.outputs[told.id]["text"] == [dtype]
    assert given["frames"].isfinite().all() and given["frames"][1].std() > 0.02
    moved = (given["learned"] - given["prompt"]).float()
    assert moved.isfinite().all() and moved.abs().max() > 1e-4
