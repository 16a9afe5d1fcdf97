"""The detectors' own code, with networks of full size and, in their place, ideal output.

No trained weights can be had here. So the networks run with random weights, and what follows them
is tested on the maps that an ideal network would give for skeletons that were planted.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import planted
import pytest
import torch

from diffusion_interpolation.poses.detection import (
    OPENPOSE_SIDE,
    Detector,
    detect,
    openpose,
    shrunk,
    vitpose,
)
from diffusion_interpolation.poses.pose import Pose

pytest.importorskip("controlnet_aux")

SCENES = [
    *[(1, 517, 389), (2, 480, 643), (3, 401, 777)],
    *[(4, 389, 901), (5, 421, 1103), (2, 1201, 1817)],
]
"""People, height and width."""


@pytest.fixture(scope="module")
def openpose_file(tmp_path_factory) -> Path:
    return planted.untrained_openpose(tmp_path_factory.mktemp("openpose"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """ViTPose-B and RT-DETR with ResNet-50, random."""
    from transformers import (
        RTDetrConfig,
        RTDetrForObjectDetection,
        RTDetrImageProcessor,
        VitPoseBackboneConfig,
        VitPoseConfig,
        VitPoseForPoseEstimation,
        VitPoseImageProcessor,
    )

    torch.manual_seed(0)
    poses, boxes = (tmp_path_factory.mktemp(name) for name in ("vitpose", "rtdetr"))
    backbone = VitPoseBackboneConfig(out_indices=[12])
    VitPoseForPoseEstimation(
        VitPoseConfig(backbone_config=backbone, num_labels=17)
    ).save_pretrained(poses)
    names = dict(enumerate(["person", *(f"thing {n}" for n in range(1, 80))]))
    RTDetrForObjectDetection(RTDetrConfig(id2label=names)).save_pretrained(boxes)
    VitPoseImageProcessor().save_pretrained(poses)
    RTDetrImageProcessor().save_pretrained(boxes)
    return poses, boxes


@pytest.fixture(scope="module")
def vitpose_detector(folders) -> Detector:
    return vitpose(*folders)


def come_back(detector: Detector, people: list, height: int, width: int) -> None:
    """All the people that were planted, with all joints within 1 % of the picture's height."""
    [found] = detect(torch.zeros(1, 3, height, width), detector.find)
    found = sorted(found, key=lambda pose: pose.middle[0])
    assert len(found) == len(people)
    for pose, truth in zip(found, people, strict=True):
        assert pose.present.all()
        assert (pose.points - truth.points).norm(dim=-1).max() < 0.01 * height


@pytest.mark.parametrize(("count", "height", "width"), SCENES)
def test_openpose_gives_planted_skeletons_back(openpose_file, count, height, width):
    people = planted.people_of(count, height, width, seed=count)
    detector = openpose(openpose_file)
    share = min(1, OPENPOSE_SIDE / height)
    seen = round(height * share), round(width * share)
    shown = [pose.scaled(seen[1] / width, seen[0] / height) for pose in people]
    detector.network.forward = planted.openpose_maps(shown, *seen)
    come_back(detector, people, height, width)


@pytest.mark.parametrize(("count", "height", "width"), SCENES)
def test_vitpose_gives_planted_skeletons_back(vitpose_detector, monkeypatch, count, height, width):
    people = planted.people_of(count, height, width, seed=count)
    poses, boxes = vitpose_detector.network
    monkeypatch.setattr(poses, "forward", planted.vitpose_maps(people))
    monkeypatch.setattr(boxes, "forward", planted.rtdetr_boxes(people, height, width, person=0))
    come_back(vitpose_detector, people, height, width)


def shapes_of(network: torch.nn.Module, output: Any, seen: list) -> Any:
    """Keeps the shapes of what `output` takes from each of the network's answers."""
    return network.register_forward_hook(
        lambda _, __, answer: seen.append([tuple(part.shape) for part in output(answer)])
    )


def test_openpose_runs_at_full_size(openpose_file):
    """Random weights find nobody, or joints in no order."""
    detector, seen = openpose(openpose_file), []
    shapes_of(detector.network, lambda answer: answer, seen)
    detector.find(torch.rand(3, 1024, 1536, generator=torch.Generator().manual_seed(1)))
    assert seen == [[(1, 38, 23, 35), (1, 19, 23, 35)]]


def test_vitpose_runs_at_full_size(vitpose_detector, monkeypatch):
    """Random weights are sure of nothing, so the boxes of two people are given."""
    poses, boxes = vitpose_detector.network
    picture = torch.rand(3, 512, 768, generator=torch.Generator().manual_seed(1))
    seen, place = [], "diffusion_interpolation.poses.detection"
    hooks = [
        shapes_of(boxes, lambda answer: [answer.logits, answer.pred_boxes], seen),
        shapes_of(poses, lambda answer: [answer.heatmaps], seen),
    ]
    assert vitpose_detector.find(picture) == []
    monkeypatch.setattr(f"{place}.JOINT_SCORE", -1e9)
    given = planted.people_of(2, 512, 768, 0)
    monkeypatch.setattr(
        f"{place}._people_boxes", lambda *_: [[*p.box[:2], 200.0, 400.0] for p in given]
    )
    vitpose_detector.find(picture)
    for hook in hooks:
        hook.remove()
    assert seen == [[(1, 300, 80), (1, 300, 4)], [(2, 17, 64, 48)]]


def test_weights_in_half_precision_do_as_well(folders, tmp_path, monkeypatch):
    from transformers import VitPoseForPoseEstimation

    halves = VitPoseForPoseEstimation.from_pretrained(folders[0]).half()
    halves.save_pretrained(tmp_path)
    shutil.copy(folders[0] / "preprocessor_config.json", tmp_path)
    detector = vitpose(tmp_path, folders[1])
    assert all(weight.dtype == torch.float32 for weight in detector.network.parameters())
    people = planted.people_of(1, 96, 64, seed=0)
    forward = planted.rtdetr_boxes(people, 96, 64, person=0)
    monkeypatch.setattr(detector.network[1], "forward", forward)
    assert len(detector.find(torch.zeros(3, 96, 64))) <= 1


def test_the_way_back_from_a_smaller_picture_is_exact():
    """A picture begins and ends half a pixel beyond the middles of its outermost pixels."""
    picture = torch.zeros(3, 1200, 1600)
    small, back = shrunk(picture, 400)
    assert small.shape == (3, 400, 533)
    [corner] = planted.people_of(1, 400, 533, 0)
    points = corner.points.clone()
    # the outer corners, and the middle of the first pixel
    points[0], points[1] = torch.tensor([-0.5, -0.5]), torch.tensor([532.5, 399.5])
    points[2] = torch.tensor([0.0, 0.0])
    found = back(Pose(points, corner.scores)).points
    assert found[0].tolist() == pytest.approx([-0.5, -0.5], abs=1e-3)
    assert found[1].tolist() == pytest.approx([1599.5, 1199.5], abs=1e-3)
    assert found[2].tolist() == pytest.approx([(1600 / 533 - 1) / 2, 1.0], abs=1e-3)


def test_nobody_in_the_picture(vitpose_detector, monkeypatch):
    boxes = vitpose_detector.network[1]
    monkeypatch.setattr(boxes, "forward", planted.rtdetr_boxes([], 64, 64, person=0))
    assert vitpose_detector.find(torch.zeros(3, 64, 64)) == []


def test_a_config_that_wants_a_part_from_elsewhere_is_refused(folders, tmp_path):
    shutil.copytree(folders[0], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "backbone": "someone/else"}))
    with pytest.raises(ValueError, match="names a backbone that is elsewhere"):
        vitpose(tmp_path, folders[1])


def test_files_that_are_missing_or_something_else_are_named(folders, tmp_path):
    _, boxes = folders
    with pytest.raises(ValueError, match=r"config\.json is missing, needs one of VitPose"):
        vitpose(tmp_path, boxes)
    with pytest.raises(ValueError, match=r"is no VitPoseForPoseEstimation"):
        vitpose(boxes, boxes)
