from __future__ import annotations

from dataclasses import replace

import torch

from diffusion_interpolation.method.choice.candidates import Candidate
from diffusion_interpolation.method.choice.frame_cache import FrameCache, Store
from diffusion_interpolation.method.path import Slot


def test_what_was_used_longest_ago_makes_room():
    store = Store(100)
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


def test_what_the_running_path_needs_is_not_dropped_for_something_new():
    store = Store(100)
    store.put(b"a", torch.zeros(10), needed=True)
    store.put(b"b", torch.zeros(10))
    store.put(b"c", torch.zeros(10), needed=True)
    assert store.get(b"a") is not None and store.get(b"b") is None and store.used == 80
    store.put(b"d", torch.zeros(10), needed=True)
    assert store.get(b"d") is None and store.get(b"c") is not None
    store.start()
    store.get(b"c", needed=True)
    store.put(b"d", torch.zeros(10), needed=True)
    assert store.get(b"a") is None and store.get(b"c") is not None and store.used == 80


def test_of_a_scan_larger_than_the_store_a_part_is_found_each_time():
    """As a path asks for its frames, in the same order in each run."""
    store, found = Store(40 * 7), []
    for _ in range(3):
        store.start()
        keys = [bytes([number]) for number in range(10)]
        hits = [key for key in keys if store.get(key, needed=True) is not None]
        for key in keys:
            if key not in hits:
                store.put(key, torch.zeros(10), needed=True)
        found.append(len(hits))
    assert found == [0, 7, 7]


def test_a_smaller_budget_takes_the_deepest_frames_last_of_all():
    free = [1000]
    store = Store(lambda held: (held + free[0]) // 4)
    for key in (b"a", b"b"):
        store.put(key, torch.zeros(10), needed=True)
    store.put(b"other", torch.zeros(10))
    assert store.used == 120
    free[0] = 200
    store.fit()
    assert store.used == 80 and store.get(b"other") is None
    free[0] = 120
    store.fit()
    assert store.used == 40 and store.get(b"a") is not None
    store.put(b"more", torch.zeros(10), needed=True)
    assert store.used == 40 and store.get(b"more") is None
    store.shrink(0, needed=True)
    assert store.used == 0


def test_candidates_are_known_without_their_latents():
    cache = FrameCache(b"", Store(1000), Store(40), Store(0))
    first = Candidate(torch.ones(10), None, torch.zeros(4, 4, 3, dtype=torch.uint8))
    cache.keep(b"first", first)
    cache.keep(b"second", first._replace(latent=torch.zeros(10)), needed=True)
    found = cache.find(b"first")
    assert found.latent is None and torch.equal(found.thumbnail, first.thumbnail)
    assert torch.equal(cache.find(b"second").latent, torch.zeros(10))
    assert cache.find(b"third") is None


def test_a_view_counts_with_all_that_it_holds():
    store = Store(1000)
    store.put(b"a", Candidate(torch.zeros(50)[:2], 0.5, torch.zeros(7, dtype=torch.uint8)))
    assert store.used == 207
    store.put(b"b", Candidate(torch.zeros(50)[:2], 0.5, torch.zeros(7, dtype=torch.uint8)).copy())
    assert store.used == 222


def test_a_key_stands_for_all_that_a_candidate_depends_on():
    ends = torch.zeros(4, 2, 3), torch.ones(4, 2, 3)
    slot = Slot(2, 0.5, 1, 0, 4)

    steps = (3.0, 2.0, 1.0, 0.0), (0.0,)

    def key(slot=slot, steps=steps, ends=ends, number=0, context=b"model"):
        cache = FrameCache(context, Store(0), Store(0), Store(0))
        return cache.keys(slot, steps, ends, [number])[number]

    changed = [
        key(context=b"other"),
        key(slot=replace(slot, position=1.5)),
        key(slot=replace(slot, index=1)),
        key(steps=((4.0, 2.0, 1.0, 0.0), (0.0,))),
        key(steps=((3.0, 2.0), (2.0, 1.0, 0.0))),
        key(ends=ends[::-1]),
        key(ends=tuple(end.reshape(4, 3, 2) for end in ends)),
        key(ends=tuple(end.double() for end in ends)),
        key(number=1),
    ]
    assert len({key(), *changed}) == 1 + len(changed)
    assert key() == key(slot=replace(slot, depth=2), ends=tuple(end.clone() for end in ends))
    assert key(ends=tuple(end.bfloat16() for end in ends)) != key()
