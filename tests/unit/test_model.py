from __future__ import annotations

import pytest

from diffusion_interpolation.models.contract import Schedule

WHOLE = Schedule((14.6, 3.0, 0.5, 0.0))


def test_the_length_is_the_number_of_steps():
    assert len(WHOLE) == 3 and len(Schedule((0.0,))) == 0


@pytest.mark.parametrize("first", range(4))
def test_two_slices_are_all_steps(first):
    before, after = WHOLE[:first], WHOLE[first:]
    assert (len(before), len(after)) == (first, 3 - first)
    assert before.points == WHOLE.points[: first + 1]
    assert after.points == WHOLE.points[first:]


def test_slices_count_steps_from_the_end_too():
    assert WHOLE[:-1].points == (14.6, 3.0, 0.5) and WHOLE[-1:].points == (0.5, 0.0)
    assert WHOLE[2:1].points == (0.5,)


def test_steps_cannot_be_left_out():
    with pytest.raises(ValueError, match="schedule: got a slice with a stride of 2, needs 1"):
        WHOLE[::2]
