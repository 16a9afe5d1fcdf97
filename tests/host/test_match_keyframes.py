"""Match Keyframes in a real ComfyUI, against the library and the puppets' own joints."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from comfy_host import Graph, Node, Server
from demo_graphs import POSITIVE, Demo, demo_poses, run_with, tensors
from tiny_graphs import KINDS, Tiny, sample
from torch import Tensor

from diffusion_interpolation.demo import load_named, load_reader, world
from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.demo.pair import pair
from diffusion_interpolation.method.matching.correspondence import Correspondence, correspondences
from diffusion_interpolation.method.matching.features import of_model
from diffusion_interpolation.method.matching.rigid_warp import rigid_move

TO_AND_FRO = "10,60 -> 100,60 -> 10,60 -> 100,60"
"""An anchor through four keyframes."""
MODELS = {"unet": "demo", "flow": "demo-flow"}


def matching(demo: Demo, **changes: Any) -> Node:
    inputs = {name: getattr(demo, name) for name in ("keyframes", "model", "vae", "positive")}
    inputs |= {"anchors": "", **changes}
    given = {name: value for name, value in inputs.items() if value is not None}
    return demo.graph.add("MatchKeyframes", **given)


def read(points: Tensor) -> Correspondence:
    """What the test node has written of the first gap."""
    return Correspondence(points[:, :2], points[:, 2:4], points[:, 4], 1.0)


def joints_missed(gap: Correspondence) -> float:
    """Mean distance of carried joints of the demo's first puppet from those of the second."""
    first, second = world.joints(pair()).float()
    moved = rigid_move(first, gap.first, gap.second, gap.weights)
    return (moved - second).norm(dim=-1).mean().item()


@pytest.mark.parametrize("network", MODELS)
def test_the_map_is_that_of_the_library_and_finds_the_joints(server, network):
    demo = Demo(Graph(), network, side=SIZE)
    node = matching(demo)
    run, given = run_with(server, demo.graph, gap=node[0], arrows=node[1])
    gap = read(given["gap"])
    first, second = world.joints(pair()).float()
    assert joints_missed(gap) < 0.5 * (first - second).norm(dim=-1).mean()
    model = load_named(MODELS[network])
    extract = of_model(model, model.encode_text([POSITIVE]))
    [want] = correspondences(extract, world.render(pair(), SIZE))
    places = world.joints(pair())[0].float()
    ways = [rigid_move(places, one.first, one.second, one.weights) for one in (gap, want)]
    assert (ways[0] - ways[1]).norm(dim=-1).max() < 0.02
    assert given["arrows"].shape == (1, 512, 512, 3)
    assert len(run.outputs[node.id]["images"]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_of_models_gives_a_map_and_is_left_as_it_was(server, kind):
    def sampled(matched: bool) -> dict[str, Tensor]:
        tiny = Tiny(kind)
        latent = tiny.graph.add("VAEEncode", pixels=tiny.keyframes, vae=tiny.vae)[0]
        given = {}
        model = tiny.model
        if matched:
            inputs = {"keyframes": tiny.keyframes, "vae": tiny.vae, "positive": tiny.positive}
            node = tiny.graph.add("MatchKeyframes", model=model, anchors="", **inputs)
            given["gap"] = node[0]
            model = tiny.graph.add("TestPause", model=model, after=node[1])[0]
        prompts = tiny.positive, tiny.negative
        given["latents"] = sample(tiny.graph, model, latent, *prompts)[0]
        return tensors(server, tiny.graph, **given)

    after, before = sampled(matched=True), sampled(matched=False)
    assert after["gap"].isfinite().all()
    assert torch.equal(after["latents"], before["latents"])


def test_a_vision_model_takes_the_place_of_the_model(server):
    demo = Demo(Graph(), side=SIZE)
    vision = demo.graph.add("TestDemoClip", clip=demo.clip, projection=True)[1]
    node = matching(demo, model=None, vae=None, positive=None, clip_vision=vision)
    gap = read(tensors(server, demo.graph, gap=node[0])["gap"])
    assert len(gap) > 50 and gap.weights.max() < 1


def test_joints_of_poses_and_points_by_hand_are_anchors(server):
    demo = Demo(Graph(), side=SIZE)
    node = matching(demo, poses=demo.poses, anchors="8,16 -> 8,24")
    gap = read(tensors(server, demo.graph, gap=node[0])["gap"])
    sure = gap.weights == 1
    assert torch.allclose(gap.first[0] * SIZE, torch.tensor([8.0, 16.0]))
    assert torch.allclose(gap.second[0] * SIZE, torch.tensor([8.0, 24.0]))
    joints = world.joints(pair())[0].float()
    assert sure.sum() > 18
    assert ((gap.first[sure][:, None] - joints).norm(dim=-1).amin(0) < 0.01).all()
    assert joints_missed(gap) < 0.02


def test_anchors_alone_are_a_map(server):
    demo = Demo(Graph(), side=SIZE)
    node = matching(demo, model=None, vae=None, positive=None, anchors="1,2 -> 3,4")
    assert len(tensors(server, demo.graph, gap=node[0])["gap"]) == 1


def test_every_gap_has_a_map(server):
    demo = Demo(Graph(), side=SIZE)
    three = demo.graph.add("ImageBatch", image1=demo.keyframes, image2=demo.keyframes)[0]
    node = matching(demo, keyframes=three, anchors="1,1 -> 2,2 -> 3,3 -> 4,4")
    given = tensors(server, demo.graph, arrows=node[1])
    assert given["arrows"].shape[0] == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": None}, "model: got none, nor a clip_vision, poses or anchors"),
        ({"positive": None}, "positive: got none, but a model"),
        ({"vae": None}, "vae: got none"),
        ({"anchors": "10,10"}, "anchors: line 1 is '10,10'"),
        ({"anchors": "10,10 -> 300,10"}, "outside of pictures of 128 x 128 pixels"),
        ({"poses": demo_poses()[:1]}, "poses: got 1 for 2 keyframes"),
    ],
)
def test_what_is_missing_or_wrong_is_said(server, changes, told):
    demo = Demo(Graph(), side=SIZE)
    if "poses" in changes:
        changes = {"poses": demo.graph.add("TestPoses", json=json.dumps(changes["poses"]))[0]}
    node = matching(demo, **changes)
    demo.graph.add("TestTensor", any=node[1], name="arrows")
    assert told in server.run(demo.graph.prompt).error["exception_message"]


def test_frames_move_along_the_map(server):
    """Half-way the joints are nearer to where they should be, and the keyframes are untouched."""
    demo = Demo(Graph(), side=SIZE)
    one = {"frames_per_gap": 1, "candidates": 1, "cfg": 2.0, "control_net": None, "poses": None}
    low = {**one, "max_denoise": 0.35, "min_denoise": 0.35}
    plain = demo.bisector(**low)[0]
    moved = demo.bisector(**low, correspondence=matching(demo)[0])[0]
    given = tensors(server, demo.graph, plain=plain, moved=moved)
    truth = world.joints(pair().mean(0, keepdim=True))
    missed = {
        name: (world.joints(load_reader()(frames[1:2].movedim(-1, 1))) - truth).norm(dim=-1).mean()
        for name, frames in given.items()
    }
    assert missed["moved"] < 0.9 * missed["plain"]
    assert torch.equal(given["plain"][[0, 2]], given["moved"][[0, 2]])


def test_colours_keep_between_those_of_the_keyframes(server):
    """Half-way they are nearer to the mix of both than the model makes them."""
    demo, parts = Demo(Graph(), side=SIZE), (world.BODY, world.LEGS, world.BACK)
    node = matching(demo)
    one = {"frames_per_gap": 1, "candidates": 1, "cfg": 2.0, "correspondence": node[0]}
    matched, made = (demo.bisector(**one, match_colors=on)[0] for on in (True, False))
    given = tensors(server, demo.graph, matched=matched, made=made)
    off = {
        name: load_reader()(frames[1:2].movedim(-1, 1)) - pair().mean(0, keepdim=True)
        for name, frames in given.items()
    }
    missed = {name: torch.cat([n[:, part] for part in parts], 1).norm() for name, n in off.items()}
    assert missed["matched"] < 0.8 * missed["made"]
    assert torch.equal(given["matched"][[0, 2]], given["made"][[0, 2]])


def test_a_loop_has_a_map_of_its_last_gap(server):
    """The frames on the way back move as those on the way there, whatever their number."""
    demo = Demo(Graph(), side=SIZE)
    low = {"candidates": 1, "cfg": 2.0, "control_net": None, "poses": None, "min_denoise": 0.3}
    node = matching(demo, anchors="8,16 -> 8,24", loop=True)
    loop = demo.bisector(
        **low, frames_per_gap="1, 3", loop=True, max_denoise=0.3, correspondence=node[0]
    )
    given = tensors(server, demo.graph, arrows=node[1], frames=loop[0])
    assert given["arrows"].shape[0] == 2 and len(given["frames"]) == 6
    truth = world.joints(pair().mean(0, keepdim=True))
    seen = world.joints(load_reader()(given["frames"][[1, 4]].movedim(-1, 1)))
    missed = (seen - truth).norm(dim=-1).mean(1)
    assert missed[1] < 1.5 * missed[0] and missed.max() < 0.05


def test_a_map_of_other_keyframes_is_refused(server):
    demo = Demo(Graph(), side=SIZE)
    three = demo.graph.add("ImageBatch", image1=demo.keyframes, image2=demo.keyframes)[0]
    node = matching(demo, keyframes=three, anchors="1,1 -> 2,2 -> 3,3 -> 4,4")
    assert "got maps of 3 gaps, needs 1" in refused(server, demo, correspondence=node[0])
    demo = Demo(Graph(), side=SIZE)
    told = refused(server, demo, correspondence=matching(demo)[0], loop=True)
    assert "got maps of 1 gaps, needs 2" in told and told.endswith("a loop has one more\n")


def refused(server: Server, demo: Demo, **changes: Any) -> str:
    """Why Frame Bisector does not make frames."""
    demo.graph.add("TestTensor", any=demo.bisector(**changes)[0], name="frames")
    return server.run(demo.graph.prompt).error["exception_message"]


def test_a_frame_from_parts_moves_as_that_of_frame_bisector(server):
    """Both neighbours are moved to its position; without a map they would only fade over."""
    demo = Demo(Graph(), side=SIZE)
    gaps = matching(demo)[0]
    free = {"control_net": None, "poses": None}
    options = {"max_denoise": 0.35, "min_denoise": 0.35, "candidates": 1, **free}
    whole = demo.bisector(frames_per_gap=1, correspondence=gaps, **options)
    encoded = demo.graph.add("VAEEncode", pixels=demo.keyframes, vae=demo.vae)
    moved = {"denoise": 0.35, "candidates": 1}
    ways = {"moved": {"correspondence": gaps, "vae": demo.vae}, "faded": {}}
    frames = {"whole": whole[0]}
    for name, more in ways.items():
        mix = demo.lerp(encoded[0], **moved, **more)
        denoised = demo.denoise(mix, **free)
        decoded = demo.graph.add("VAEDecode", samples=denoised[0], vae=demo.vae)
        frames[name] = decoded[0]
    given = tensors(server, demo.graph, **frames)
    off = {name: (given[name][0] - given["whole"][1]).square().mean().sqrt() for name in ways}
    # it is moved as the VAE gives it back, Frame Bisector's keyframe as the picture itself
    assert off["moved"] < off["faded"] / 3, off


def test_at_a_keyframe_it_is_the_keyframe_whatever_moves(server):
    """The second of four, which is the end of one gap and the start of the next."""
    demo = Demo(Graph(), side=SIZE)
    four = demo.graph.add("ImageBatch", image1=demo.keyframes, image2=demo.keyframes)[0]
    alone = {"model": None, "vae": None, "positive": None, "anchors": TO_AND_FRO}
    gaps = matching(demo, keyframes=four, **alone)[0]
    encoded = demo.graph.add("VAEEncode", pixels=four, vae=demo.vae)
    moved, plain = (
        demo.lerp(encoded[0], position=1.0, denoise=0.35, candidates=1, **more)[0]
        for more in ({"correspondence": gaps, "vae": demo.vae}, {})
    )
    given = tensors(server, demo.graph, moved=moved, plain=plain)
    # but for the way through the VAE and back
    assert (given["moved"] - given["plain"]).abs().mean() < 0.5
