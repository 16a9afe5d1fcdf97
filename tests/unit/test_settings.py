"""The records of options: what they check, and what they say of depths."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from diffusion_interpolation.options import option_of, options_of
from diffusion_interpolation.settings import (
    PAPER,
    FrameSettings,
    InversionSettings,
    PoseSettings,
    SamplingSettings,
)

RECORDS = SamplingSettings, FrameSettings, PoseSettings, InversionSettings


def test_denoise_falls_with_depth():
    even = FrameSettings(max_denoise=0.6, min_denoise=0.3)
    assert [even.denoise(d, 4) for d in (1, 2, 3, 4)] == pytest.approx([0.6, 0.5, 0.4, 0.3])
    convex, concave = (
        FrameSettings(max_denoise=0.6, min_denoise=0.2, denoise_curve=curve)
        for curve in ("convex", "concave")
    )
    assert convex.denoise(2, 3) == pytest.approx(0.3)
    assert concave.denoise(2, 3) == pytest.approx(0.2 + 0.4 * 0.5**0.5)
    assert convex.denoise(1, 1) == 0.6


def test_candidates_as_in_the_paper():
    assert [PAPER.count(depth) for depth in range(1, 8)] == [8, 7, 6, 5, 4, 3, 3]
    assert [FrameSettings(candidates=2).count(depth) for depth in (1, 2)] == [2, 2]


@pytest.mark.parametrize("record", RECORDS)
def test_every_default_is_in_its_range_and_explained(record):
    record().check()
    for one in options_of(record):
        assert one.help.endswith(".") and one.default == getattr(record(), one.name)
        assert one.choices or one.type in (int, float, bool)
        assert one.type is not float or one.min is not None is not one.max


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (FrameSettings(seed=-1), f"seed: got -1, needs 0 to {2**63 - 1}"),
        (FrameSettings(candidates=2.5), "candidates: got 2.5, needs a whole number"),
        (FrameSettings(max_denoise="much"), "max_denoise: got 'much', needs a number"),
        (FrameSettings(max_denoise=math.nan), "max_denoise: got nan, needs 0.01 to 1.0"),
        (FrameSettings(blend="cubic"), "blend: got 'cubic', needs one of slerp, lerp, exact"),
        (FrameSettings(min_denoise=0.6), r"min_denoise: got 0.6, needs max_denoise \(0.55\) or l"),
        (InversionSettings(min_denoise=0.67), "min_denoise: got 0.67, needs less than max_denois"),
        (SamplingSettings(cfg=math.inf), "cfg: got inf, needs 1.0 to 100.0"),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(settings, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        settings.check()
    with pytest.raises(ValueError, match=f"^learning_{message}"):
        settings.check("learning_")


def test_a_record_takes_its_own_from_any_values():
    values = {"steps": 7, "cfg": 2.0, "seed": 3, "inversion_steps": 9, "keyframes": object()}
    assert SamplingSettings.of(values) == SamplingSettings(steps=7, cfg=2.0)
    assert InversionSettings.of(values, "inversion_") == InversionSettings(steps=9)


def test_fields_without_a_help_text_are_for_the_library_alone():
    assert "min_candidates" not in {one.name for one in options_of(FrameSettings)}
    assert option_of(FrameSettings, "blend").choices == ("slerp", "lerp", "exact")


def test_records_bring_no_heavy_library():
    code = "import sys, diffusion_interpolation.settings; print(sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in ("torch", "tyro", "numpy") if f"'{name}'" in told.stdout]
