"""What a conditioning holds beside its prompt, and what a node has put over a model."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import torch
from comfy_host import CHECKOUT, Graph, Server, host_python
from demo_graphs import BISECTOR, Demo, run_with, tensors
from tiny_graphs import Tiny, sample
from torch import Tensor

from diffusion_interpolation.method.noise import row_seed


def frames_by_batch(server: Server, maker: Demo | Tiny, **inputs: Any) -> list[Tensor]:
    """The frames of a path, denoised all at once, one at a time, and in two uneven batches."""
    nodes = {}
    for max_batch in (0, 1, 2):
        # a model of its own each time, of which no candidates are known
        name = f"conditioning_{max_batch}"
        model = maker.graph.add("TestCount", model=maker.model, name=name, delay=0.0)
        bisector = maker.bisector(model=model[0], max_batch=max_batch, **inputs)
        nodes[f"frames{max_batch}"] = bisector[0]
    return list(tensors(server, maker.graph, **nodes).values())


def skeletons(demo: Demo) -> list:
    """Hints for the two keyframes."""
    return demo.graph.add(
        "PoseExtract", images=demo.keyframes, detector="puppets of the demo", people="largest"
    )[1]


def controlled(demo: Demo, hints: list) -> dict[str, list]:
    """Both prompts under the demo's ControlNet with `hints`."""
    node = demo.graph.add(
        "ControlNetApplyAdvanced",
        positive=demo.positive,
        negative=demo.negative,
        control_net=demo.control_net,
        image=hints,
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
    )
    return {"positive": node[0], "negative": node[1]}


WITHOUT_POSES = {"control_net": None, "poses": None, "reranker": None}


def one_hint(demo: Demo, hints: list, index: int) -> list:
    return demo.graph.add("ImageFromBatch", image=hints, batch_index=index, length=1)[0]


@pytest.mark.parametrize("chained", [False, True])
def test_a_hint_for_each_keyframe_goes_by_place(server, chained):
    """Alone, and behind the ControlNet of the poses."""
    demo = Demo(Graph())
    inputs = controlled(demo, skeletons(demo)) | ({"reranker": None} if chained else WITHOUT_POSES)
    first, *others = frames_by_batch(server, demo, **inputs)
    assert max((frames - first).abs().max() for frames in others) < 2e-3


def test_the_hint_half_way_is_between_those_of_the_keyframes(server):
    """The same frame as with that hint for all."""
    demo = Demo(Graph())
    both = skeletons(demo)
    ends = [one_hint(demo, both, index) for index in (0, 1)]
    mixed = demo.graph.add(
        "ImageBlend", image1=ends[0], image2=ends[1], blend_factor=0.5, blend_mode="normal"
    )
    nodes = {}
    for name, hints in {"rows": both, "mixed": mixed[0], "first": ends[0]}.items():
        inputs = controlled(demo, hints) | WITHOUT_POSES
        nodes[name] = demo.bisector(**inputs, frames_per_gap=1)[0]
    given = tensors(server, demo.graph, **nodes)
    assert (given["rows"] - given["mixed"]).abs().max() < 2e-3
    assert (given["rows"] - given["first"]).abs().max() > 0.05


def test_a_hint_for_both_prompts_is_followed_by_the_poses_once(server):
    """Apply ControlNet on the positive alone reaches the negative, too."""
    demo = Demo(Graph())
    hint = one_hint(demo, skeletons(demo), 0)
    words = {"control_net": demo.control_net, "image": hint, "strength": 1.0}
    on_positive = demo.graph.add("ControlNetApply", conditioning=demo.positive, **words)[0]
    more = {"reranker": None, "frames_per_gap": 1}
    nodes = {
        "both": demo.bisector(**controlled(demo, hint), **more)[0],
        "positive": demo.bisector(positive=on_positive, **more)[0],
    }
    given = tensors(server, demo.graph, **nodes)
    assert (given["both"] - given["positive"]).abs().max() < 2e-3


def test_a_reference_for_each_keyframe_goes_by_place(server):
    """Flux sees reference latents; a batch of two is one for each keyframe."""
    tiny = Tiny("flux")
    latents = tiny.graph.add("VAEEncode", pixels=tiny.keyframes, vae=tiny.vae)
    held = tiny.graph.add("ReferenceLatent", conditioning=tiny.positive, latent=latents[0])
    plain = tensors(server, tiny.graph, plain=tiny.bisector()[0])["plain"]
    first, *others = frames_by_batch(server, tiny, positive=held[0])
    assert (first - plain).abs().max() > 0.01
    assert max((frames - first).abs().max() for frames in others) < 2e-3


def test_every_kind_of_tensor_goes_by_place(server):
    """Adapters, masks of controls, lists and what nodes made for the model, without sampling."""
    script = CHECKOUT / "tests" / "support" / "placed_conditioning.py"
    words = [host_python(server.host), str(script)]
    done = subprocess.run(words, cwd=server.host, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_parts_take_what_is_at_their_position(server):
    """All candidates at the place of the second keyframe have its hint."""
    demo = Demo(Graph())
    latents = demo.graph.add("VAEEncode", pixels=demo.keyframes, vae=demo.vae)
    noisy, both = demo.lerp(latents[0]), skeletons(demo)
    nodes = {}
    hints = {"rows": both, "first": one_hint(demo, both, 0), "second": one_hint(demo, both, 1)}
    for name, hint in hints.items():
        inputs = controlled(demo, hint) | {"control_net": None, "poses": None, "position": 1.0}
        nodes[name] = demo.denoise(noisy, **inputs)[0]
    given = tensors(server, demo.graph, **nodes)
    assert given["rows"].shape[0] == 2
    assert (given["rows"] - given["second"]).abs().max() < 1e-3
    assert (given["rows"] - given["first"]).abs().max() > 0.05


@pytest.mark.parametrize("kind", ["sd15", "flux"])
def test_what_is_put_over_a_model_holds_before_it_is_loaded(server, kind):
    tiny = Tiny(kind)
    patched = tiny.graph.add("TestLatentFormat", model=tiny.model, scale=2.0)[0]
    before = tiny.lerp()
    tiny.graph.prompt[before.id]["inputs"]["model"] = patched
    sampled = sample(tiny.graph, patched, before[0], tiny.positive, tiny.negative)
    loaded = tiny.graph.add("TestPause", model=patched, after=sampled[0])[0]
    after = tiny.lerp()
    tiny.graph.prompt[after.id]["inputs"]["model"] = loaded
    given = tensors(server, tiny.graph, before=before[0], after=after[0])
    assert torch.equal(given["before"], given["after"])


@pytest.mark.parametrize("sampler", ["dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde_gpu"])
def test_samplers_of_one_brownian_motion_keep_it(server, sampler):
    """A candidate is what the host's own sampler makes with the candidate's seed."""
    demo = Demo(Graph())
    latents = demo.graph.add("VAEEncode", pixels=demo.keyframes, vae=demo.vae)
    noisy = demo.lerp(latents[0], candidates=1)
    chosen = demo.graph.add("KSamplerSelect", sampler_name=sampler)
    ours = demo.denoise(noisy, sampler=chosen[0], control_net=None, poses=None)
    theirs = demo.graph.add(
        "SamplerCustom",
        model=demo.model,
        add_noise=False,
        noise_seed=(row_seed(BISECTOR["seed"], 0.5, 0) + 1) % 2**64,
        cfg=BISECTOR["cfg"],
        positive=demo.positive,
        negative=demo.negative,
        sampler=chosen[0],
        sigmas=noisy[1],
        latent_image=noisy[0],
    )
    given = tensors(server, demo.graph, ours=ours[0], theirs=theirs[0])
    assert (given["ours"] - given["theirs"]).abs().max() < 1e-3 * given["ours"].abs().max()


def test_prompts_of_two_lengths(server):
    """Frames do not depend on the batch, and a keyframe has its own prompt alone."""
    tiny = Tiny("flux")
    long = tiny.prompt("a red puppet that lifts both of its arms, " * 40)
    both = tiny.graph.add("KeyframeConditioning", first=tiny.positive, second=long)[0]
    first, *others = frames_by_batch(server, tiny, positive=both)
    assert max((frames - first).abs().max() for frames in others) < 2e-3
    noisy = tiny.lerp()
    sampler = tiny.graph.add("KSamplerSelect", sampler_name="euler")
    nodes = {}
    for name, prompt, position in (
        ("joined", both, 1.0),
        ("own", long, 1.0),
        ("other", tiny.positive, 1.0),
        ("between", both, 0.5),
    ):
        nodes[name] = tiny.graph.add(
            "ConditionedDenoise",
            model=tiny.model,
            noisy_latent=noisy[0],
            sigmas=noisy[1],
            sampler=sampler[0],
            positive=prompt,
            negative=tiny.negative,
            cfg=3.0,
            position=position,
            seed=0,
        )[0]
    given = tensors(server, tiny.graph, **nodes)
    assert torch.equal(given["joined"], given["own"])
    for name in ("other", "between"):
        assert (given["joined"] - given[name]).abs().max() > 1e-3


def test_arrays_and_objects_in_two_prompts_are_compared(server):
    """They have no plain answer to `==`; those of the same content are alike."""
    tiny = Tiny("sd15")
    one, same, other = (
        tiny.graph.add("TestArrays", conditioning=tiny.positive, number=number)[0]
        for number in (1.0, 1.0, 2.0)
    )
    nodes = {
        name: tiny.graph.add("KeyframeConditioning", first=one, second=second)
        for name, second in (("alike", same), ("differs", other))
    }
    run, _ = run_with(server, tiny.graph, **{name: node[0] for name, node in nodes.items()})
    [text] = run.outputs[nodes["differs"].id]["text"]
    assert "embeds, settings" in text
    assert nodes["alike"].id not in run.outputs


def test_what_keeps_two_prompts_apart_is_told(server):
    tiny = Tiny("flux")
    first, second = (
        tiny.graph.add("FluxGuidance", conditioning=prompt, guidance=guidance)[0]
        for prompt, guidance in ((tiny.positive, 3.5), (tiny.negative, 4.0))
    )
    latents = tiny.graph.add("VAEEncode", pixels=tiny.keyframes, vae=tiny.vae)
    second = tiny.graph.add("ReferenceLatent", conditioning=second, latent=latents[0])[0]
    both = tiny.graph.add("KeyframeConditioning", first=first, second=second)
    alike = tiny.graph.add("KeyframeConditioning", first=first, second=first)
    run, _ = run_with(server, tiny.graph, both=both[0], alike=alike[0])
    [text] = run.outputs[both.id]["text"]
    assert "guidance, reference_latents" in text and text in server.log
    assert alike.id not in run.outputs
