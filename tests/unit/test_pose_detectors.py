"""The detectors' own code, with networks of full size and, in their place, ideal output.

No trained weights can be had here. So the networks run with random weights, and what follows them
is tested on the maps that an ideal network would give for skeletons that were planted.
"""

from __future__ import annotations

from pathlib import Path

import planted
import pytest
import torch

from diffusion_interpolation.pose_detection import (
    OPENPOSE_SIDE,
    Detector,
    detect,
    openpose,
    vitpose,
)

pytest.importorskip("controlnet_aux")

SCENES = [
    *[(1, 517, 389), (2, 480, 643), (3, 401, 777)],
    *[(4, 389, 901), (5, 421, 1103), (2, 1201, 1817)],
]
"""People, height and width."""


@pytest.fixture(scope="module")
def openpose_file(tmp_path_factory) -> Path:
    from controlnet_aux.open_pose.model import bodypose_model

    torch.manual_seed(0)
    # the published file lacks the first part of the names
    weights = {k.split(".", 1)[1]: v for k, v in bodypose_model().state_dict().items()}
    file = tmp_path_factory.mktemp("openpose") / "body_pose_model.pth"
    torch.save(weights, file)
    return file


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """ViTPose-B and RT-DETR with ResNet-50, random."""
    from transformers import (
        RTDetrConfig,
        RTDetrForObjectDetection,
        VitPoseBackboneConfig,
        VitPoseConfig,
        VitPoseForPoseEstimation,
    )

    torch.manual_seed(0)
    poses, boxes = (tmp_path_factory.mktemp(name) for name in ("vitpose", "rtdetr"))
    backbone = VitPoseBackboneConfig(out_indices=[12])
    VitPoseForPoseEstimation(
        VitPoseConfig(backbone_config=backbone, num_labels=17)
    ).save_pretrained(poses)
    names = dict(enumerate(["person", *(f"thing {n}" for n in range(1, 80))]))
    RTDetrForObjectDetection(RTDetrConfig(id2label=names)).save_pretrained(boxes)
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


def test_openpose_runs_at_full_size(openpose_file):
    """Random weights find nobody, or joints in no order; every pose is well formed."""
    picture = torch.rand(3, 512, 768, generator=torch.Generator().manual_seed(1))
    people = openpose(openpose_file).find(picture)
    assert all(pose.points.shape == (18, 2) and pose.present.any() for pose in people)


def test_vitpose_runs_at_full_size(vitpose_detector, monkeypatch):
    """Random weights are sure of nothing; what they find without that is well formed."""
    monkeypatch.setattr("diffusion_interpolation.pose_detection.PERSON_SCORE", 0.0)
    monkeypatch.setattr("diffusion_interpolation.pose_detection.JOINT_SCORE", -1e9)
    poses, boxes = vitpose_detector.network
    forward = planted.rtdetr_boxes(planted.people_of(2, 512, 768, 0), 512, 768, person=0)
    picture = torch.rand(3, 512, 768, generator=torch.Generator().manual_seed(1))
    sizes = []
    boxes.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(kwargs["pixel_values"].shape), with_kwargs=True
    )
    assert vitpose_detector.find(picture) is not None
    monkeypatch.setattr(boxes, "forward", forward)
    assert len(vitpose_detector.find(picture)) == 2
    assert sizes[0] == (1, 3, 640, 640)
    assert next(poses.parameters()).numel() > 0


def test_nobody_in_the_picture(vitpose_detector, monkeypatch):
    boxes = vitpose_detector.network[1]
    monkeypatch.setattr(boxes, "forward", planted.rtdetr_boxes([], 64, 64, person=0))
    assert vitpose_detector.find(torch.zeros(3, 64, 64)) == []


def test_files_that_are_missing_or_something_else_are_named(folders, tmp_path):
    _, boxes = folders
    with pytest.raises(ValueError, match=r"config\.json is missing, want one of VitPose"):
        vitpose(tmp_path, boxes)
    with pytest.raises(ValueError, match=r"is no VitPoseForPoseEstimation"):
        vitpose(boxes, boxes)
