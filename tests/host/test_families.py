"""The nodes on every family of models that the host samples with (tiny, random weights)."""

from __future__ import annotations

import json

import pytest
import torch
from comfy_host import Graph
from demo_graphs import INVERT, Demo, demo_poses, tensors
from tiny_graphs import KINDS, Tiny, sample

from diffusion_interpolation.demo import reranker, world
from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.demo.pair import pair
from diffusion_interpolation.models.denoise import noise_ratio


@pytest.mark.parametrize("kind", KINDS)
def test_frames_between_two_pictures(server, kind):
    tiny = Tiny(kind)
    given = tensors(server, tiny.graph, frames=tiny.bisector()[0], ends=tiny.keyframes)
    frames = given["frames"]
    assert frames.shape == (5, 64, 64, 3) and frames.isfinite().all()
    assert torch.equal(frames[[0, -1]], given["ends"])
    assert frames[1:-1].std((1, 2, 3)).min() > 0.02


def test_frames_see_only_the_keyframes_of_their_gap(server):
    """Of three keyframes one end is another picture, or the reference latents are left out."""
    tiny, frames = Tiny("flux"), {}
    red, blue, green, white = (
        tiny.graph.add("EmptyImage", width=64, height=64, batch_size=1, color=color)[0]
        for color in (0xFF4000, 0x2060FF, 0x20C040, 0xFFFFFF)
    )

    def path(name: str, *pictures: list, sees: bool = True) -> None:
        options = {"frames_per_gap": 1, "reference_latents": sees, "cfg": 1.0}
        batch = pictures[0]
        for picture in pictures[1:]:
            batch = tiny.graph.add("ImageBatch", image1=batch, image2=picture)[0]
        frames[name] = tiny.bisector(keyframes=batch, **options)[0]

    path("all", red, blue, green)
    path("other end", red, blue, white)
    path("other start", white, blue, green)
    path("unseen", red, blue, green, sees=False)
    given = tensors(server, tiny.graph, **frames)
    for first, second, name in ((1, 3, "other end"), (3, 1, "other start")):
        assert torch.allclose(given[name][first], given["all"][first], atol=1e-4)
        assert not torch.allclose(given[name][second], given["all"][second], atol=1e-2)
    for frame in (1, 3):
        assert not torch.allclose(given["unseen"][frame], given["all"][frame], atol=1e-2)


@pytest.mark.parametrize("scheduler", ["karras", "simple", "beta", "normal"])
@pytest.mark.parametrize("kind", ["sd15", "flux"])
def test_the_noise_level_is_the_models_own(server, kind, scheduler):
    """The sigmas begin at the denoise and go on with those of the host below it."""
    tiny = Tiny(kind)
    noisy = tiny.lerp(scheduler=scheduler)
    whole = tiny.graph.add(
        "BasicScheduler", model=tiny.model, scheduler=scheduler, steps=10, denoise=1.0
    )
    given = tensors(server, tiny.graph, sigmas=noisy[1], whole=whole[0], noisy=noisy[0])
    sigmas, grid = given["sigmas"], given["whole"]
    assert sigmas[-1] == 0 and 3 <= len(sigmas) <= len(grid)
    assert torch.equal(sigmas[1:], grid[1 - len(sigmas) :])
    ratio = noise_ratio(0.55)
    assert sigmas[0] == pytest.approx(ratio if kind == "sd15" else ratio / (1 + ratio))
    assert given["noisy"].shape[0] == 2 and given["noisy"].isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_hosts_sampler_goes_on_from_a_noisy_latent(server, kind):
    """SamplerCustomAdvanced without noise gives what ConditionedDenoise gives."""
    tiny = Tiny(kind)
    noisy, graph = tiny.lerp(), tiny.graph
    sampler = graph.add("KSamplerSelect", sampler_name="euler")
    ours = graph.add(
        "ConditionedDenoise",
        model=tiny.model,
        noisy_latent=noisy[0],
        sigmas=noisy[1],
        sampler=sampler[0],
        positive=tiny.positive,
        negative=tiny.negative,
        cfg=3.0,
        position=noisy[2],
        seed=0,
    )
    guider = graph.add(
        "CFGGuider", model=tiny.model, positive=tiny.positive, negative=tiny.negative, cfg=3.0
    )
    theirs = graph.add(
        "SamplerCustomAdvanced",
        noise=graph.add("DisableNoise")[0],
        guider=guider[0],
        sampler=sampler[0],
        sigmas=noisy[1],
        latent_image=noisy[0],
    )
    given = tensors(server, graph, ours=ours[0], theirs=theirs[0])
    assert given["ours"].std() > 0.1
    assert (given["ours"] - given["theirs"]).abs().max() < 1e-3 * given["ours"].abs().max()


def test_a_lora_reaches_the_frames(server):
    tiny = Tiny("sd15")
    patched = tiny.graph.add("TestLora", model=tiny.model, strength=0.5)
    frames = [tiny.bisector(), tiny.bisector(model=patched[0]), tiny.bisector(seed=0)]
    given = tensors(server, tiny.graph, **{f"frames{i}": node[0] for i, node in enumerate(frames)})
    assert (given["frames0"] - given["frames1"]).abs().max() > 0.02
    assert torch.equal(given["frames0"], given["frames2"])


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_controlnet_and_another_before_it(server, kind):
    """The pose's ControlNet is added to one that ControlNetApplyAdvanced has put there."""
    tiny = Tiny(kind)
    graph = tiny.graph
    first, second = (graph.add("TestControlNet", kind=kind, seed=seed)[0] for seed in (0, 1))
    hint = graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0x80FF40)
    applied = graph.add(
        "ControlNetApplyAdvanced",
        positive=tiny.positive,
        negative=tiny.negative,
        control_net=first,
        image=hint[0],
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
    )
    poses = graph.add("TestPoses", json=json.dumps(demo_poses()))[0]
    pose = {"control_net": second, "poses": poses}
    both = {"positive": applied[0], "negative": applied[1]}
    nodes = {
        "none": tiny.bisector(),
        "earlier": tiny.bisector(**both),
        "pose": tiny.bisector(**pose),
        "both": tiny.bisector(**both, **pose),
        "weak": tiny.bisector(**pose, strength_at_keyframes=0.0, strength_half_way=0.0),
    }
    given = tensors(server, graph, **{name: node[0] for name, node in nodes.items()})
    for one, other in (
        ("none", "earlier"),
        ("none", "pose"),
        ("earlier", "both"),
        ("pose", "both"),
    ):
        assert (given[one] - given[other]).abs().max() > 0.01, (one, other)
    assert (given["none"] - given["weak"]).abs().max() < 1e-3


def test_poses_of_comfyui_controlnet_aux_are_taken(server):
    """Its OpenPose node gives shares of the canvas, with hands and face left out."""
    normalised = json.loads(json.dumps(demo_poses()))
    for picture in normalised:
        picture["canvas_width"], picture["canvas_height"] = 512, 512
        for person in picture["people"]:
            flat = person["pose_keypoints_2d"]
            person["pose_keypoints_2d"] = [
                value if i % 3 == 2 else value / SIZE for i, value in enumerate(flat)
            ]
            for part in ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d"):
                person[part] = None
    demo = Demo(Graph())
    theirs = demo.graph.add("TestPoses", json=json.dumps(normalised))
    nodes = {"ours": demo.bisector(), "theirs": demo.bisector(poses=theirs[0])}
    given = tensors(server, demo.graph, **{name: node[0] for name, node in nodes.items()})
    assert (given["ours"] - given["theirs"]).abs().max() < 2e-3


def test_ksampler_polishes_what_the_parts_made(server):
    demo = Demo(Graph())
    latents = demo.graph.add("VAEEncode", pixels=demo.keyframes, vae=demo.vae)
    clean = demo.denoise(demo.lerp(latents[0]))
    polished = sample(demo.graph, demo.model, clean[0], demo.positive, demo.negative)
    demo.graph.prompt[polished.id]["inputs"] |= {"steps": 10, "denoise": 0.3}
    given = tensors(server, demo.graph, clean=clean[0], polished=polished[0])
    assert given["polished"].shape == given["clean"].shape
    assert 0.01 < (given["polished"] - given["clean"]).abs().mean() < given["clean"].std()


def test_the_hosts_own_clip_ranks_as_the_demos_does(server):
    """The same weights as CLIP and CLIP_VISION, through the host's classes."""
    demo = Demo(Graph(), side=SIZE)
    both = demo.graph.add("TestDemoClip", clip=demo.clip, projection=True)
    hosts = demo.graph.add(
        "RerankerFromCLIP",
        clip=both[0],
        clip_vision=both[1],
        positive="a yellow puppet",
        negative="a red puppet",
    )
    got = demo.scores(server, hosts[0])
    pictures = (world.render(pair(), SIZE) * 255).round() / 255
    want = reranker().scorer(["a yellow puppet"], "a red puppet")(pictures)
    assert got[0] < got[1]
    for index, score in got.items():
        assert abs(score - want[index].item()) < 2e-3


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_prompt_longer_than_its_negative(server, kind):
    """Two chunks of tokens and more against one: in learning, and in frames."""
    tiny = Tiny(kind)
    long = tiny.prompt("a red puppet that lifts both of its arms, " * 12)
    both = tiny.graph.add("KeyframeConditioning", first=long, second=tiny.positive)
    inputs = {"model": tiny.model, "vae": tiny.vae, "keyframes": tiny.keyframes}
    inputs |= {"positive": both[0], "negative": tiny.negative, **INVERT, "steps": 1}
    learned = tiny.graph.add("TextualInvert", **inputs)
    frames = tiny.bisector(positive=learned[0], negative=learned[1])
    given = tensors(server, tiny.graph, rows=both[0], frames=frames[0])
    assert len(given["rows"]) == 1 and given["rows"].shape[1] in (154, 231)
    assert given["frames"].isfinite().all()
