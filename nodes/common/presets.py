"""What a preset decides for a model, and how the node says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...diffusion_interpolation.presets import CUSTOM, values_of
from ..comfy.model import find_family
from .notes import PRESET, UNRANKED, Note


def decide(
    model: Any, options: Mapping[str, Any], has_negative: bool, is_ranked: bool
) -> tuple[dict[str, Any], list[Note]]:
    """Return the values of the options that the preset in `options` decides, and what to say.

    An API prompt may come without a preset, and then decides everything itself.
    """
    preset, family = options.get("preset", CUSTOM), find_family(model)
    decided = values_of(preset, family, has_negative)
    notes = [] if not decided else [_told(preset, family.name, decided)]
    if not is_ranked and {**options, **decided}.get("candidates", 1) > 1:
        notes.append(Note(UNRANKED))
    return decided, notes


def _told(preset: str, family: str, decided: Mapping[str, Any]) -> Note:
    values = {name: decided[name] for name in ("steps", "cfg")}
    span = {"high": decided["max_denoise"], "low": decided["min_denoise"]}
    return Note(PRESET, {"preset": preset, "family": family, **values, **span})
