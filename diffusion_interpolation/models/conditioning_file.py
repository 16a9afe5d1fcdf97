"""Saves and loads a learned conditioning: safetensors that say what they were made for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..files import write_whole
from ..method.learning.inversion import Inversion
from .prompts import KeyframePrompts, PromptEmbeddings, Prompts

HALVES = ("positive", "negative")
_TENSOR = "tensor "
"""Before the name of a tensor, where that stands for the tensor in the JSON of a file."""


@dataclass(frozen=True)
class MadeFor:
    """What a conditioning was learned with, as far as whoever saved it knows."""

    cfg: float | None = None
    model: str = ""
    prompts: list[str] = field(default_factory=list)
    negative_prompt: str = ""


def is_savable(value: Any) -> bool:
    """Whether a file can hold a value: a number, a text, a tensor, or lists and dicts of those."""
    if isinstance(value, list | tuple):
        return all(map(is_savable, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_savable(item) for key, item in value.items())
    return value is None or isinstance(value, str | int | float | Tensor)


def save_inversion(file: Path, inversion: Inversion, made_for: MadeFor) -> None:
    """Write the conditioning, its losses and what it was made for.

    Raises `TypeError` where the extras of a prompt are what no file can hold (`is_savable`).
    """
    tensors: dict[str, Tensor] = {}
    facts = dict(vars(made_for))
    for half in HALVES:
        facts[half] = []
        for number, part in enumerate(getattr(inversion, half).parts):
            name = _name(half, number)
            tensors[f"{name}.embeddings"] = part.embeddings.float()
            if part.pooled is not None:
                tensors[f"{name}.pooled"] = part.pooled.float()
            facts[half].append(_without_tensors(part.extras, f"{name}.extra", tensors))
    # copies, since two may be the same tensor, which safetensors refuses
    tensors = {key: tensor.detach().cpu().clone().contiguous() for key, tensor in tensors.items()}
    metadata = {"losses": json.dumps(inversion.losses), "made_for": json.dumps(facts)}
    write_whole(file, safetensors.torch.save(tensors, metadata))


def load_inversion(file: Path) -> tuple[Inversion, MadeFor]:
    """Return the conditioning in a file, and what it was made for.

    Raises `ValueError` where the file is missing or none of ours.
    """
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"conditioning: {file} cannot be read: {error}") from error
    if (
        not {"positive.embeddings", "negative.embeddings"} <= set(tensors)
        or "losses" not in metadata
    ):
        raise ValueError(f"conditioning: {file} holds none, needs a file that inversion wrote")
    try:
        losses = {int(step): loss for step, loss in json.loads(metadata["losses"]).items()}
        facts = json.loads(metadata.get("made_for", "{}"))
        if isinstance(facts.get("negative"), str):
            # the command once wrote the words under this name
            facts = {**facts, "negative_prompt": facts["negative"], "negative": {}}
        texts = [_read_prompts(half, facts.get(half), tensors) for half in HALVES]
        names = {entry.name for entry in fields(MadeFor)}
        made_for = MadeFor(**{key: value for key, value in facts.items() if key in names})
    except (ValueError, AttributeError, KeyError) as error:
        raise ValueError(f"conditioning: {file} is damaged ({error})") from error
    return Inversion(*texts, losses), made_for


def _read_prompts(half: str, extras: Any, tensors: Mapping[str, Tensor]) -> Prompts:
    """The prompts of a half of guidance; `extras` is a list with an item for each of its parts."""
    parts = []
    # there was one part once, whose extras were no list
    for number, extra in enumerate(extras if isinstance(extras, list) else [extras or None]):
        name = _name(half, number)
        embeddings, pooled = tensors[f"{name}.embeddings"], tensors.get(f"{name}.pooled")
        parts.append(PromptEmbeddings(embeddings, pooled, _with_tensors(extra, tensors)))
    return parts[0] if len(parts) == 1 else KeyframePrompts(tuple(parts))


def _name(half: str, number: int) -> str:
    """How the names of a part's tensors begin."""
    return f"{half}.{number}" if number else half


def _without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` in JSON's types; its tensors go to `tensors`, under names that begin with `name`."""
    if isinstance(value, Tensor):
        while name in tensors:
            name += "_"
        tensors[name] = value
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {k: _without_tensors(v, f"{name}.{k}", tensors) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tensors(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]
    return value


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The reverse of `_without_tensors`; tuples have become lists."""
    if isinstance(value, dict):
        if set(value) == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _with_tensors(item, tensors) for key, item in value.items()}
    return [_with_tensors(item, tensors) for item in value] if isinstance(value, list) else value
