"""A denoise is the same amount of noise in every family of models, with steps that count."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from comfy_host import Server
from demo_graphs import run_with, tensors
from tiny_graphs import SAMPLED_KINDS, Tiny

from diffusion_interpolation.models.denoise import noise_ratio

SHIFTS = {
    "sd3": ("ModelSamplingSD3", {"shift": 8.0}),
    "flux": (
        "ModelSamplingFlux",
        {"max_shift": 1.15, "base_shift": 0.5, "width": 512, "height": 512},
    ),
}


def schedulers(server: Server) -> list[str]:
    """All that the host knows."""
    inputs = server.object_info("NoisyLatentLerp")["input"]["required"]
    kind, options = inputs["scheduler"]
    return options["options"] if kind == "COMBO" else kind


def decibels(ratio: float) -> float:
    return -20 * math.log10(ratio)


def measured(numbers: torch.Tensor) -> float:
    """Signal to noise, in decibels, of what TestNoise gives."""
    signal, noise, size = numbers.tolist()
    return decibels(noise / (signal * size))


@pytest.mark.parametrize("steps", [4, 8, 20])
@pytest.mark.parametrize("kind", SAMPLED_KINDS)
def test_the_noise_is_that_of_stable_diffusion(server, kind, steps):
    tiny, wanted = Tiny(kind), {}
    for denoise in (0.3, 0.55):
        for scheduler in schedulers(server):
            noisy = tiny.lerp(denoise=denoise, scheduler=scheduler, steps=steps)
            numbers = tiny.graph.add("TestNoise", model=tiny.model, sigmas=noisy[1])
            wanted[f"{scheduler} {denoise}"] = numbers[0]
            wanted[f"{scheduler} {denoise} sigmas"] = noisy[1]
    given = tensors(server, tiny.graph, **wanted)
    for name, numbers in given.items():
        if name.endswith("sigmas"):
            assert len(numbers) >= 3 and numbers[-1] == 0, name
            assert (numbers[1:] < numbers[:-1]).all(), name
        else:
            want = decibels(noise_ratio(float(name.split()[-1])))
            assert measured(numbers) == pytest.approx(want, abs=0.1), name


def test_the_sigmas_of_stable_diffusion_are_the_hosts_bit_for_bit(server):
    """`percent_to_sigma` of the rest of the schedule, as KSamplerAdvanced's nodes know it."""
    tiny = Tiny("sd15")
    wanted = {}
    for denoise in (0.01, 0.22, 0.3, 0.55, 0.99):
        wanted[f"ours {denoise}"] = tiny.lerp(denoise=denoise)[1]
        theirs = tiny.graph.add("TestPercent", model=tiny.model, percent=1 - denoise)
        wanted[f"theirs {denoise}"] = theirs[0]
    given = tensors(server, tiny.graph, **wanted)
    for name, sigmas in given.items():
        if name.startswith("ours"):
            assert torch.equal(sigmas[:1], given[name.replace("ours", "theirs")]), name


@pytest.mark.parametrize("min_steps", [1, 2, 4, 7])
def test_a_mix_gets_its_least_number_of_steps(server, min_steps):
    """Those of Frame Bisector for the same frame."""
    tiny = Tiny("flux")
    options = {"scheduler": "simple", "steps": 4, "min_steps": min_steps}
    sigmas = tiny.lerp(denoise=0.3, **options)[1]
    path = tiny.bisector(frames_per_gap=1, max_denoise=0.3, cfg=1.0, **options)
    run, given = run_with(server, tiny.graph, sigmas=sigmas)
    steps = len(given["sigmas"]) - 1
    assert steps == max(min_steps, 1) and (given["sigmas"][1:] < given["sigmas"][:-1]).all()
    # notes come first
    assert f": {steps} step" in run.outputs[path.id]["text"][-1]


@pytest.mark.parametrize("kind", SHIFTS)
def test_a_shift_changes_the_steps_and_not_the_noise(server, kind):
    tiny = Tiny(kind)
    node, options = SHIFTS[kind]
    shifted = tiny.graph.add(node, model=tiny.model, **options)[0]
    plain, other = (
        tiny.lerp(model=model, scheduler="simple")[1] for model in (tiny.model, shifted)
    )
    given = tensors(server, tiny.graph, plain=plain, other=other)
    assert given["plain"][0] == given["other"][0]
    assert given["plain"][1:].tolist() != given["other"][1:].tolist()


@pytest.mark.parametrize("kind", SAMPLED_KINDS)
def test_pure_noise(server, kind):
    """Of a flow model something must be left, or nothing could be put on a wire."""
    tiny = Tiny(kind)
    noisy = tiny.lerp(denoise=1.0, scheduler="simple")
    whole = tiny.graph.add(
        "BasicScheduler", model=tiny.model, scheduler="simple", steps=10, denoise=1.0
    )
    numbers = tiny.graph.add("TestNoise", model=tiny.model, sigmas=noisy[1])
    frames = tiny.bisector(max_denoise=1.0, scheduler="simple", steps=4, cfg=1.0)
    given = tensors(
        server,
        tiny.graph,
        sigmas=noisy[1],
        whole=whole[0],
        numbers=numbers[0],
        noisy=noisy[0],
        frames=frames[0],
    )
    assert given["sigmas"][0] == pytest.approx(given["whole"][0].item(), rel=2e-4)
    assert measured(given["numbers"]) < -23
    assert given["noisy"].isfinite().all() and given["frames"].isfinite().all()


@pytest.mark.parametrize("kind", SAMPLED_KINDS)
def test_no_frame_is_a_cross_fade(server, kind):
    """In four steps of any scheduler, also where the denoise is lowest."""
    tiny, wanted = Tiny(kind), {}
    options: dict[str, Any] = {"steps": 4, "cfg": 1.0, "max_denoise": 0.3, "candidates": 1}
    for scheduler in schedulers(server):
        wanted[scheduler] = tiny.bisector(scheduler=scheduler, **options)[1]
    for name, latents in tensors(server, tiny.graph, **wanted).items():
        for frame, left, right in ((2, 0, 4), (1, 0, 2), (3, 2, 4)):
            between = (latents[left] + latents[right]) / 2
            away = (latents[frame] - between).norm() / (latents[left] - latents[right]).norm()
            assert away > 0.2, (name, frame)


def test_the_text_says_steps_and_sigma(server):
    tiny = Tiny("sd15")
    one = {"frames_per_gap": 1, "candidates": 1}
    bisector = tiny.bisector(**one, max_denoise=0.3, scheduler="normal", steps=4)
    run = server.run(tiny.graph.prompt)
    assert run.error is None
    # notes come first
    line = run.outputs[bisector.id]["text"][-1]
    assert line == "frame 1, position 0.5, depth 1: 2 steps from sigma 0.832"
