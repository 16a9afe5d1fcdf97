"""What presets decide, and for which family."""

from __future__ import annotations

import family_table
import pytest

from diffusion_interpolation.options import options_of
from diffusion_interpolation.presets import (
    DECIDED,
    FAMILIES,
    UNKNOWN,
    family_of,
    values_of,
)
from diffusion_interpolation.settings import PAPER, FrameSettings, SamplingSettings

PRESETS = ["fast try", "balanced", "best", "as in the paper"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("family", [*FAMILIES.values(), *UNKNOWN.values()])
def test_every_preset_decides_the_same_options_with_values_in_range(preset, family):
    for has_negative in (True, False):
        values = values_of(preset, family, has_negative)
        assert set(values) == set(DECIDED)
        for record in (FrameSettings, SamplingSettings):
            for one in options_of(record):
                # Lotus takes a single step
                if one.name in values and (one.name, values[one.name]) != ("steps", 1):
                    assert one.fault(values[one.name]) == ""


def test_custom_decides_nothing_and_other_names_are_refused():
    assert values_of("custom", FAMILIES["SD15"], True) == {}
    with pytest.raises(ValueError, match=r"^preset: got 'better', needs one of fast try, balanced"):
        values_of("better", FAMILIES["SD15"], True)


def test_better_presets_take_more_steps_and_candidates():
    made = [values_of(preset, FAMILIES["SDXL"], True) for preset in PRESETS[:3]]
    assert [one["steps"] for one in made] == [10, 20, 30]
    assert [one["candidates"] for one in made] == [1, 4, 8]
    assert {one["cfg"] for one in made} == {7.0}


def test_without_a_negative_prompt_the_distilled_relative_is_meant():
    family = FAMILIES["ZImage"]
    assert family.sampling(has_negative=True) == (25, 4.0)
    assert family.sampling(has_negative=False) == (8, 1.0)
    # there is none of Stable Diffusion, which needs a negative prompt
    assert FAMILIES["SD15"].sampling(has_negative=False) == (20, 7.5)


def test_the_paper_is_taken_at_its_word():
    values = values_of("as in the paper", FAMILIES["SD15"], True)
    assert values["steps"] == 200 and values["cfg"] == 7.5 and values["sampler_name"] == "euler"
    assert values["blend"] == PAPER.blend and values["candidates"] == PAPER.candidates == 8


def test_a_family_is_found_by_its_class_or_a_base_of_it():
    assert family_of(["SD15_instructpix2pix", "SD15", "BASE"], False, False) is FAMILIES["SD15"]
    assert family_of(["FluxSchnell", "Flux"], True, False) is FAMILIES["FluxSchnell"]
    assert family_of(["Flux2", "Flux"], True, True).cfg == 1.0
    assert family_of(["Flux2", "Flux"], True, False).cfg == 5.0
    assert family_of(["Unheard", "BASE"], True, False) is UNKNOWN[True]
    assert family_of(["Unheard", "BASE"], False, False) is UNKNOWN[False]


VARIANTS = {
    "NoobAI (v-prediction)": "SDXL",
    "Playground 2.5": "SDXL",
    "Flux.2 dev": "Flux2",
    "Wan 2.1, 2.2 14B (as image model)": "WAN21_T2V",
}
"""Families that the host's class does not tell from another one of the table."""


def test_balanced_takes_what_the_page_of_families_says():
    checked = 0
    for name, family in family_table.FAMILIES.items():
        if family.config in FAMILIES and name not in VARIANTS:
            mine = FAMILIES[family.config]
            assert f"{mine.steps}, cfg {mine.cfg:g}" in family.settings, name
            few = f"{mine.few}, cfg 1"
            assert not mine.few or few in family.settings, name
            checked += 1
    assert checked > 35
