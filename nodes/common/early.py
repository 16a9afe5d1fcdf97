"""Finds mistakes before prompts are asked for, which Textual Invert may take minutes to learn.

Prompts are lazy inputs: the host makes them only once the node has been shown all other inputs and
has asked for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...diffusion_interpolation.models.prompts import check_count
from ..preview.running_prompt import inputs_of_running, prompt_of
from .inputs import PROMPTS


def unasked(given: Mapping[str, Any]) -> list[str]:
    """Return the prompts that are connected and that the host has not made yet."""
    return [name for name in PROMPTS if name in given and given[name] is None]


def check_prompts(hidden: Any, keyframes: Mapping[str, Any], count: int) -> None:
    """Raise `ValueError` where the graph tells that positive cannot fit `count` keyframes.

    `keyframes` are the pictures by input; a conditioning that was learned from one of these inputs
    has a row for each picture of it.
    """
    prompt = prompt_of(hidden)
    inputs = inputs_of_running(prompt)
    linked = {name: inputs.get(name) for name in ("positive", *keyframes)}
    lengths = {
        tuple(linked[name]): len(pictures)
        for name, pictures in keyframes.items()
        if pictures is not None and isinstance(linked[name], list)
    }
    rows = _rows(prompt, linked["positive"], lengths)
    if rows is not None:
        check_count(rows, count)


def _rows(prompt: Mapping[str, Any], link: Any, lengths: Mapping[tuple, int]) -> int | None:
    """Return how many prompts a link will bring, or None where the graph does not tell."""
    node = prompt.get(link[0]) if isinstance(link, list) else None
    if node is None:
        return None
    inputs = node["inputs"]
    if node["class_type"] == "CLIPTextEncode":
        return 1
    if node["class_type"] == "KeyframeConditioning":
        both = [_rows(prompt, inputs.get(name), lengths) for name in ("first", "second")]
        return None if None in both else sum(both)
    if node["class_type"] == "TextualInvert" and link[1] == 0:
        return lengths.get(tuple(inputs.get("keyframes", ())))
    return None
