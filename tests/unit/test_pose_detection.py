from __future__ import annotations

import planted
import pytest
import torch

from diffusion_interpolation.demo import world
from diffusion_interpolation.poses.detection import detect, openpose, puppet_reader


def test_the_reader_finds_puppets_of_any_size():
    puppets = world.sample(8, torch.Generator().manual_seed(5))
    for size in (64, 256):
        found = detect(world.render(puppets, size), puppet_reader().find)
        for [pose], [truth] in zip(found, world.poses(puppets, size), strict=True):
            assert (pose.points - truth.points).norm(dim=-1).mean() < 0.02 * size
            assert pose.present.all()


def test_a_picture_without_anyone_is_named():
    pictures = torch.zeros(3, 3, 8, 8)
    pictures[1] = 1
    find = puppet_reader().find
    with pytest.raises(ValueError, match="no person found in picture 0, 2"):
        detect(pictures, lambda picture: find(picture) if picture.any() else [])


def test_openpose_without_its_weights(tmp_path):
    with pytest.raises(ValueError, match=r"body_pose_model.pth is missing"):
        openpose(tmp_path / "body_pose_model.pth")


def test_openpose_with_a_file_that_is_something_else(tmp_path):
    file = tmp_path / "body_pose_model.pth"
    torch.save({"other": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match="is no body model of OpenPose"):
        openpose(file)


def test_openposes_network_runs(tmp_path):
    """With random weights, which find nobody, or joints in no order; every pose is well formed."""
    find = openpose(planted.untrained_openpose(tmp_path)).find
    people = find(torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(1)))
    assert all(pose.points.shape == (18, 2) for pose in people)
