from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from enum import Enum
from functools import partial
from uuid import UUID

import numpy as np
import pytest
import torch

from diffusion_interpolation.fingerprint import fingerprint, state


class Model:
    def method(self) -> None:
        pass


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_count_by_content(dtype):
    one = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    assert fingerprint(one) == fingerprint(one.clone()) == fingerprint(one.t().contiguous().t())
    others = [one.reshape(4), one.to(torch.float16), ~one.bool(), one.clone().fill_(1)]
    assert len({fingerprint(other) for other in (one, *others)}) == 5
    assert fingerprint(torch.tensor(3.0)) != fingerprint(torch.tensor([3.0]))


def test_plain_values():
    values = [None, True, 1, 1.0, "1", b"1", [1], {1: 1}, np.ones(1), np.float32(1), "", [], {}]
    assert len(set(map(fingerprint, values))) == len(values)
    assert fingerprint([1, (2, "a")]) == fingerprint((1, [2, "a"]))
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1, "b": 2}) != fingerprint({"a": 2, "b": 1})
    assert fingerprint(["a", "b"]) != fingerprint(["ab", ""])
    assert fingerprint([[1], 2]) != fingerprint([1, [2]])


def test_objects_are_equal_to_themselves_alone_and_not_kept_alive():
    one, other = Model(), Model()
    conditioning = [[torch.zeros(2), {"control": one}]]
    assert fingerprint(conditioning) == fingerprint([[torch.zeros(2), {"control": one}]])
    assert fingerprint(one) != fingerprint(other)
    before, watch = fingerprint(one), weakref.ref(one)
    del one, conditioning
    gc.collect()
    assert watch() is None
    assert all(fingerprint(Model()) != before for _ in range(10))


def test_what_cannot_be_told_apart_is_never_the_same():
    no_reference = object()
    assert fingerprint(no_reference) != fingerprint(no_reference)


@dataclass
class Options:
    """It has no hash, as dataclasses have none that can be changed."""

    strength: float
    what: object = None


class Kind(Enum):
    LINEAR = 1
    CONSTANT = 2


def test_what_options_of_a_model_hold():
    """Some of it has no hash, and to some there is no weak reference."""
    model = Model()
    alike = [
        lambda: {1, 2},
        lambda: Options(0.5, model),
        lambda: Kind.LINEAR,
        lambda: torch.float16,
        lambda: torch.device("cpu"),
        lambda: slice(0, 4),
        lambda: UUID(int=1),
        lambda: model.method,
        lambda: partial(model.method, 1),
        lambda: {"transformer_options": {"patches": {"attn1": [model.method]}}},
    ]
    prints = [fingerprint(make()) for make in alike]
    assert prints == [fingerprint(make()) for make in alike]
    others = [
        {1, 3},
        Options(0.6, model),
        Options(0.5, Model()),
        Kind.CONSTANT,
        torch.bfloat16,
        torch.device("meta"),
        slice(0, 5),
        UUID(int=2),
        Model().method,
        partial(model.method, 2),
        {"transformer_options": {"patches": {"attn1": [model.method] * 2}}},
    ]
    assert len({*prints, *map(fingerprint, others)}) == len(alike) + len(others)


def test_tensors_without_content_are_equal_to_themselves_alone():
    one, other = torch.empty(2, device="meta"), torch.empty(2, device="meta")
    assert fingerprint(one) == fingerprint(one) != fingerprint(other)


def test_what_holds_itself_can_be_told_apart():
    one, other = {"a": 1}, {"a": 2}
    for options in (one, other):
        options["whole"] = [options]
    assert fingerprint(one) == fingerprint(one) != fingerprint(other)


class Changing(Model):
    def __init__(self) -> None:
        self.strength, self.earlier = 1.0, None


def test_an_object_that_was_changed_in_place_is_another():
    state.register(Changing, lambda thing: (thing.strength, thing.earlier))
    one, earlier = Changing(), Changing()
    before = fingerprint({"control": one})
    assert fingerprint({"control": one}) == before
    one.strength = 0.5
    weaker = fingerprint({"control": one})
    one.earlier = earlier
    both = fingerprint({"control": one})
    earlier.strength = 0.5
    assert len({before, weaker, both, fingerprint({"control": one})}) == 4
    one.strength, one.earlier = 1.0, None
    assert fingerprint({"control": one}) == before
