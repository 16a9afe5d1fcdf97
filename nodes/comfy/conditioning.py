"""Reads and writes a CONDITIONING; everything but its prompt goes to each frame by its place.

The host repeats tensors of several rows over the rows of a sampling batch, whatever frames these
are. A tensor with a row for each keyframe is therefore given to the host with a row for each frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

import comfy.samplers
from comfy.clip_vision import Output as VisionOutput
from comfy.conds import CONDConstant, CONDRegular

from ...diffusion_interpolation.fingerprint import fingerprint
from ...diffusion_interpolation.models.prompts import (
    KeyframePrompts,
    PromptEmbeddings,
    Prompts,
    check_positions,
    stack,
)
from ..common.types import INVERSION_KEY, KEYFRAME_KEY

# A number for each token, of a prompt in one row: the host adds the row itself.
OF_ONE_ROW = ("t5xxl_ids", "t5xxl_weights")
# The host merges what they hold into one row, or keeps the lengths of lists in them.
WITHOUT_ROWS = ("unclip_conditioning", "gligen", "hooks", "additional_models", *OF_ONE_ROW)
# A mask of two dimensions is one picture, not rows.
PICTURE_MASKS = ("mask", "concat_mask", "denoise_mask")
HINT = "ControlNet hint"
# Attributes of a control that hold tensors, and what an error calls them.
CONTROL_TENSORS = {
    "cond_hint_original": HINT,
    "extra_concat_orig": "ControlNet mask",
    "extra_args": "ControlNet argument",
}

# What is known about a conditioning; it does not reach the model.
WITHOUT_EFFECT = (INVERSION_KEY, KEYFRAME_KEY)

Change = Callable[[str, Tensor], Tensor]
Conditioning = list[list[Any]]


def read_conditioning(name: str, conditioning: Conditioning) -> Prompts:
    """The prompts of a CONDITIONING, with all else that it holds as their extras.

    One entry has a row for each keyframe, or one for all of them. Several entries are those that
    `write_conditioning` makes. Raises `ValueError` for others: regions or a schedule have no row
    for each keyframe.
    """
    parts = tuple(_read_entry(states, rest) for states, rest in conditioning)
    if len(parts) == 1:
        return parts[0]
    prompts = KeyframePrompts(parts)
    if not parts or [rest.get(KEYFRAME_KEY) for _, rest in conditioning] != prompts.starts():
        raise ValueError(
            f"{name}: got {len(conditioning)} entries (regions, a schedule, or a combination), "
            "needs one; KeyframeConditioning gives every keyframe a prompt of its own"
        )
    return prompts


def write_conditioning(text: Prompts) -> Conditioning:
    """A CONDITIONING with an entry for each part of `text`.

    The rows of the entries, one after the other, are those of the keyframes. Of several entries
    each holds under `KEYFRAME_KEY` the number of its first keyframe.
    """
    if isinstance(text, PromptEmbeddings):
        return [write_entry(text, text.extras or {})]
    return [
        write_entry(part, {**(part.extras or {}), KEYFRAME_KEY: first})
        for first, part in zip(text.starts(), text.parts, strict=True)
    ]


def write_entry(text: PromptEmbeddings, rest: dict[str, Any]) -> list[Any]:
    """An entry of a CONDITIONING with the rows of `text`, and `rest`.

    As in those of the host's text encoders there is always a `pooled_output`, even if it is None.
    """
    return [text.embeddings, {**rest, "pooled_output": text.pooled}]


def mixed(rest: dict[str, Any], weights: Tensor, grid: Sequence[int]) -> dict[str, Any]:
    """`rest`, with a mask by which the host mixes predictions under several entries.

    The prompt has `weights` `(n,)` in `n` latents of `grid`, in addition to its own mask.
    """
    resolved = [rest]
    comfy.samplers.resolve_areas_and_cond_masks_multidim(resolved, grid, weights.device)
    mask = weights.reshape(-1, *[1] * len(grid)).expand(-1, *grid)
    return {**resolved[0], "mask": mask * resolved[0].get("mask", 1.0)}


def joined(texts: Sequence[PromptEmbeddings]) -> Prompts:
    """The prompts of keyframes, one after the other, in as few parts as they can share."""
    parts: list[PromptEmbeddings] = []
    for text in [part for given in texts for part in _separated(given)]:
        if parts and not unlike(parts[-1], text):
            parts[-1] = stack([parts[-1], text])
        else:
            parts.append(text)
    return parts[0] if len(parts) == 1 else KeyframePrompts(tuple(parts))


def unlike(one: PromptEmbeddings, other: PromptEmbeddings) -> list[str]:
    """The names of what keeps two prompts from being interpolated; none if nothing does."""
    found = {key for key in OF_ONE_ROW if key in (one.extras or {})}
    if one.embeddings.shape[1:] != other.embeddings.shape[1:]:
        found.add("number of tokens")
    return sorted(found.union(differences(one.extras or {}, other.extras or {})))


def _separated(text: PromptEmbeddings) -> list[PromptEmbeddings]:
    """The prompt, or each of its rows where the extras of the model are those of a single row."""
    if not any(key in (text.extras or {}) for key in OF_ONE_ROW):
        return [text]
    return [text.map(lambda tensor, row=row: tensor[row : row + 1]) for row in range(len(text))]


def _read_entry(embeddings: Tensor, rest: dict[str, Any]) -> PromptEmbeddings:
    extras = {key: value for key, value in rest.items() if key != KEYFRAME_KEY}
    pooled = extras.pop("pooled_output", None)
    return PromptEmbeddings(embeddings.float(), None if pooled is None else pooled.float(), extras)


class Places:
    """The frames at `positions`, in keyframes, to which conditionings are given.

    A control that two conditionings share is one object afterwards as well, because the host joins
    the two halves of guidance in one batch only then.
    """

    def __init__(self, positions: Sequence[float]) -> None:
        self._positions = positions
        # the earlier controls are kept, so that no other object takes their ids
        self._controls: dict[int, tuple[Any, Any]] = {}

    def rest(self, rest: dict[str, Any]) -> dict[str, Any]:
        """A copy of what a conditioning holds, in which several rows are one for each frame."""
        placed = {key: _changed(key, value, self._rows) for key, value in rest.items()}
        if "control" in rest:
            placed["control"] = self._control(rest["control"])
        return placed

    def _control(self, control: Any) -> Any:
        """`control`, or a copy of it and of all that are chained behind it."""
        if control is None:
            return None
        if id(control) not in self._controls:
            self._controls[id(control)] = control, self._placed_control(control)
        return self._controls[id(control)][1]

    def _placed_control(self, control: Any) -> Any:
        earlier = getattr(control, "previous_controlnet", None)
        placed_earlier = self._control(earlier)
        tensors = _tensors_of(control)
        placed = {key: _changed(HINT, value, self._rows) for key, value in tensors.items()}
        changed = {key: value for key, value in placed.items() if value is not tensors[key]}
        if placed_earlier is earlier and not changed:
            return control
        own = control.copy()
        for key, value in changed.items():
            setattr(own, key, value)
        return own.set_previous_controlnet(placed_earlier)

    def _rows(self, key: str, tensor: Tensor) -> Tensor:
        """A row for each position of a tensor with a row for each keyframe."""
        if _rows_of(key, tensor) < 2:
            return tensor
        check_positions(self._positions, len(tensor))
        if not _is_blended(key, tensor):
            return tensor[:1]
        unique = dict.fromkeys(self._positions)
        found = {position: _row_at(tensor, position) for position in unique}
        return torch.stack([found[position] for position in self._positions])


def _row_at(tensor: Tensor, position: float) -> Tensor:
    """The row at `position`, linearly between the rows of two keyframes."""
    left = min(math.floor(position), len(tensor) - 2)
    return torch.lerp(tensor[left], tensor[left + 1], position - left)


def check_rows(name: str, rest: dict[str, Any], keyframes: int) -> None:
    """Raise `ValueError` for a tensor that is neither one for all keyframes nor one for each.

    `rest` is what the input `name` holds in addition to its prompt.
    """

    def check(key: str, tensor: Tensor) -> Tensor:
        rows = _rows_of(key, tensor)
        if rows < 2:
            return tensor
        if tensor.ndim == 1:
            raise ValueError(
                f"{name}: its {key} holds {rows} numbers; it needs a single number for all frames"
            )
        if rows != keyframes:
            raise ValueError(
                f"{name}: its {key} has {rows} rows for {keyframes} keyframes; "
                f"it needs 1 row for all of them, or {keyframes} rows"
            )
        if key == "mask" and rest.get("set_area_to_bounds"):
            raise ValueError(
                f"{name}: its mask has {rows} rows and set_cond_area is 'mask bounds'; "
                "a mask for each keyframe needs set_cond_area 'default'"
            )
        if not _is_blended(key, tensor) and not bool((tensor == tensor[:1]).all()):
            raise ValueError(
                f"{name}: its {key} differs between keyframes, and there is nothing in between; "
                "it needs to be the same for all keyframes"
            )
        return tensor

    _visit(rest, check)


def check_single(name: str, rest: dict[str, Any]) -> None:
    """Raise `ValueError` for a tensor of several rows, which learning cannot give to keyframes."""

    def check(key: str, tensor: Tensor) -> Tensor:
        rows = _rows_of(key, tensor)
        # learning leaves masks and controls out
        if rows > 1 and key != "mask":
            raise ValueError(
                f"{name}: its {key} has {rows} rows; learning needs 1 row for all keyframes"
            )
        return tensor

    _visit({key: value for key, value in rest.items() if key != "control"}, check)


def count_rows(rest: dict[str, Any]) -> int:
    """The highest number of rows of a tensor in `rest`; 1 if there is none."""
    counts = [1]

    def count(key: str, tensor: Tensor) -> Tensor:
        counts.append(_rows_of(key, tensor))
        return tensor

    _visit(rest, count)
    return max(counts)


def _visit(rest: dict[str, Any], look: Change) -> None:
    """Call `look` with every tensor in `rest` and in its controls."""
    for key, value in rest.items():
        _changed(key, value, look)
    control = rest.get("control")
    while control is not None:
        for key, value in _tensors_of(control).items():
            _changed(CONTROL_TENSORS[key], value, look)
        control = getattr(control, "previous_controlnet", None)


def _tensors_of(control: Any) -> dict[str, Any]:
    """The attributes of a control that may hold tensors."""
    return {key: getattr(control, key) for key in CONTROL_TENSORS if hasattr(control, key)}


def _changed(key: str, value: Any, change: Change) -> Any:
    """`value` with `change` applied to the tensors in it; the same object where none changes."""
    if key in WITHOUT_ROWS or isinstance(value, CONDConstant):
        return value
    if isinstance(value, Tensor):
        return change(key, value)
    if isinstance(value, CONDRegular):
        cond = _changed(key, value.cond, change)
        return value if cond is value.cond else value._copy_with(cond)
    if isinstance(value, VisionOutput):
        return _changed_output(key, value, change)
    if isinstance(value, (list, tuple)):
        items = [_changed(key, item, change) for item in value]
        return value if _all_same(items, value) else type(value)(items)
    if isinstance(value, dict) and key in ("model_conds", *CONTROL_TENSORS.values()):
        # the items of model_conds have names of their own
        items = {
            name: _changed(name if key == "model_conds" else key, item, change)
            for name, item in value.items()
        }
        return value if _all_same(items.values(), value.values()) else items
    return value


def _changed_output(key: str, value: VisionOutput, change: Change) -> VisionOutput:
    attributes = vars(value)
    items = {name: _changed(key, item, change) for name, item in attributes.items()}
    if _all_same(items.values(), attributes.values()):
        return value
    changed = copy(value)
    vars(changed).update(items)
    return changed


def _all_same(items: Any, others: Any) -> bool:
    return all(one is other for one, other in zip(items, others, strict=True))


def _rows_of(key: str, tensor: Tensor) -> int:
    if tensor.ndim == 0 or (key in PICTURE_MASKS and tensor.ndim == 2):
        return 1
    return len(tensor)


def _is_blended(key: str, tensor: Tensor) -> bool:
    """Whether something meaningful lies between two rows: not between choices and whole numbers."""
    return tensor.is_floating_point() and not key.endswith("attention_mask")


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The names of what differs between two conditionings, except their prompts."""
    keys = sorted(first.keys() | second.keys())
    return [
        key
        for key in keys
        if key not in WITHOUT_EFFECT and not _is_equal(first.get(key), second.get(key))
    ]


def _is_equal(one: Any, other: Any) -> bool:
    """Whether two values are the same; models and controls are equal to themselves alone."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.equal(one.to(other), other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    if isinstance(one, (CONDRegular, VisionOutput)):
        return _is_equal(vars(one), vars(other))
    # arrays and objects of other packs may have no plain answer to `one == other`
    return fingerprint(one) == fingerprint(other)
