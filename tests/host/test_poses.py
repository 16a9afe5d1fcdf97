"""Poses in a real ComfyUI: from files, from other nodes, from detectors, and to other nodes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import planted
import pytest
import torch
from comfy_host import Graph, Node, Run, Server
from demo_graphs import Demo, demo_poses, tensors
from safetensors.torch import load_file, save_file

from diffusion_interpolation.poses.format import read_poses, write_poses
from diffusion_interpolation.poses.pose import PAIRINGS, Pose, draw_batch

SIZE = 96, 128


def people(count: int, seed: int) -> list[Pose]:
    return planted.people_of(count, *SIZE, seed)


def given_as(keyframes: list[list[Pose]], way: str) -> list[dict[str, Any]]:
    """POSE_KEYPOINT as other packs write it."""
    height, width = SIZE
    entries = write_poses(keyframes, SIZE)
    for entry in entries:
        entry.pop("people_paired")
        for person in entry["people"]:
            person.pop("pose_keypoint_scores")
            triples = torch.tensor(person["pose_keypoints_2d"]).reshape(18, 3)
            if way == "comfyui_controlnet_aux, OpenPose":
                triples /= torch.tensor([width, height, 1])
                person["face_keypoints_2d"] = person["hand_left_keypoints_2d"] = None
                person["hand_right_keypoints_2d"] = None
            elif way == "SDPose":
                triples[:, 2] = torch.linspace(0.31, 0.97, 18)
                person["foot_keypoints_2d"] = [0.0] * 18
            person["pose_keypoints_2d"] = triples.flatten().tolist()
    return entries


def run(server: Server, graph: Graph, poses: Node) -> tuple[list[list[Pose]], Run]:
    """The poses that a node gives."""
    shown = graph.add("PreviewAny", source=poses[0])
    done = server.run(graph.prompt)
    assert done.node_errors == {} and done.error is None, done.error
    [text] = done.outputs[shown.id]["text"]
    return read_poses(json.loads(text))[0], done


def same(a: Pose, b: Pose) -> bool:
    return torch.allclose(a.points, b.points, atol=1e-3)


@pytest.mark.parametrize("way", ["DWPose", "comfyui_controlnet_aux, OpenPose", "SDPose"])
def test_poses_of_other_packs_are_matched(server, way):
    keyframes = [people(2, 0), people(3, 1)]
    graph = Graph()
    source = graph.add("TestPoses", json=json.dumps(given_as(keyframes, way)))
    every = graph.add(
        "MatchPoses", poses=source[0], people="all", pairing="left to right", missing_joints="drop"
    )
    skeletons = graph.add("TestTensor", any=every[1], name="skeletons")
    said = len(server.log)
    found, done = run(server, graph, every)
    assert [len(persons) for persons in found] == [2, 2]
    expected = [keyframes[0], keyframes[1][:2]]
    for persons, truth in zip(found, expected, strict=True):
        assert all(map(same, persons, truth))
    drawn = draw_batch(expected, *SIZE).movedim(1, -1)
    assert (server.tensor("skeletons") - drawn).abs().max() < 0.02
    assert len(done.outputs[every.id]["images"]) == 2 and skeletons.id
    assert "keyframe 1 has 3 people, another only 2; the others are dropped" in server.log[said:]


def test_people_paired_by_distance_stay_so_in_the_frames(server):
    """One person above another; each moves past the other one's middle, so that sorting swaps."""
    [person] = people(1, 3)

    def at(x: float, y: float) -> Pose:
        return person.scaled(0.3, 0.3, x, y)

    keyframes = [[at(10, 60), at(20, 5)], [at(22, 60), at(8, 5)]]
    graph = Graph()
    demo = Demo(graph)
    source = graph.add("TestPoses", json=json.dumps(given_as(keyframes, "DWPose")))
    matching = {"poses": source[0], "people": "all", "missing_joints": "drop"}
    ways = [graph.add("MatchPoses", **matching, pairing=way) for way in PAIRINGS]
    for number, poses in enumerate([source, *ways]):
        frames = demo.bisector(poses=poses[0], frames_per_gap=1, candidates=1)
        graph.add("TestTensor", any=frames[0], name=f"frames {number}")
    found, _ = run(server, graph, ways[PAIRINGS.index("distance")])
    assert same(found[0][0], keyframes[0][0]) == same(found[1][0], keyframes[1][0])
    unmatched, sorted_, near = (server.tensor(f"frames {number}")[1] for number in range(3))
    assert torch.equal(unmatched, sorted_)
    assert (near - sorted_).abs().max() > 0.02


def test_joints_that_sdpose_is_unsure_of_are_not_drawn(server):
    """It writes every joint; a portrait gets no legs."""
    keyframes = [people(1, seed) for seed in range(2)]
    given = given_as(keyframes, "SDPose")
    legs = range(8, 14)
    for entry in given:
        for joint in legs:
            entry["people"][0]["pose_keypoints_2d"][3 * joint + 2] = 0.02 * joint
    graph = Graph()
    source = graph.add("TestPoses", json=json.dumps(given))
    matching = {"people": "largest", "pairing": "left to right", "missing_joints": "drop"}
    poses = graph.add("MatchPoses", poses=source[0], **matching)
    graph.add("TestTensor", any=poses[1], name="skeletons")
    found, _ = run(server, graph, poses)
    present = torch.tensor([joint not in legs for joint in range(18)])
    assert all(torch.equal(persons[0].present, present) for persons in found)
    alone = [[Pose(pose.points, present.float())] for [pose] in keyframes]
    drawn = draw_batch(alone, *SIZE).movedim(1, -1)
    assert (server.tensor("skeletons") - drawn).abs().max() < 0.02


def test_a_canvas_of_another_shape_is_cropped_to_the_keyframes(server):
    """The same people in the middle of a canvas twice as wide: the same frames, and a warning."""
    wide = json.loads(json.dumps(demo_poses()))
    for entry in wide:
        entry["canvas_width"] *= 2
        for person in entry["people"]:
            flat = person["pose_keypoints_2d"]
            flat[::3] = [x + entry["canvas_height"] / 2 for x in flat[::3]]
    graph = Graph()
    demo = Demo(graph)
    source = graph.add("TestPoses", json=json.dumps(wide))
    latents = graph.add("VAEEncode", pixels=demo.keyframes, vae=demo.vae)
    noisy = demo.lerp(latents[0], candidates=1)
    outputs = {}
    for name, poses in (("square", demo.poses), ("wide", source[0])):
        frames = demo.bisector(poses=poses, frames_per_gap=1, candidates=1)
        outputs[f"{name} frames"] = frames[0]
        outputs[f"{name} latent"] = demo.denoise(noisy, poses=poses)[0]
    said = len(server.log)
    given = tensors(server, graph, **outputs)
    for kind in ("frames", "latent"):
        assert (given[f"square {kind}"] - given[f"wide {kind}"]).abs().max() < 2e-3
    shapes = "is 256 x 128 pixels, but the picture has the shape of 64 x 64"
    assert server.log[said:].count(shapes) == 4, "two pictures, in two nodes"


def test_a_missing_joint_is_filled_in(server):
    [whole], [other] = people(1, 0), people(1, 1)
    scores = whole.scores.clone()
    scores[4] = 0
    graph = Graph()
    keyframes = [[Pose(whole.points, scores)], [other]]
    source = graph.add("TestPoses", json=json.dumps(given_as(keyframes, "DWPose")))
    matching = {"poses": source[0], "people": "largest", "pairing": "left to right"}
    filled, _ = run(server, graph, graph.add("MatchPoses", **matching, missing_joints="fill in"))
    assert filled[0][0].present.all()
    assert torch.allclose(filled[0][0].points[4], other.points[4], atol=1e-3)
    dropped, _ = run(server, graph, graph.add("MatchPoses", **matching, missing_joints="drop"))
    assert not dropped[0][0].present[4]


def test_files_of_the_input_and_output_folders_in_a_row(server):
    first, second, third = (people(1, seed) for seed in range(3))
    for file, keyframes in (
        ("input/poses/first.json", [first]),
        ("output/second.json", [second, third]),
    ):
        path = server.folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(given_as(keyframes, "DWPose")))
    files = server.object_info()["LoadPoses"]["input"]["required"]["file"]
    offered = files[1]["options"] if isinstance(files[0], str) else files[0]
    assert {"poses/first.json", "second.json [output]"} <= set(offered)
    graph = Graph()
    one = graph.add("LoadPoses", file="poses/first.json")
    all_three = graph.add("LoadPoses", file="second.json [output]", before=one[0])
    found, _ = run(server, graph, all_three)
    assert all(map(same, (persons[0] for persons in found), (first[0], second[0], third[0])))
    (server.folder / "input/poses/first.json").write_text('{"people": [}')
    done = server.run(graph.prompt)
    assert "first.json, line 1: not a JSON file" in done.error["exception_message"]


def test_other_nodes_take_our_poses(server):
    """SDPose's drawing node, which needs face and hands and takes doubtful joints for missing."""
    if "SDPoseDrawKeypoints" not in server.object_info():
        pytest.skip("this ComfyUI has no SDPose nodes")
    graph = Graph()
    keyframes = [people(2, 0), people(2, 1)]
    source = graph.add("TestPoses", json=json.dumps(given_as(keyframes, "DWPose")))
    ours = graph.add(
        "MatchPoses", poses=source[0], people="all", pairing="left to right", missing_joints="drop"
    )
    drawn = graph.add(
        "SDPoseDrawKeypoints",
        keypoints=ours[0],
        **{f"draw_{part}": True for part in ("body", "hands", "face", "head")},
        draw_feet=False,
        stick_width=4,
        face_point_size=3,
        score_threshold=0.3,
    )
    graph.add("TestTensor", any=drawn[0], name="theirs")
    graph.add("TestTensor", any=ours[1], name="ours")
    done = server.run(graph.prompt)
    assert done.error is None, done.error["exception_message"]
    theirs, ours_drawn = server.tensor("theirs"), server.tensor("ours")
    assert theirs.shape == ours_drawn.shape
    lit = [picture.amax(-1) > 0.2 for picture in (theirs, ours_drawn)]
    assert (lit[0] & lit[1]).sum() > 0.6 * (lit[0] | lit[1]).sum()


# Detectors


def tiny_networks(folder: Path) -> None:
    """ViTPose and RT-DETR of a few weights, random but sure of all they say."""
    from transformers import (
        RTDetrConfig,
        RTDetrForObjectDetection,
        RTDetrImageProcessor,
        RTDetrResNetConfig,
        VitPoseBackboneConfig,
        VitPoseConfig,
        VitPoseForPoseEstimation,
        VitPoseImageProcessor,
    )

    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, out_indices=[1]
    )
    poses = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17))
    poses.head.conv.bias.data += 1
    poses.save_pretrained(folder / "vitpose")
    VitPoseImageProcessor().save_pretrained(folder / "vitpose")
    config = RTDetrConfig(
        backbone_config=RTDetrResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 16, 16],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        ),
        d_model=32,
        encoder_hidden_dim=32,
        encoder_in_channels=[16, 16, 16],
        decoder_in_channels=[32, 32, 32],
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        decoder_layers=1,
        num_queries=3,
        num_denoising=0,
        id2label={0: "person", 1: "thing"},
    )
    boxes = RTDetrForObjectDetection(config)
    boxes.model.decoder.class_embed[-1].bias.data[0] = 3
    boxes.save_pretrained(folder / "rtdetr")
    RTDetrImageProcessor().save_pretrained(folder / "rtdetr")


@pytest.fixture
def weights(server: Server) -> Iterator[Path]:
    """The folder of the detectors' files, which are taken away in the end."""
    folder = server.folder / "models" / "pose_detection"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder)


def test_vitpose_of_the_models_folder_under_the_host(server, weights):
    tiny_networks(weights)
    graph = Graph()
    demo = graph.add("PuppetDemo", positive="a puppet", negative="")
    poses = graph.add("PoseExtract", images=demo[5], detector="ViTPose", people="largest")
    said = len(server.log)
    found, done = run(server, graph, poses)
    assert [len(persons) for persons in found] == [1, 1]
    assert all(persons[0].present.all() for persons in found)
    assert len(done.outputs[poses.id]["images"]) == 2
    assert "Requested to load ModuleList" in server.log[said:]


def test_openpose_of_the_models_folder_finds_nobody_with_random_weights(server, weights):
    planted.untrained_openpose(weights)
    graph = Graph()
    demo = graph.add("PuppetDemo", positive="a puppet", negative="")
    poses = graph.add("PoseExtract", images=demo[5], detector="OpenPose", people="largest")
    graph.add("TestEnd", any=poses[0])
    message = server.run(graph.prompt).error["exception_message"]
    assert "no person found in picture 0, 1" in message and "stylised_poses" in message


def test_replaced_weights_are_read_again(server, weights):
    tiny_networks(weights)
    graph = Graph()
    demo = graph.add("PuppetDemo", positive="a puppet", negative="")
    poses = graph.add("PoseExtract", images=demo[5], detector="ViTPose", people="largest")
    before, _ = run(server, graph, poses)
    assert poses.id not in server.run(graph.prompt).executed
    file = weights / "vitpose" / "model.safetensors"
    tensors = load_file(file)
    tensors["head.conv.weight"] = tensors["head.conv.weight"].flip(0)
    save_file(tensors, file, {"format": "pt"})
    after, _ = run(server, graph, poses)
    assert not same(before[0][0], after[0][0])
