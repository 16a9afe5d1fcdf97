"""Makes the inputs of nodes from the options of the library's records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from comfy_api.latest import io

from ...diffusion_interpolation.options import Option, Record, option_of, options_of

AnyInput = TypeVar("AnyInput", bound=io.Input)


def inputs_of(record: type[Record]) -> list[io.Input]:
    """Return the inputs of all options of a record, in order."""
    return [_input(one) for one in options_of(record)]


def input_of(record: type[Record], option: str, **changes: Any) -> io.Input:
    """Return the input of one option; `changes` are fields of `Option` that differ in the node."""
    return _input(replace(option_of(record, option), **changes))


def advanced(made: AnyInput) -> AnyInput:
    """Mark an input as one that few users change; newer front ends hide it."""
    # older hosts have no argument for it
    made.extra_dict = {"advanced": True}
    return made


def _input(one: Option) -> io.Input:
    told = {"default": one.default, "tooltip": one.help, "optional": one.advanced}
    limits = {"min": one.min, "max": one.max, "step": one.step}
    if one.choices:
        made = io.Combo.Input(one.name, options=list(one.choices), **told)
    elif one.type is int:
        again = one.new_each_run
        made = io.Int.Input(one.name, **limits, control_after_generate=again, **told)
    elif one.type is float:
        made = io.Float.Input(one.name, **limits, round=one.round, **told)
    elif one.type is bool:
        made = io.Boolean.Input(one.name, **told)
    else:
        made = io.String.Input(one.name, **told)
    return advanced(made) if one.advanced else made


def checked(values: Mapping[str, Any], *records: type[Record]) -> list[Any]:
    """Return each of `records` with its options from `values`.

    Raises `ValueError` for an option out of range, and `TypeError` for a value of no option.
    """
    if unknown := values.keys() - {one.name for record in records for one in options_of(record)}:
        raise TypeError(f"got unexpected inputs: {', '.join(sorted(unknown))}")
    made = [record.of(values) for record in records]
    for one in made:
        one.check()
    return made
