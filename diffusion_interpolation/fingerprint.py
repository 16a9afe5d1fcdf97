"""Tells whether what frames depend on is the same as in an earlier run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial, singledispatch
from hashlib import blake2b
from pathlib import PurePath
from types import MethodType
from typing import Any
from uuid import UUID
from weakref import ref

import numpy as np
import torch
from torch import Tensor, nn

_SIZE = 16  # bytes
_PLAIN = (bool, int, float, complex, str, bytes, range, slice, UUID, PurePath)
_PLAIN_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_tokens: dict[int, tuple[ref, bytes]] = {}
"""Of objects by their `id`, as long as they live."""


def fingerprint(*values: Any) -> bytes:
    """Return equal bytes for equal values.

    Tensors and arrays count by content, as do numbers, texts, enumerations, dataclasses, lists,
    tuples, sets and dicts (in any order). Everything else, models above all, is equal to itself
    alone, and only as long as its `state` stays the same; it is not kept alive.
    """
    return _of(values, frozenset())


@singledispatch
def state(thing: Any) -> Any:
    """Return what may change in an object while it stays the same object; register classes here."""
    return None


def _of(value: Any, above: frozenset[int]) -> bytes:
    """`above` are the ids of all that `value` is in, since a value may hold itself."""
    if value is None or isinstance(value, Enum) or type(value) in (*_PLAIN, *_PLAIN_OF_TORCH):
        return _digest(f"plain {type(value).__qualname__}", [repr(value).encode()])
    if isinstance(value, _PLAIN):
        # a class of its own, as a POSIX path or a numpy float
        return _digest("plain", [repr((type(value).__qualname__, value)).encode()])
    if type(value) in (Tensor, nn.Parameter) and _has_content(value):
        return _digest("tensor", [repr((value.dtype, tuple(value.shape))).encode(), _bytes(value)])
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        return _digest("array", [repr((value.dtype, value.shape)).encode(), value.tobytes()])
    if id(value) in above:
        return _digest("above", [])
    return _of_parts(value, lambda part: _of(part, above | {id(value)}))


def _of_parts(value: Any, inner: Callable[[Any], bytes]) -> bytes:
    """Return the fingerprint of what has others inside, of which `inner` gives the fingerprint."""
    if isinstance(value, dict):
        items = sorted((inner(key), inner(item)) for key, item in value.items())
        return _digest("dict", [part for item in items for part in item])
    if isinstance(value, (list, tuple)):
        return _digest("list", map(inner, value))
    if isinstance(value, (set, frozenset)):
        return _digest("set", sorted(map(inner, value)))
    if isinstance(value, MethodType):
        # each look at a method makes a new object of it
        return _digest("method", [_token(value.__func__), inner(value.__self__)])
    if isinstance(value, partial):
        return _digest("partial", map(inner, (value.func, value.args, value.keywords)))
    if is_dataclass(value) and not isinstance(value, type):
        held = [inner(getattr(value, field.name, None)) for field in fields(value)]
        return _digest("dataclass", [_token(type(value)), *held])
    return _digest("object", [_token(value), inner(state(value))])


def _digest(kind: str, parts: Iterable[Any]) -> bytes:
    hashed = blake2b(kind.encode(), digest_size=_SIZE)
    for part in parts:
        # so that parts cannot run into one another
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return hashed.digest()


def _has_content(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_meta


def _bytes(tensor: Tensor) -> memoryview:
    """The content; numpy itself knows no bfloat16."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())


def _token(thing: Any) -> bytes:
    """Bytes of its own for an object as long as it lives; new ones each time where that fails."""
    key, fresh = id(thing), secrets.token_bytes(_SIZE)
    watch, token = _tokens.get(key, (None, fresh))
    if watch is not None and watch() is thing:
        return token
    # to some things there can be no weak reference
    with suppress(TypeError):
        _tokens[key] = ref(thing, lambda dead: _forget(key, dead)), fresh
    return fresh


def _forget(key: int, dead: ref) -> None:
    # another object may have its id by now
    if _tokens.get(key, (None,))[0] is dead:
        del _tokens[key]
