"""TextualInvert on models with what other nodes put on them, and in little memory."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from comfy_host import Graph, Node, Run
from demo_graphs import INVERT, tensors
from tiny_graphs import KINDS, sample

from diffusion_interpolation.models.checkpointing import USABLE


class Learning:
    """A tiny model of a kind, two pictures, and a TextualInvert of them."""

    def __init__(self, kind: str) -> None:
        self.graph = graph = Graph()
        self.checkpoint = graph.add("TestCheckpoint", kind=kind, seed=3)
        self.words = graph.add("CLIPTextEncode", clip=self.checkpoint[1], text="two pictures")
        pictures = [
            graph.add("EmptyImage", width=64, height=64, batch_size=1, color=color)[0]
            for color in (0xFF4000, 0x2060FF)
        ]
        self.keyframes = graph.add("ImageBatch", image1=pictures[0], image2=pictures[1])[0]

    def patched(self, patch: str) -> list:
        return self.graph.add("TestPatch", model=self.checkpoint[0], patch=patch)[0]

    def invert(self, model: list, **changes: Any) -> Node:
        inputs = {**INVERT, "steps": 2, "learning_rate": 0.001, **changes}
        return self.graph.add(
            "TextualInvert",
            model=model,
            vae=self.checkpoint[2],
            keyframes=self.keyframes,
            positive=self.words[0],
            negative=self.words[0],
            **inputs,
        )

    def learned(self, server, model: list, **changes: Any) -> torch.Tensor:
        """The learned states of both prompts, and that they are not the prompt's own."""
        node = self.invert(model, **changes)
        outputs = {"rows": node[0], "away": node[1], "prompt": self.words[0]}
        found = tensors(server, self.graph, **outputs)
        both = torch.cat([found["rows"], found["away"]])
        assert both.isfinite().all()
        assert (both - found["prompt"]).abs().flatten(1).amax(1).min() > 1e-5
        return both

    def failed(self, server, model: list) -> Run:
        self.graph.add("TestTensor", any=self.invert(model)[0], name="rows")
        return server.run(self.graph.prompt)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("patch", ["kernel", "global_kernel"])
def test_kernels_without_a_way_back_are_put_aside(server, kind, patch):
    """What is learned is what is learned without them, bit by bit."""
    learning = Learning(kind)
    with_it = learning.learned(server, learning.patched(patch))
    assert torch.equal(with_it, learning.learned(server, learning.checkpoint[0]))


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_kernels_that_a_pack_has_imported_are_put_aside(server, kind):
    learning = Learning(kind)
    with_it = learning.learned(server, learning.patched("imported_kernel"))
    assert torch.equal(with_it, learning.learned(server, learning.checkpoint[0]))


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux"])
def test_what_cuts_the_gradient_off_is_named(server, kind):
    learning = Learning(kind)
    error = learning.failed(server, learning.patched("no_grad")).error["exception_message"]
    assert error.startswith("model: no gradient comes back to the positive prompt; leave out")
    assert "no_grad (interpolation_test_models.patches)" in error
    assert "/" not in error


@pytest.mark.parametrize("kind", ["sd15", "flux"])
def test_wrappers_are_told_what_the_sampler_tells(server, kind):
    learning = Learning(kind)
    learning.learned(server, learning.patched("told"))
    alone = learning.invert(learning.patched("told"), cfg=1.0)
    assert tensors(server, learning.graph, rows=alone[0])["rows"].isfinite().all()


@pytest.mark.parametrize("kind", ["sd15", "flux"])
@pytest.mark.parametrize("cache", ["EasyCache", "LazyCache", "cached"])
def test_caches_are_left_out(server, kind, cache):
    learning = Learning(kind)
    plain = learning.learned(server, learning.checkpoint[0])
    if cache == "cached":
        model = learning.patched(cache)
    else:
        model = learning.graph.add(
            cache,
            model=learning.checkpoint[0],
            reuse_threshold=3.0,
            start_percent=0.0,
            end_percent=1.0,
            verbose=False,
        )[0]
    assert torch.equal(plain, learning.learned(server, model))


def test_freeu(server):
    """It works on activations in place."""
    learning = Learning("sd15")
    patched = learning.graph.add(
        "FreeU_V2", model=learning.checkpoint[0], b1=1.3, b2=1.4, s1=0.9, s2=0.2
    )
    with_it = learning.learned(server, patched[0])
    assert not torch.equal(with_it, learning.learned(server, learning.checkpoint[0]))


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("sd15", "in_place"),
        ("sdxl", "in_place"),
        ("sd15", "inference_tensors"),
        ("sdxl", "injection"),
        ("flux", "injection"),
    ],
)
def test_patches_that_work_in_place_or_bring_tensors(server, kind, patch):
    learning = Learning(kind)
    with_it = learning.learned(server, learning.patched(patch))
    assert not torch.equal(with_it, learning.learned(server, learning.checkpoint[0]))


@pytest.mark.parametrize("kind", ["sd15", "flux"])
def test_quantised_layers(server, kind):
    learning = Learning(kind)
    model = learning.graph.add("TestQuantised", kind=kind)[0]
    with_it = learning.learned(server, model)
    plain = learning.learned(server, learning.checkpoint[0])
    assert not torch.equal(with_it, plain)


def test_the_best_state_is_kept_when_numbers_stop_being_finite(server):
    learning = Learning("sd15")
    model = learning.graph.add("TestOverflow", model=learning.checkpoint[0], calls=24)
    rows = learning.learned(server, model[0], steps=40, learning_rate=0.05)
    assert len(rows) == 3
    assert "learning ends early with the state of step" in server.log


def test_a_model_of_nan_is_reported_at_once(server):
    learning = Learning("sd15")
    model = learning.graph.add("TestNaN", model=learning.checkpoint[0])
    error = learning.failed(server, model[0]).error["exception_message"]
    assert "the loss is nan at step 0" in error


class Plan:
    """How the node says that it learns."""

    def __init__(self, log: str) -> None:
        line = next(line for line in log.splitlines() if "learning takes" in line)
        self.as_it_goes = line.endswith("as it goes")
        found = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?= [pM]i)", line)]
        self.pictures, _, self.plain, self.checkpointed = found[-4:]


@pytest.fixture
def free_memory(server):
    """Sets how much memory is free, and lets it be as it is afterwards."""

    def run(model: list, graph: Graph, mebibytes: float) -> list:
        return graph.add("TestFreeMemory", model=model, mebibytes=mebibytes)[0]

    yield run
    graph = Graph()
    model = graph.add("TestCheckpoint", kind="sd15", seed=0)
    graph.add("TestEnd", any=run(model[0], graph, -1.0))
    server.run(graph.prompt)


PATCHED = [
    *((kind, "") for kind in KINDS),
    *((kind, "injection") for kind in ("sd15", "flux")),
    # a patch of U-shaped networks
    *((kind, "in_place") for kind in ("sd15", "sdxl")),
]


@pytest.mark.parametrize(("kind", "patch"), PATCHED)
def test_little_memory_changes_nothing(server, free_memory, kind, patch):
    """Blocks run again on the way back, halves of guidance go one by one: the same is learned."""
    found, plans, mebibytes = [], [], 1e6
    for _ in range(3):
        learning = Learning(kind)
        model = learning.patched(patch) if patch else learning.checkpoint[0]
        seen = len(server.log)
        model = free_memory(model, learning.graph, mebibytes)
        found.append(learning.learned(server, model))
        plans.append(Plan(server.log[seen:]))
        # between what is needed with checkpoints and without, and then hardly any
        needed = (plans[0].plain + plans[0].checkpointed) / 2 / USABLE
        mebibytes = needed if len(plans) == 1 else 0.001
    assert [plan.as_it_goes for plan in plans] == [False, True, True]
    assert plans[0].pictures > 1 and [plan.pictures for plan in plans[1:]] == [1, 0]
    moved = (found[0] - found[0].mean(0)).abs().mean()
    for other in found[1:]:
        # Adam makes much of rounding where a gradient is next to nothing
        assert (found[0] - other).abs().mean() < 0.05 * moved


def test_a_picture_is_drawn_as_before(server, free_memory):
    """Checkpoints leave nothing on the model."""
    learning = Learning("sdxl")
    latents = learning.graph.add("VAEEncode", pixels=learning.keyframes, vae=learning.checkpoint[2])
    words = learning.words[0]
    before = sample(learning.graph, learning.checkpoint[0], latents[0], words, words)
    first = tensors(server, learning.graph, before=before[0])["before"]
    small = free_memory(learning.checkpoint[0], learning.graph, 0.001)
    learning.learned(server, small)
    enough = free_memory(learning.checkpoint[0], learning.graph, -1.0)
    again = learning.graph.add("TestPause", model=enough, after=small)
    after = sample(learning.graph, again[0], latents[0], words, words)
    assert torch.equal(first, tensors(server, learning.graph, after=after[0])["after"])


def test_no_steps_use_no_model(server):
    """Nothing is encoded again, evaluated or loaded."""
    learning = Learning("sd15")
    counted = learning.graph.add("TestCount", model=learning.checkpoint[0], name="none", delay=0.0)
    node = learning.invert(counted[0], steps=0, augmentations=16)
    found = tensors(server, learning.graph, rows=node[0], prompt=learning.words[0], curve=node[2])
    assert torch.equal(found["rows"], found["prompt"].expand(2, -1, -1))
    assert found["curve"].shape == (1, 400, 640, 3)
    assert server.calls("none") == 0
