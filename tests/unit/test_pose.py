from __future__ import annotations

import logging
import math

import numpy as np
import planted
import pytest
import torch
from poses_by_hand import only

from diffusion_interpolation.demo import world
from diffusion_interpolation.poses.pose import (
    COLOURS,
    JOINTS,
    LIMBS,
    Pose,
    draw_batch,
    fill_missing,
    match_people,
)

SIZE = 96


def _puppets(count: int, seed: int = 0, size: int = SIZE) -> list[Pose]:
    puppets = world.sample(count, torch.Generator().manual_seed(seed))
    return [people[0] for people in world.poses(puppets, size)]


def _at(x: float, y: float = 50.0, size: float = 20.0) -> Pose:
    """A small whole person around (x, y)."""
    points = torch.tensor([x, y]) + size * (_puppets(1, size=1)[0].points - 0.5)
    return Pose(points, torch.ones(18))


def test_a_pose_has_eighteen_joints_and_its_box_is_of_those_present():
    with pytest.raises(ValueError, match=r"points \(17, 2\).*needs \(18, 2\)"):
        Pose(torch.zeros(17, 2), torch.zeros(18))
    pose = only(neck=(10, 20), left_ankle=(40, 60)).scaled(2, 0.5)
    assert pose.box == (20, 10, 80, 30)
    assert pose.area == 1200
    assert pose.middle == (50, 20)
    assert only().box == (0, 0, 0, 0)


def test_limbs_are_a_tree_over_all_joints_with_a_colour_each():
    assert len(JOINTS) == len(COLOURS) == len(set(COLOURS)) == 18
    assert len(LIMBS) == 17
    seen = {1}
    for first, last in LIMBS:
        assert first in seen
        assert last not in seen
        seen.add(last)
    assert seen == set(range(18))


def test_the_largest_person_is_kept():
    small, large = _at(20, size=10), _at(70, size=30)
    assert match_people([[small, large], [large], [large, small]]) == [[large]] * 3


def test_people_are_paired_from_left_to_right_and_the_rest_are_dropped(caplog):
    a, b, c = _at(20), _at(50), _at(80)
    with caplog.at_level(logging.WARNING):
        assert match_people([[c, a, b], [b, a]], "all") == [[a, b], [a, b]]
    (record,) = caplog.records
    assert "keyframe 0 has 3 people" in record.getMessage()


def test_people_can_be_paired_by_distance(caplog):
    pytest.importorskip("scipy")
    high, low, far = _at(50, 20), _at(52, 80), _at(5, 50)
    high_later, low_later = _at(55, 20), _at(49, 80)
    keyframes = [[far, low, high], [high, low], [low_later, far, high_later]]
    paired = match_people(keyframes, "all", by="distance")
    assert paired == [[high, low], [high, low], [high_later, low_later]]
    assert match_people(keyframes, "all")[2] == [far, low_later]


def test_matching_refuses_empty_keyframes_and_unknown_words():
    with pytest.raises(ValueError, match="keyframe 1"):
        match_people([[_at(5)], []])
    with pytest.raises(ValueError, match="people: got 'most', needs one of"):
        match_people([[_at(5)]], "most")
    with pytest.raises(ValueError, match="pairing: got 'size', needs one of"):
        match_people([[_at(5)]], "all", by="size")


def test_a_missing_joint_is_filled_in_from_the_keyframes_that_have_it():
    keyframes = [
        [only(nose=(10, 10)), only(neck=(0, 0))],
        [only(neck=(20, 20)), only(neck=(0, 0))],
        [only(nose=(30, 50), neck=(40, 20)), only(neck=(0, 0))],
        [only(neck=(60, 20)), only(neck=(0, 0))],
    ]
    filled = fill_missing(keyframes)
    places = [people[0].points[:2].tolist() for people in filled]
    assert places[0] == [[10, 10], [20, 20]]
    assert places[1] == [[20, 30], [20, 20]]
    assert places[2] == [[30, 50], [40, 20]]
    assert places[3] == [[30, 50], [60, 20]]
    assert all(people[0].present.sum() == 2 for people in filled)
    assert all(people[1].present.sum() == 1 for people in filled)
    assert not keyframes[0][0].present[1], "the poses given are left as they are"


def _colour(joint: int, brightness: float = 1.0) -> list[float]:
    return pytest.approx([brightness * value / 255 for value in COLOURS[joint]], abs=1e-6)


def test_every_joint_and_limb_has_its_colour():
    pose = Pose(
        30 * torch.cartesian_prod(torch.arange(1.0, 7), torch.arange(1.0, 4)), torch.ones(18)
    )
    picture = draw_batch([[pose]], 128, 220)[0]
    assert picture.dtype == torch.float32
    for joint, (x, y) in enumerate(pose.points.long().tolist()):
        assert picture[:, y, x].tolist() == _colour(joint)
    for limb, (first, last) in enumerate(LIMBS):
        ends = pose.points[[first, last]]
        alone = torch.zeros(18)
        alone[[first, last]] = 1
        x, y = ends.mean(0).long().tolist()
        middle = draw_batch([[Pose(pose.points, alone)]], 128, 220)[0, :, y, x]
        assert middle.tolist() == _colour(limb, 0.6)


def test_skeletons_look_as_controlnet_aux_draws_them():
    drawing = pytest.importorskip("controlnet_aux.open_pose.util")
    keypoint = pytest.importorskip("controlnet_aux.open_pose.body").Keypoint
    for count, height, width in [(1, 512, 512), (1, 768, 512), (2, 480, 853)]:
        people = planted.people_of(count, height, width, seed=count)
        people = [Pose(pose.points.round(), pose.scores) for pose in people]
        theirs = np.zeros((height, width, 3), dtype=np.uint8)
        for pose in people:
            # it multiplies by the size and cuts off what is behind the point
            places = [((x + 0.5) / width, (y + 0.5) / height) for x, y in pose.points.tolist()]
            theirs = drawing.draw_bodypose(theirs, [keypoint(*place) for place in places])
        ours = draw_batch([people], height, width)[0].movedim(0, -1)
        assert (ours - torch.from_numpy(theirs) / 255).abs().mean() < 1 / 255
        lit = torch.from_numpy(theirs).amax(-1) > 0
        assert (ours.amax(-1) > 0)[lit].float().mean() > 0.999, "no limb is missing"


def test_limbs_are_nine_pixels_wide_in_the_middle_and_dots_have_radius_four():
    limb = draw_batch([[only(neck=(20, 30), right_hip=(80, 30))]], 60, 100)[0, 1]
    assert limb[:, 50].sum() == pytest.approx(0.6 * 9, abs=0.05)
    assert limb[:, 35].sum() == pytest.approx(0.6 * (2 * 4 * math.sqrt(0.75) + 1), abs=0.05)
    dot = draw_batch([[only(nose=(30, 30))]], 60, 60)[0, 0]
    assert dot.sum() == pytest.approx(16 * math.pi, rel=0.04)
    assert dot[30, 24:37].tolist() == pytest.approx(dot[24:37, 30].tolist())


def test_shapes_are_where_they_are_to_a_part_of_a_pixel():
    ticks = torch.arange(60.0)
    for x, y in ((30, 30), (30.3, 29.6), (31.25, 30.5)):
        dot = draw_batch([[only(nose=(x, y))]], 60, 60)[0, 0]
        centre = (dot.sum(0) @ ticks / dot.sum(), dot.sum(1) @ ticks / dot.sum())
        assert [float(c) for c in centre] == pytest.approx([x, y], abs=0.01)


@pytest.mark.parametrize("shrink", [1.0, 0.3])
def test_a_tenth_of_a_pixel_changes_no_pixel_much(shrink):
    for number, pose in enumerate(_puppets(4, seed=3)):
        points = 20 + shrink * pose.points
        angles = torch.linspace(0, 2 * math.pi, 18) + number
        steps = 0.1 * torch.stack([angles.cos(), angles.sin()], dim=1)
        moved = [[Pose(points + torch.eye(18)[[j]].T * steps, pose.scores)] for j in range(18)]
        pictures = draw_batch([[Pose(points, pose.scores)], *moved], 128, 128)
        changes = (pictures[1:] - pictures[0]).abs().amax((1, 2, 3))
        assert changes.max() < 16 / 255
        assert changes.min() > 0


def test_limbs_without_length_do_not_flip():
    for angle in (0.0, 1.0, 2.0):
        way = 0.05 * math.cos(angle), 0.05 * math.sin(angle)
        ends = [(30 + sign * way[0], 30 + sign * way[1]) for sign in (1, -1)]
        there, back = draw_batch(
            [[only(neck=ends[0], nose=ends[1])], [only(neck=ends[1], nose=ends[1])]], 60, 60
        )
        assert not there[:, :20].any()
        assert there.isfinite().all()
        assert (there - back).abs().max() < 16 / 255


def test_a_missing_joint_takes_its_limbs_with_it():
    pose = _puppets(1)[0]
    scores = pose.scores.clone()
    scores[JOINTS.index("right_elbow")] = 0
    points = pose.points.clone()
    points[JOINTS.index("right_elbow")] = math.nan
    picture = draw_batch([[Pose(points, scores)]], SIZE, SIZE)
    assert picture.isfinite().all()
    alone = only(right_shoulder=(20, 20), right_wrist=(60, 60))
    assert draw_batch([[alone]], 80, 80)[0, :, 40, 40].tolist() == [0, 0, 0]


def test_a_picture_does_not_depend_on_its_batch():
    poses = _puppets(5)
    people = [
        [poses[0]],
        [],
        [poses[1], poses[2]],
        [only()],
        [poses[3].scaled(1.6, 1.6), poses[4]],
    ]
    together = draw_batch(people, SIZE, SIZE + 8)
    assert together.shape == (5, 3, SIZE, SIZE + 8)
    assert 0 <= together.min() < together.max() <= 1
    assert not together[1].any() and not together[3].any()
    for picture, persons in zip(together, people, strict=True):
        assert torch.allclose(picture, draw_batch([persons], SIZE, SIZE + 8)[0], atol=1e-5)
    assert draw_batch([], 8, 8).shape == (0, 3, 8, 8)


def test_later_people_are_painted_over_earlier_ones():
    a, b = only(nose=(20, 20)), only(neck=(21, 20))
    for people, top in (([a, b], 1), ([b, a], 0)):
        assert draw_batch([people], 40, 40)[0, :, 20, 20].tolist() == _colour(top)


def test_what_lies_outside_the_picture_is_cut_off():
    wide = draw_batch([[only(neck=(-30, 20), right_hip=(70, 25)), _at(300)]], 40, 40)
    shifted = draw_batch([[only(neck=(20, 70), right_hip=(120, 75))]], 140, 140)
    assert torch.allclose(wide[0], shifted[0, :, 50:90, 50:90], atol=1e-5)
    assert not draw_batch([[_at(-300), _at(20, 1e6)]], 40, 40).any()
    with pytest.raises(ValueError, match="0 x 40"):
        draw_batch([], 0, 40)
