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
from ..method.inversion import Inversion
from .contract import PromptEmbeddings

HALVES = ("positive", "negative")
_TENSOR = "tensor "
"""Before the name of a tensor, where that stands for the tensor in the JSON of a file."""


@dataclass(frozen=True)
class MadeFor:
    """What a conditioning was learned with, as far as whoever saved it knows.

    `positive` and `negative` are what the prompts hold in addition to their states: numbers, texts
    and tensors, such as the sizes that SDXL is told or the states of a further text encoder.
    """

    cfg: float | None = None
    model: str = ""
    prompts: list[str] = field(default_factory=list)
    negative_prompt: str = ""
    positive: dict[str, Any] = field(default_factory=dict)
    negative: dict[str, Any] = field(default_factory=dict)


def is_savable(value: Any) -> bool:
    """Whether a file can hold a value: a number, a text, a tensor, or lists and dicts of those."""
    if isinstance(value, list | tuple):
        return all(map(is_savable, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_savable(item) for key, item in value.items())
    return value is None or isinstance(value, str | int | float | Tensor)


def save_inversion(file: Path, inversion: Inversion, made_for: MadeFor) -> None:
    """Write the conditioning, its losses and what it was made for.

    Raises `TypeError` where `made_for` holds what no file can (`is_savable`).
    """
    tensors: dict[str, Tensor] = {}
    for half in HALVES:
        text: PromptEmbeddings = getattr(inversion, half)
        tensors[f"{half}.embeddings"] = text.embeddings.float()
        if text.pooled is not None:
            tensors[f"{half}.pooled"] = text.pooled.float()
    facts = {key: value for key, value in vars(made_for).items() if key not in HALVES}
    for half in HALVES:
        facts[half] = _without_tensors(getattr(made_for, half), f"{half}.extra", tensors)
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
    texts = [
        PromptEmbeddings(tensors[f"{half}.embeddings"], tensors.get(f"{half}.pooled"))
        for half in HALVES
    ]
    try:
        losses = {int(step): loss for step, loss in json.loads(metadata["losses"]).items()}
        made_for = _read_facts(json.loads(metadata.get("made_for", "{}")), tensors)
    except (ValueError, AttributeError, KeyError) as error:
        raise ValueError(f"conditioning: {file} is damaged ({error})") from error
    return Inversion(*texts, losses), made_for


def _read_facts(facts: dict[str, Any], tensors: Mapping[str, Tensor]) -> MadeFor:
    """What a file says that it was made for; other keys than ours do not count."""
    if isinstance(facts.get("negative"), str):
        # the command once wrote the words under this name
        facts = {**facts, "negative_prompt": facts["negative"], "negative": {}}
    names = {entry.name for entry in fields(MadeFor)}
    return MadeFor(**{k: _with_tensors(v, tensors) for k, v in facts.items() if k in names})


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
