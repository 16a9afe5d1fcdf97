from __future__ import annotations

import numpy as np
import pytest

from diffusion_interpolation.charts.plot import SIZE, line_plot


def _line(points: dict[float, float]) -> np.ndarray:
    """Rows of the line's colour by column; -1 where there is none."""
    pixels = np.asarray(line_plot(points, "loss", "step")).astype(int)
    drawn = (pixels[..., 0] > 200) & (pixels[..., 2] < 120)
    return np.where(drawn.any(0), drawn.argmax(0), -1)


def test_a_falling_line_falls():
    rows = _line({0: 3.0, 10: 2.0, 20: 1.0})
    columns = np.flatnonzero(rows >= 0)
    assert len(columns) > SIZE[0] * 0.7
    assert (np.diff(rows[columns]) >= -1).all()
    assert rows[columns[-1]] - rows[columns[0]] > SIZE[1] * 0.6


def test_points_are_drawn_in_the_order_of_x():
    assert (_line({20: 1.0, 0: 3.0, 10: 2.0}) == _line({0: 3.0, 10: 2.0, 20: 1.0})).all()


def test_a_single_point_is_drawn_in_the_middle():
    rows = _line({0: 0.5})
    assert abs(rows[rows >= 0].mean() - SIZE[1] / 2) < SIZE[1] * 0.05


def test_a_line_that_is_half_way_ends_half_way():
    pixels = np.asarray(line_plot({0: 3.0, 10: 1.0}, "loss", "step", 20)).astype(int)
    drawn = (pixels[..., 0] > 200) & (pixels[..., 2] < 120)
    columns = np.flatnonzero(drawn.any(0))
    assert abs(columns[-1] / SIZE[0] - (96 + (640 - 96 - 32) / 2) / 640) < 0.01


def test_no_points():
    with pytest.raises(ValueError, match="plot: got no points"):
        line_plot({}, "loss", "step")
