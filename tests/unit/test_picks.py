from __future__ import annotations

import pytest

from diffusion_interpolation.method.choice.picks import Choice, Picks


def test_entries_are_divided_by_commas_semicolons_and_lines():
    picks = Picks.parse("0.5: 3, .25:0;1.75 : ROLL 2\n\n 2.: roll1 ,")
    assert picks.at(0.5) == Choice(candidate=3)
    assert picks.at(0.25) == Choice(candidate=0)
    assert picks.at(1.75) == Choice(roll=2)
    assert picks.at(2.0) == Choice(roll=1)
    assert picks.at(0.75) == Choice() and Picks.parse(" \n ") == Picks()
    assert list(map(str, picks.entries)) == ["0.5: 3", "0.25: 0", "1.75: roll 2", "2: roll 1"]


def test_the_last_entry_for_a_frame_counts():
    assert Picks.parse("0.5: 3, 0.50004: roll 1").at(0.5) == Choice(roll=1)
    assert Picks.parse("0.5: roll 1, 0.5: 9").at(0.5) == Choice(candidate=9)


def test_a_position_fits_within_a_ten_thousandth():
    picks = Picks.parse("0.3333: 1")
    assert picks.at(1 / 3).candidate == picks.at(0.33339).candidate == 1
    assert picks.at(0.33341).candidate is None


def test_a_candidate_implies_its_roll():
    assert [Choice(candidate=n).first(8) for n in (0, 7, 8, 17)] == [0, 0, 8, 16]
    assert [Choice(roll=r).first(8) for r in (0, 1, 2)] == [0, 8, 16]


def test_entries_where_no_frame_is():
    strays = Picks.parse("0.5: 3, 0.7: 1, 0: roll 1").strays([0.25, 0.5, 0.75])
    assert list(map(str, strays)) == ["0.7: 1", "0: roll 1"]


@pytest.mark.parametrize(
    "text", ["3", "0.5 3", "0.5: -1", "0.5: best", "0.5:", "-0.5: 1", "0.5: 3 4", "0.5: 1234567890"]
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=f"picks: got {text!r}, needs a position and the number"):
        Picks.parse(f"0.25: 1, {text}")
