from __future__ import annotations

import pytest
import torch

from diffusion_interpolation.demo import world


def _puppets(count: int = 64, seed: int = 0) -> torch.Tensor:
    return world.sample(count, torch.Generator().manual_seed(seed))


def test_sampling_repeats_and_stays_in_range():
    puppets = _puppets(2000)
    assert torch.equal(puppets, _puppets(2000))
    for name, (low, high) in world.POSE_RANGES.items():
        column = puppets[:, world.INDEX[name]]
        assert low <= column.min() < column.max() <= high
    looks = puppets[:, [world.INDEX[name] for name in world.LOOKS]]
    assert 0 <= looks.min() <= looks.max() <= 1


def test_joints_lie_in_the_picture_and_limbs_keep_their_lengths():
    puppets = _puppets(2000)
    joints = world.joints(puppets)
    assert joints.shape == (2000, 18, 2)
    assert joints.min() > 0 and joints.max() < 1
    upper_arm = (joints[:, 3] - joints[:, 2]).norm(dim=1) / puppets[:, world.INDEX["size"]]
    assert torch.allclose(upper_arm, torch.full_like(upper_arm, 0.135), atol=1e-5)
    assert (joints[:, 2, 0] < joints[:, 5, 0]).all(), (
        "a puppet that faces us has its right on our left"
    )


def test_what_is_drawn_is_where_the_numbers_say():
    puppets = _puppets(32)
    puppets[:, world.HAT] = 0
    pictures = world.render(puppets, 128)
    joints = (world.joints(puppets) * 128).long()
    rows = torch.arange(32)
    hands = pictures[rows, :, joints[:, 4, 1], joints[:, 4, 0]]
    assert (hands - torch.tensor(world.SKIN)).abs().max() < 0.05
    middle = (joints[:, 1] + joints[:, 8] + joints[:, 11]) // 3
    body = pictures[rows, :, middle[:, 1], middle[:, 0]]
    assert (body - puppets[:, world.BODY]).abs().amax(1).median() < 0.03
    knees = pictures[rows, :, joints[:, 9, 1], joints[:, 9, 0]]
    assert (knees - puppets[:, world.LEGS]).abs().amax(1).median() < 0.03
    assert (pictures[:, :, 0, 0] - puppets[:, world.BACK]).abs().max() < 1e-6


def test_pictures_change_smoothly_with_every_number():
    """No jump anywhere: a thousandth of a number's range moves no pixel far."""
    puppet = _puppets(1, seed=3)
    still = world.render(puppet, 64)
    spread = _puppets(500).std(0)
    for number in range(len(world.NUMBERS)):
        moved = puppet.clone()
        moved[:, number] += 1e-3 * spread[number]
        assert (world.render(moved, 64) - still).abs().max() < 0.03, world.NUMBERS[number]


def test_hats_grow_out_of_nothing():
    puppets = _puppets(1).repeat(101, 1)
    puppets[:, world.HAT] = torch.linspace(0, 1, 101)
    pictures = world.render(puppets, 64)
    assert (pictures[1:] - pictures[:-1]).abs().mean((1, 2, 3)).max() < 0.004
    assert world.hat_words(puppets[[0, 40, 100]]) == ["no hat", "a cap", "a top hat"]


def test_captions():
    assert world.caption("red") == "a red puppet"
    full = world.caption("orange", "a cap", "up", "blue")
    assert full == "an orange puppet with a cap, arms up, on a blue background"
    assert world.caption("red", back="orange") == "a red puppet, on an orange background"
    longest = world.caption("red", "a cap", "up", "blue", "white", "hills")
    assert longest == (
        "a red puppet in white trousers with a cap, arms up, on a blue background with hills"
    )
    assert world.caption(back="orange", scene="plain") == "a puppet, on a plain orange background"
    puppets = _puppets(200)
    for puppet, words in zip(puppets, world.captions(puppets), strict=True):
        assert world.colour_words(puppet[None, world.BODY])[0] in words.split(" puppet")[0]


def test_scenes_have_a_horizon_and_hills():
    puppet = _puppets(1, seed=1).repeat(3, 1)
    puppet[:, world.SCENE] = torch.tensor(list(world.SCENES.values()))
    plain, floor, hills = world.render(puppet, 128)
    assert world.scene_words(puppet) == list(world.SCENES)
    left, bottom = (plain - floor).abs().amax(0)[:, 0], (plain - floor).abs().amax(0)[-1]
    assert left[:90].max() == 0 and bottom.min() > 0.05
    changed = (floor - hills).abs().amax(0) > 0.02
    assert changed[:, 2].sum() != changed[:, 40].sum() and not changed[-4:].any()


def test_the_face_turns():
    puppet = _puppets(1, seed=1).repeat(3, 1)
    puppet[:, [world.INDEX[name] for name in ("lean", "head_tilt")]] = 0
    puppet[:, world.INDEX["turn"]] = torch.tensor([-0.5, 0.0, 0.5])
    nose = world.joints(puppet)[:, 0, 0]
    assert nose[0] < nose[1] < nose[2]
    eyes, ears = (world.joints(puppet)[:, i : i + 2, 0] for i in (14, 16))
    assert (eyes[:, 0] < eyes[:, 1]).all() and (ears[:, 0] < ears[:, 1]).all()
    assert torch.allclose(ears[0].sub(nose[1]), -ears[2].sub(nose[1]).flip(0), atol=1e-5)


@pytest.mark.parametrize("size", [32, 64, 100])
def test_poses_are_in_pixels(size):
    puppets = _puppets(3)
    for (person,), joints in zip(world.poses(puppets, size), world.joints(puppets), strict=True):
        assert torch.allclose(person.points, joints * size, atol=1e-4)
        assert (person.scores == 1).all()
