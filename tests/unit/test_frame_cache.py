from __future__ import annotations

from dataclasses import replace

import torch

from diffusion_interpolation.candidates import Candidate
from diffusion_interpolation.frame_cache import FrameCache, Lru
from diffusion_interpolation.path import Slot


def test_what_was_used_longest_ago_makes_room():
    store = Lru(100)
    for key in (b"a", b"b", b"c"):
        store.put(key, torch.zeros(10))
    assert store.get(b"a") is None and store.used == 80
    store.get(b"b")
    store.put(b"d", torch.zeros(6))
    assert store.get(b"c") is None and store.get(b"b") is not None and store.used == 64
    store.put(b"b", torch.zeros(1))
    assert store.used == 28
    store.put(b"huge", torch.zeros(26))
    assert store.get(b"huge") is None and store.get(b"d") is not None and store.used == 28


def test_a_view_counts_with_all_that_it_holds():
    store = Lru(1000)
    store.put(b"a", Candidate(torch.zeros(50)[:2], 0.5, torch.zeros(7, dtype=torch.uint8)))
    assert store.used == 207
    store.put(b"b", Candidate(torch.zeros(50)[:2], 0.5, torch.zeros(7, dtype=torch.uint8)).copy())
    assert store.used == 222


def test_a_key_stands_for_all_that_a_candidate_depends_on():
    ends = torch.zeros(4, 2, 3), torch.ones(4, 2, 3)
    slot = Slot(2, 0.5, 1, 0, 4)

    def key(slot=slot, level=0.5, begun=0, ends=ends, number=0, context=b"model"):
        return FrameCache(context, Lru(0), Lru(0)).keys(slot, level, begun, ends, [number])[number]

    changed = [
        key(context=b"other"),
        key(slot=replace(slot, position=1.5)),
        key(slot=replace(slot, index=1)),
        key(level=0.4),
        key(begun=3),
        key(ends=ends[::-1]),
        key(ends=tuple(end.reshape(4, 3, 2) for end in ends)),
        key(ends=tuple(end.double() for end in ends)),
        key(number=1),
    ]
    assert len({key(), *changed}) == 1 + len(changed)
    assert key() == key(slot=replace(slot, depth=2), ends=tuple(end.clone() for end in ends))
    assert key(ends=tuple(end.bfloat16() for end in ends)) != key()
