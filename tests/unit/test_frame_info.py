from __future__ import annotations

import json

import pytest

from diffusion_interpolation.method.frame_info import FrameInfo, evenly_spaced, planned
from diffusion_interpolation.method.path import Path


def test_a_path_is_known_before_any_frame_is_made():
    frames = planned(Path((3, 0, 1)))
    told = [(info.index, info.position, info.depth, info.parents) for info in frames]
    assert told == [
        (0, 0.0, 0, ()),
        (1, 0.25, 2, (0, 2)),
        (2, 0.5, 1, (0, 4)),
        (3, 0.75, 2, (2, 4)),
        (4, 1.0, 0, ()),
        (5, 2.0, 0, ()),
        (6, 2.5, 1, (5, 7)),
        (7, 3.0, 0, ()),
    ]
    assert {(info.candidate, info.best, info.count) for info in frames} == {(None, None, 0)}


@pytest.mark.parametrize("between", [(1,), (7,), (1023,), (4, 31)])
def test_parents_are_made_before_their_frame(between):
    frames = planned(Path(between))
    for info in frames:
        assert len(info.parents) == (0 if info.depth == 0 else 2)
        assert all(frames[parent].depth < info.depth for parent in info.parents)
        if info.parents:
            assert info.parents[0] < info.index < info.parents[1]


def test_the_best_candidate_and_the_roll_are_said():
    info = FrameInfo(2, 0.5, 1, (0, 4), first=4, count=4, scores=(0.1, 0.3, 0.3, 0.0), candidate=7)
    assert (info.best, info.roll) == (5, 1), "of two that are as good, the first"
    alone = FrameInfo(2, 0.5, 1, (0, 4), first=3, count=1, candidate=3)
    assert (alone.best, alone.roll) == (3, 3)


def test_json_goes_there_and_back():
    info = FrameInfo(2, 0.5, 1, (0, 4), 4, 2, (0.1, 0.3), 4, picked=True)
    told = info.to_json()
    assert json.loads(json.dumps(told)) == told
    assert (told["best"], told["roll"]) == (5, 2)
    assert FrameInfo.from_json(told) == info


def test_pictures_that_nothing_is_known_of_are_evenly_spaced():
    assert [info.position for info in evenly_spaced(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert [info.position for info in evenly_spaced(1)] == [0]
    assert evenly_spaced(0) == []
