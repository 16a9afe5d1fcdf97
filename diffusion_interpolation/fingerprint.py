"""Tells whether what frames depend on is the same as in an earlier run."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

_SIZE = 16  # bytes
_tokens: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()


def fingerprint(*values: Any) -> bytes:
    """Equal bytes for equal values.

    Tensors and arrays count by content, as do numbers, texts, lists, tuples and dicts (in any
    order). Everything else, models above all, is equal to itself alone; it is not kept alive.
    """
    return _of(values)


def _of(value: Any) -> bytes:
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return _digest("plain", [repr(value).encode()])
    if isinstance(value, Tensor):
        return _digest("tensor", [repr((value.dtype, tuple(value.shape))).encode(), _bytes(value)])
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        return _digest("array", [repr((value.dtype, value.shape)).encode(), value.tobytes()])
    if isinstance(value, dict):
        items = sorted((_of(key), _of(item)) for key, item in value.items())
        return _digest("dict", [part for item in items for part in item])
    if isinstance(value, (list, tuple)):
        return _digest("list", map(_of, value))
    return _digest("object", [_token(value)])


def _digest(kind: str, parts: Iterable[Any]) -> bytes:
    state = blake2b(kind.encode(), digest_size=_SIZE)
    for part in parts:
        # so that parts cannot run into one another
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def _bytes(tensor: Tensor) -> memoryview:
    """The content; numpy itself knows no bfloat16."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())


def _token(thing: Any) -> bytes:
    """Bytes of its own for an object as long as it lives; new ones each time where that fails."""
    fresh = secrets.token_bytes(_SIZE)
    try:
        return _tokens.setdefault(thing, fresh)
    except TypeError:
        # it has no hash, or there can be no weak reference to it
        return fresh
