"""Saves and loads a learned conditioning: safetensors that say what they were made for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open

from .files import write_whole
from .inversion import Inversion
from .model import Text

_KEYS = {
    "positive": ("positive.states", "positive.pooled"),
    "negative": ("negative.states", "negative.pooled"),
}


def save_inversion(file: Path, inversion: Inversion, made_for: Mapping[str, object]) -> None:
    """Write the conditioning, its losses and `made_for` (prompt, cfg, ...; JSON's types)."""
    tensors = {}
    for name, (states, pooled) in _KEYS.items():
        text: Text = getattr(inversion, name)
        tensors[states] = text.states
        if text.pooled is not None:
            tensors[pooled] = text.pooled
    # copies, since two may be the same tensor, which safetensors refuses
    tensors = {key: tensor.detach().float().cpu().clone() for key, tensor in tensors.items()}
    metadata = {"losses": json.dumps(inversion.losses), "made_for": json.dumps(made_for)}
    write_whole(file, safetensors.torch.save(tensors, metadata))


def load_inversion(file: Path) -> tuple[Inversion, dict[str, object]]:
    """The conditioning in a file, and what it was made for.

    Raises `ValueError` where the file is missing or none of ours.
    """
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"conditioning: {file} cannot be read: {error}") from error
    if not {"positive.states", "negative.states"} <= set(tensors) or "losses" not in metadata:
        raise ValueError(f"conditioning: {file} holds none, want a file that inversion wrote")
    texts = [Text(tensors[states], tensors.get(pooled)) for states, pooled in _KEYS.values()]
    losses = {int(step): loss for step, loss in json.loads(metadata["losses"]).items()}
    return Inversion(*texts, losses), json.loads(metadata["made_for"])
