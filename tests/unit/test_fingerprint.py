from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from diffusion_interpolation.fingerprint import fingerprint


class Model:
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
    unhashable, no_reference = {1, 2}, object()
    assert fingerprint(unhashable) != fingerprint(unhashable)
    assert fingerprint(no_reference) != fingerprint(no_reference)
