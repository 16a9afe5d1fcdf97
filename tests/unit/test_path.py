from __future__ import annotations

import pytest

from diffusion_interpolation.method.path import Path


@pytest.mark.parametrize("between", [(1,), (2,), (3,), (15,), (6, 1, 0, 4), (1023,)])
def test_every_frame_is_made_once_from_finished_neighbours(between):
    path = Path(between)
    done = set(path.keyframes)
    for slots in path.slots():
        assert slots
        assert all(slot.left in done and slot.right in done for slot in slots)
        done |= {slot.index for slot in slots}
    assert done == set(range(path.frames))
    assert sum(len(slots) for slots in path.slots()) == sum(between)


def test_seventeen_frames_are_the_papers_four_depths():
    path = Path.of(17, 2)
    assert [[slot.index for slot in slots] for slots in path.slots()] == [
        [8],
        [4, 12],
        [2, 6, 10, 14],
        [1, 3, 5, 7, 9, 11, 13, 15],
    ]
    assert all(slot.weight == 0.5 for slots in path.slots() for slot in slots)


def test_uneven_ranges_are_weighted_by_distance():
    (first,), *_ = Path((4,)).slots()
    assert (first.index, first.position, first.weight) == (2, 0.4, 0.4)


def test_positions_count_keyframes():
    path = Path.of(10, 3)
    assert path.between == (4, 3)
    positions = {slot.index: slot.position for slots in path.slots() for slot in slots}
    assert positions[7] == 1.5
    assert [positions[i] for i in (1, 2, 3, 4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(("frames", "keyframes"), [(2, 2), (17, 1), (5, 5)])
def test_too_few_frames_or_keyframes(frames, keyframes):
    with pytest.raises(ValueError, match="frames: got"):
        Path.of(frames, keyframes)


def test_a_text_has_a_number_for_each_gap_or_one_for_all():
    assert Path.read("15", 2).between == (15, 15)
    assert Path.read(" 15, 31,7 ", 3).between == (15, 31, 7)
    assert Path.read("0, 3", 2).between == (0, 3)


@pytest.mark.parametrize("text", ["", "15,", "1.5", "-1", "1024", "15; 3", "0", "1, 2"])
def test_other_texts_are_no_path(text):
    with pytest.raises(ValueError, match=r"^frames_per_gap: got .*, needs "):
        Path.read(text, 3)


def test_every_frame_has_its_position():
    path = Path((3, 0, 2))
    told = [path.position(frame) for frame in range(path.frames)]
    assert told == pytest.approx([0, 0.25, 0.5, 0.75, 1, 2, 2 + 1 / 3, 2 + 2 / 3, 3])
    assert all(told[s.index] == s.position for slots in path.slots() for s in slots)
