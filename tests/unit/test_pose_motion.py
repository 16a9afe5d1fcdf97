from __future__ import annotations

import math

import pytest
import torch
from poses_by_hand import only

from diffusion_interpolation.demo import world
from diffusion_interpolation.poses.motion import MOTIONS, pose_at
from diffusion_interpolation.poses.pose import JOINTS, LIMBS, Pose


def place(pose: Pose, joint: str) -> list[float]:
    return pytest.approx(pose.points[JOINTS.index(joint)].tolist(), abs=1e-4)


def puppets(count: int) -> torch.Tensor:
    return world.sample(count, torch.Generator().manual_seed(4))


def lengths(pose: Pose) -> torch.Tensor:
    """Of arms and legs `(8,)`."""
    limbs = torch.tensor([*LIMBS[2:6], *LIMBS[7:9], *LIMBS[10:12]])
    return (pose.points[limbs[:, 0]] - pose.points[limbs[:, 1]]).norm(dim=-1)


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_person_that_only_moves_goes_straight(motion):
    [[start]] = world.poses(puppets(1), 100)
    keyframes = [
        [Pose(start.points + torch.tensor(by), start.scores)]
        for by in ((0.0, 0.0), (40.0, 0.0), (40.0, 40.0))
    ]
    (pose,) = pose_at(keyframes, 0.25, motion)
    assert torch.allclose(pose.points, start.points + torch.tensor([10.0, 0.0]), atol=1e-3)
    (pose,) = pose_at(keyframes, 1.5, motion)
    assert torch.allclose(pose.points, start.points + torch.tensor([40.0, 20.0]), atol=1e-3)
    assert [pose_at(keyframes, at, motion) for at in (0, 1, 2.0)] == keyframes


def test_an_arm_swings_and_keeps_its_length():
    """From straight down to straight out: the straight way would cut the corner."""
    down = only(right_shoulder=(0, 0), right_elbow=(0, 10), right_wrist=(0, 20))
    out = only(right_shoulder=(0, 0), right_elbow=(-10, 0), right_wrist=(-20, 0))
    (swung,), (straight,) = (pose_at([[down], [out]], 0.5, motion) for motion in MOTIONS)
    side = 20 / math.sqrt(2)
    assert place(swung, "right_wrist") == [-side, side]
    assert place(straight, "right_wrist") == [-10, 10]


def test_a_wrist_follows_its_elbow_and_the_elbow_bends_the_shorter_way():
    """The upper arm turns by 170 degrees, the elbow stays: all of the arm turns as one."""
    far = math.radians(170)
    hanging = only(left_shoulder=(0, 0), left_elbow=(0, 10), left_wrist=(10, 10))
    turned = [(0.0, 0.0)] + [
        (
            10 * math.cos(far) * x + 10 * math.sin(far) * y,
            10 * math.cos(far) * y - 10 * math.sin(far) * x,
        )
        for x, y in ((0, 1), (1, 1))
    ]
    raised = only(**dict(zip(("left_shoulder", "left_elbow", "left_wrist"), turned, strict=True)))
    for share in (0.25, 0.5, 0.75):
        (pose,) = pose_at([[hanging], [raised]], share)
        upper, lower = (pose.points[JOINTS.index(f"left_{joint}")] for joint in ("elbow", "wrist"))
        assert torch.dot(upper, lower - upper).item() == pytest.approx(0, abs=1e-3)
        assert math.atan2(upper[0], upper[1]) == pytest.approx(share * far, abs=1e-4)


def test_lengths_of_limbs_change_evenly():
    before, after = world.poses(puppets(2), 100)
    (pose,) = pose_at([before, after], 0.3)
    want = torch.lerp(lengths(before[0]), lengths(after[0]), 0.3)
    assert torch.allclose(lengths(pose), want, atol=1e-3)


def test_the_way_back_is_the_way_there():
    keyframes = world.poses(puppets(2), 100)
    (there,), (back,) = pose_at(keyframes, 0.3), pose_at(keyframes[::-1], 0.7)
    assert torch.allclose(there.points, back.points, atol=1e-3)


def test_puppets_that_swing_are_nearer_to_the_truth():
    """Half-way between 100 pairs, in heights; the truth is the puppet of the mean angles."""
    pairs = puppets(200).unflatten(0, (100, 2))
    truth = world.joints(pairs.mean(1))
    off = {}
    for motion in MOTIONS:
        found = [pose_at(world.poses(pair, 100), 0.5, motion)[0].points / 100 for pair in pairs]
        off[motion] = (torch.stack(found) - truth).norm(dim=-1).mean().item()
    assert off["swing"] < 0.003 and off["straight"] > 3 * off["swing"]


def test_a_bone_without_one_of_its_ends_goes_straight():
    before = only(right_hip=(0, 0), right_ankle=(0, 20), right_knee=(0, 10), left_knee=(5, 5))
    after = only(right_hip=(0, 0), right_ankle=(20, 0), left_knee=(9, 5))
    (pose,) = pose_at([[before], [after]], 0.5)
    assert place(pose, "right_ankle") == [10, 10]
    assert place(pose, "left_knee") == [7, 5]
    assert not pose.present[JOINTS.index("right_knee")]


def test_joints_in_one_place_have_no_direction_to_turn_from():
    folded = only(right_hip=(0, 0), right_knee=(0, 0), right_ankle=(0, 0))
    stretched = only(right_hip=(0, 0), right_knee=(0, 10), right_ankle=(0, 20))
    (pose,) = pose_at([[folded], [stretched]], 0.5)
    assert place(pose, "right_knee") == [0, 5] and place(pose, "right_ankle") == [0, 10]


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_joint_needs_both_keyframes(motion):
    before = only(nose=(10, 10), neck=(20, 20))
    after = only(neck=(40, 20), left_hip=(50, 50))
    (pose,) = pose_at([[before], [after]], 0.5, motion)
    assert pose.present.nonzero().flatten().tolist() == [JOINTS.index("neck")]
    assert place(pose, "neck") == [30, 20]


def test_one_keyframe_serves_every_position_and_others_are_checked():
    [a], [b] = world.poses(puppets(2), 100)
    assert pose_at([[a, b]], 7.5) == [a, b]
    for position in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="needs 0 to 1"):
            pose_at([[a], [b]], position)
    with pytest.raises(ValueError, match="1 and 2 people"):
        pose_at([[a], [a, b]], 0.5)
    with pytest.raises(ValueError, match="no keyframes"):
        pose_at([], 0.0)
    with pytest.raises(ValueError, match="pose_motion: got 'jump', needs one of swing, straight"):
        pose_at([[a], [b]], 0.5, "jump")
