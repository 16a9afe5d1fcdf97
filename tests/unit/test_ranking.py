from __future__ import annotations

import pytest

from diffusion_interpolation.method.choice.ranking import Terms, ranked, standardised


def test_values_are_counted_in_their_own_standard_deviations():
    assert standardised([1.0, 3.0]) == pytest.approx([-1, 1])
    assert standardised([0.1, 0.2, 0.6]) == pytest.approx([-0.926, -0.463, 1.389], abs=1e-3)
    for scale, shift in ((0.01, 0.0), (1000.0, -7.0)):
        moved = [shift + scale * value for value in (0.1, 0.2, 0.6)]
        assert standardised(moved) == pytest.approx(standardised([0.1, 0.2, 0.6]))


@pytest.mark.parametrize("values", [[0.3], [0.3, 0.3, 0.3], [0.3, 0.3 + 1e-8]])
def test_of_equals_none_is_better(values):
    """Nor of those that rounding alone tells apart."""
    assert standardised(values) == pytest.approx([0.0] * len(values), abs=0.01)


def test_a_weight_of_one_makes_both_terms_equal_whatever_their_units():
    candidates = [Terms(0.02, 0.5), Terms(0.01, 0.9), Terms(0.0, 0.7)]
    prompt, similarity = ranked(candidates, 0.0), ranked(candidates, 100.0)
    assert prompt == pytest.approx([1.225, 0, -1.225], abs=1e-3)
    assert similarity.index(max(similarity)) == 1
    assert ranked(candidates, 1.0) == pytest.approx([0, 1.225, -1.225], abs=1e-3)
