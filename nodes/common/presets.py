"""What a preset decides for a model, and how the node says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from comfy_api.latest import io

from ...diffusion_interpolation.options import Record, option
from ...diffusion_interpolation.presets import CUSTOM, DECIDED, MATCHED, Preset, values_of
from ...diffusion_interpolation.settings import FrameSettings
from ..comfy.model import find_family
from .notes import ALIKE, PRESET, UNRANKED, Note
from .option_inputs import inputs_of


@dataclass(frozen=True)
class PresetSettings(Record):
    """The option that decides others."""

    preset: Preset = option(
        "balanced",
        "Values for steps, cfg, candidates, denoise and advanced inputs that fit the model. fast "
        "try makes one candidate of each frame, in half the steps where the model needs more than "
        "10. balanced takes what suits the family of the model. best takes more candidates and, "
        "where the model needs more than 10 steps, half as many steps again. as in the paper takes "
        "200 steps. custom takes the values in the node. The node says what a preset means.",
    )


def preset_input(tooltip: str = "") -> io.Combo.Input:
    """Return the input of the preset; the front end is told which inputs it decides.

    `tooltip` is that of a node that takes only a part of the values.
    """
    [made] = inputs_of(PresetSettings)
    made.tooltip = tooltip or made.tooltip
    made.extra_dict = {"decides": list(DECIDED)}
    return made


def decide(
    model: Any,
    options: Mapping[str, Any],
    has_negative: bool,
    is_ranked: bool = True,
    is_matched: bool = False,
) -> tuple[dict[str, Any], list[Note]]:
    """Return the values of the options that the preset in `options` decides, and what to say.

    `is_matched`: neighbours are moved along a correspondence, for which less noise is enough.
    An API prompt may come without a preset, and then decides everything itself.
    """
    preset, family = options.get("preset", CUSTOM), find_family(model)
    decided = values_of(preset, family, has_negative)
    if decided and is_matched and preset != "as in the paper":
        decided |= MATCHED
    notes = [] if not decided else [_told(preset, family.name, decided)]
    found = {**options, **decided}
    if not is_ranked and found.get("candidates", 1) > 1:
        weight = found.get("smoothness_weight", FrameSettings.smoothness_weight)
        notes.append(Note(ALIKE if weight else UNRANKED))
    return decided, notes


def values_of_all(model: Any, has_negative: bool) -> dict[str, dict[str, Any]]:
    """Return the values of each preset but custom for a model."""
    family = find_family(model)
    names = [name for name in get_args(Preset) if name != CUSTOM]
    return {name: values_of(name, family, has_negative) for name in names}


def _told(preset: str, family: str, decided: Mapping[str, Any]) -> Note:
    values = {name: decided[name] for name in ("steps", "cfg")}
    span = {"high": decided["max_denoise"], "low": decided["min_denoise"]}
    return Note(PRESET, {"preset": preset, "family": family, **values, **span})
