"""POSE_KEYPOINT as detectors, editors and other packs write it."""

from __future__ import annotations

import json
import logging
import math

import pytest
import torch
from poses_by_hand import only

from diffusion_interpolation.poses.format import (
    SCORES_KEY,
    are_paired,
    load_poses,
    read_pictures,
    read_poses,
    write_poses,
)
from diffusion_interpolation.poses.pose import JOINTS


def _entry(triples: list[float] | None, width: int = 200, height: int = 100, **more) -> dict:
    person = {"pose_keypoints_2d": triples, "face_keypoints_2d": None, **more}
    return {"people": [person], "canvas_width": width, "canvas_height": height}


def _triples(*present: tuple[float, float, float]) -> list[float]:
    """18 triples, all missing but the first ones."""
    return [v for triple in present for v in triple] + [0.0] * 3 * (18 - len(present))


def test_normalised_and_pixel_coordinates_give_the_same_pose():
    pixels, size = read_poses([_entry(_triples((100, 25, 1), (0, 0, 0), (150, 80, 0.3)))])
    shares, _ = read_poses(_entry(_triples((0.5, 0.25, 1), (0, 0, 0), (0.75, 0.8, 0.3))))
    assert size == (100, 200)
    for ((pose,),) in (pixels, shares):
        assert pose.points[:3].tolist() == [[100, 25], [0, 0], [150, 80]]
        assert pose.scores[:3].tolist() == pytest.approx([1, 0, 0.3])
        assert not pose.present[3:].any()


def test_a_joint_without_confidence_is_missing_wherever_it_lies():
    ((pose,),), _ = read_poses(_entry(_triples((0.5, 0.5, 1), (900, 900, 0))))
    assert pose.points[:2].tolist() == [[100, 50], [0, 0]]


def test_people_without_a_body_are_left_out():
    entry = _entry(None)
    entry["people"] += _entry(_triples())["people"] + _entry(_triples((5, 5, 1)))["people"]
    assert [len(people) for people in read_poses([entry])[0]] == [1]
    assert read_poses({**entry, "people": None})[0] == [[]]


def test_other_canvases_are_scaled_to_the_first():
    small, large = _entry(_triples((20, 10, 1))), _entry(_triples((40, 20, 1)), 400, 200)
    poses, size = read_poses([small, large])
    assert size == (100, 200)
    assert [people[0].points[0].tolist() for people in poses] == [[20, 10], [20, 10]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("people", "got str, needs POSE_KEYPOINT"),
        (None, "got NoneType"),
        ([], "got none"),
        (["x"], "pose 0: got str, needs a dict"),
        ([{"canvas_width": 2, "canvas_height": 2}], "got no 'people'"),
        ([{"version": "ap10k", "animals": []}], "animal pose"),
        ([{"people": []}], "'canvas_height': got None"),
        ([{"people": [], "canvas_height": 9, "canvas_width": 0}], "'canvas_width': got 0"),
        ([_entry(_triples()), _entry([1.0] * 51)], "pose 1, person 0.*got 51 .*17 joints of COCO"),
        ([_entry([1.0] * 399)], "got 399 .*whole body.*, needs 54 .* or 75"),
        ([_entry([1.0] * 36)], "got 36 .*without c"),
        ([_entry([1.0] * 50)], "got 50 values, needs 54"),
        ([[], None], "got nobody in any picture"),
        ([_entry(_triples((math.nan, 0, 1)))], "NaN or infinite"),
        ([_entry(_triples((math.inf, 0, 1)))], "NaN or infinite"),
        ([_entry(_triples((5, 5, math.nan)))], "NaN or infinite"),
        ([_entry(["a"] * 54)], "needs a list of numbers"),
        ([_entry(3)], "needs a list of numbers"),
        ([_entry(_triples((5, 5, 1)), **{SCORES_KEY: [1.0]})], "got 1 values, needs 18"),
    ],
)
def test_what_is_no_pose_is_refused_by_name(data, message):
    with pytest.raises(ValueError, match=message):
        read_poses(data)


def test_written_poses_suit_every_reader_and_come_back_with_their_scores():
    pose = only(nose=(30.25, 40), right_hip=(50, 60.5))
    (entry, empty) = write_poses([[pose, pose], []], (120, 80))
    assert (entry["canvas_height"], entry["canvas_width"], empty["people"]) == (120, 80, [])
    person = entry["people"][1]
    assert set(person["pose_keypoints_2d"][2::3]) == {0.0, 1.0}
    assert person["face_keypoints_2d"] == [0.0] * 210
    assert person["hand_left_keypoints_2d"] == person["hand_right_keypoints_2d"] == [0.0] * 63
    poses, size = read_poses(json.loads(json.dumps([entry, empty])))
    assert (size, [len(people) for people in poses]) == ((120, 80), [2, 0])
    assert torch.equal(poses[0][0].points, pose.points)
    assert torch.equal(poses[0][0].scores, pose.scores)


def test_files_are_put_in_a_row_and_trouble_names_the_file(tmp_path):
    one, more, broken = (tmp_path / f"{name}.json" for name in ("one", "more", "broken"))
    one.write_text(json.dumps(_entry(_triples((10, 10, 1)))))
    more.write_text(json.dumps([_entry(_triples((x, 10, 1))) for x in (20, 30)]))
    poses, size = load_poses([one, str(more)])
    assert size == (100, 200)
    assert [people[0].points[0, 0].item() for people in poses] == [10, 20, 30]
    broken.write_text('[\n{"people": [}\n]')
    with pytest.raises(ValueError, match=r"broken\.json, line 2"):
        load_poses([one, broken])
    broken.write_text('{"animals": []}')
    with pytest.raises(ValueError, match=r"broken\.json: pose 0: got an animal"):
        load_poses([broken])
    with pytest.raises(ValueError, match=r"missing\.json: cannot be read"):
        load_poses([tmp_path / "missing.json"])


def test_people_that_are_paired_are_said_to_be():
    people = [[only(nose=(20, 20))], [only(nose=(60, 60))]]
    assert are_paired(write_poses(people, (100, 100), paired=True))
    assert not are_paired(write_poses(people, (100, 100)))
    assert not are_paired([_entry(_triples((10, 10, 1)))])
    assert not are_paired([[], None])


# Scores that are not only 0 and 1

SDPOSE_PORTRAIT = [
    *[(256.3, 141.7, 0.913), (255.1, 262.4, 0.842)],  # nose, neck
    *[(171.6, 263.9, 0.861), (122.8, 399.2, 0.774), (160.2, 497.6, 0.412)],
    *[(338.5, 260.8, 0.842), (387.9, 402.1, 0.736), (352.4, 503.3, 0.3001)],
    *[(199.4, 507.1, 0.121), (204.7, 511.0, 0.034), (219.8, 509.6, 0.011)],  # hip, knee, ankle
    *[(311.9, 508.2, 0.097), (300.6, 510.4, 0.029), (288.3, 511.0, 0.299)],
    *[(236.8, 119.5, 0.927), (275.2, 119.9, 0.931), (209.7, 133.6, 0.871), (301.4, 134.3, 0.013)],
]
"""A picture of 512 x 512 that ends under the ribs: SDPose writes all 18 joints, whatever it saw."""


def test_a_joint_that_a_detector_is_unsure_of_is_missing():
    flat = [value for joint in SDPOSE_PORTRAIT for value in joint]
    [[pose]], _ = read_poses(_entry(flat, 512, 512))
    missing = [name for name, there in zip(JOINTS, pose.present, strict=True) if not there]
    legs = [f"{side}_{joint}" for side in ("right", "left") for joint in ("hip", "knee", "ankle")]
    assert missing == [*legs, "left_ear"]
    assert pose.points[4].tolist() == pytest.approx([160.2, 497.6])


def test_a_person_of_whom_a_detector_is_unsure_is_nobody():
    faint = [value for x, y, _ in SDPOSE_PORTRAIT for value in (x, y, 0.05)]
    assert read_poses(_entry(faint, 512, 512))[0] == [[]]


def test_confidences_of_only_0_and_1_are_taken_as_they_are():
    """Our own poses keep scores under the threshold under a key of their own."""
    [[pose]], _ = read_poses(
        _entry(_triples((5, 5, 1), (6, 6, 1)), **{SCORES_KEY: [0.05, 0.9] + [0.0] * 16})
    )
    assert pose.scores[:2].tolist() == pytest.approx([0.05, 0.9])


# Pixels or fractions of the canvas


def test_joints_outside_the_picture_do_not_make_pixels_of_fractions():
    """DWPose places joints that it does not see beyond the edge."""
    inside = [(0.31, 0.22, 1), (0.34, 0.41, 1), (0.5, 0.9, 1), (0.6, 0.7, 1)]
    outside = [(0.33, 1.1131, 1), (0.41, 1.32, 1), (-0.07, 1.004, 1)]
    [[pose]], _ = read_poses(_entry(_triples(*inside, *outside)))
    want = torch.tensor([[200 * x, 100 * y] for x, y, _ in inside + outside])
    assert torch.allclose(pose.points[:7], want, atol=1e-3)


def test_the_others_in_the_picture_say_what_one_cut_person_means():
    """Whoever stands at the edge may have most joints outside, of all people together few are."""
    entry = _entry(_triples((2.4, 1.2, 1), (2.6, 1.4, 1)))
    entry["people"] += _entry(_triples(*[(0.1 * n, 0.5, 1) for n in range(1, 8)]))["people"]
    [[cut, whole]], _ = read_poses(entry)
    assert cut.points[0].tolist() == pytest.approx([480, 120])
    assert whole.points[6].tolist() == pytest.approx([140, 50])


def test_pixels_near_the_corner_stay_pixels():
    [[pose]], _ = read_poses(_entry(_triples((0.5, 0.5, 1), (3, 12, 1), (1, 25, 1))))
    assert pose.points[:3].tolist() == [[0.5, 0.5], [3, 12], [1, 25]]


# Null joints, nobody, and other numbers of joints


def test_null_joints_are_missing():
    flat = _triples((10, 10, 1), (20, 20, 1))
    flat[3:6] = [None] * 3
    flat[8] = None
    [[pose]], _ = read_poses(_entry(flat))
    assert pose.present.nonzero().flatten().tolist() == [0]
    nested = [[10, 10, 1], None, [30, 30, 1], *[None] * 15]
    [[pose]], _ = read_poses(json.loads(json.dumps(_entry(nested))))
    assert pose.present.nonzero().flatten().tolist() == [0, 2]
    assert pose.points[2].tolist() == [30, 30]


def test_empty_lists_and_null_are_nobody():
    person = _entry(_triples((10, 10, 1)))
    nobody = [[], None, {**person, "people": []}, _entry([]), {**person, "people": [None, [], {}]}]
    poses, size = read_poses([nobody[0], person, *nobody[1:]])
    assert [len(people) for people in poses] == [0, 1, 0, 0, 0, 0]
    assert size == (100, 200)


def test_the_25_joints_of_openpose_become_18():
    names = [*JOINTS[:8], "middle_hip", *JOINTS[8:]]
    names += [f"foot {number}" for number in range(6)]
    flat = [value for place in range(25) for value in (3 * place, 2 * place, 0.9)]
    real = {SCORES_KEY: [place / 100 + 0.5 for place in range(25)]}
    for more in ({}, real):
        [[pose]], _ = read_poses(_entry(flat, **more))
        places = [names.index(joint) for joint in JOINTS]
        assert pose.points.tolist() == [[3 * place, 2 * place] for place in places]
        scores = [place / 100 + 0.5 if more else 0.9 for place in places]
        assert pose.scores.tolist() == pytest.approx(scores)


# A canvas of another shape


def test_a_canvas_of_another_shape_is_cropped_not_stretched(caplog):
    """Its middle is the middle of the picture, and a square stays a square."""
    square = _entry(_triples((256, 256, 1), (356, 256, 1), (256, 356, 1)), 512, 512)
    with caplog.at_level(logging.WARNING):
        [[pose]], size = read_poses(square, (768, 512))
    assert size == (768, 512)
    assert pose.points[:3].tolist() == [[256, 384], [406, 384], [256, 534]]
    [record] = caplog.records
    assert "canvas of picture 0 (from 0) is 512 x 512 pixels" in record.getMessage()
    assert "shape of 512 x 768" in record.getMessage()


def test_a_canvas_of_the_same_shape_is_scaled_without_a_word(caplog):
    """Sides of detectors are rounded, and VAEs crop a few pixels."""
    for width, height in ((512, 512), (1024, 1024), (1000, 993)):
        person = _entry(_triples((width / 2, height / 2, 1)), width, height)
        with caplog.at_level(logging.WARNING):
            [[pose]], _ = read_poses(person, (64, 64))
        assert pose.points[0].tolist() == pytest.approx([32, 32])
    assert not caplog.records


def test_each_canvas_is_fitted_to_the_picture_not_to_the_first_canvas():
    wide, tall = _entry(_triples((10, 10, 1)), 768, 512), _entry(_triples((10, 10, 1)), 512, 768)
    poses, _ = read_poses([wide, tall], (768, 512))
    assert poses[1][0].points[0].tolist() == [10, 10]
    assert [picture.size for picture in read_pictures([wide, tall])] == [(512, 768), (768, 512)]
