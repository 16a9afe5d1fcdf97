"""The thread that writes frames beside the sampling; it needs nothing of ComfyUI."""

from __future__ import annotations

import contextvars
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "nodes" / "preview" / "writer.py"
SPEC = importlib.util.spec_from_file_location("writer", FILE)
MODULE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MODULE)

node = contextvars.ContextVar("node", default="none")


@pytest.fixture
def writer() -> Iterator[MODULE.Writer]:
    token = node.set("7")
    writer = MODULE.Writer(ahead=3)
    node.reset(token)
    yield writer
    writer.close()


def test_things_are_done_in_order_in_the_context_of_the_maker(writer):
    done = []
    for number in range(20):
        writer.give(lambda n: done.append((n, node.get(), threading.current_thread())), number)
    writer.finish()
    assert [number for number, _, _ in done] == list(range(20))
    assert {place for _, place, _ in done} == {"7"}
    threads = {thread for _, _, thread in done}
    assert len(threads) == 1 and threading.current_thread() not in threads


def test_whoever_gives_too_much_waits(writer):
    """Three things may wait: the one that is stuck, and two more."""
    stuck, given = threading.Event(), threading.Semaphore(0)

    def give() -> None:
        for _ in range(4):
            writer.give(stuck.wait)
            given.release()

    giver = threading.Thread(target=give)
    giver.start()
    assert all(given.acquire(timeout=10) for _ in range(3))
    assert not given.acquire(timeout=0.2)
    stuck.set()
    assert given.acquire(timeout=10)
    giver.join()


def fail(text: str) -> None:
    raise ValueError(text)


def test_an_error_comes_out_and_the_rest_is_done_all_the_same(writer):
    done = []
    writer.give(fail, "first")
    writer.give(done.append, 1)
    with pytest.raises(ValueError, match="first"):
        writer.finish()
    writer.finish()
    writer.give(fail, "second")
    with pytest.raises(ValueError, match="second"):
        for number in range(2, 6):
            writer.give(done.append, number)
    assert writer.close() is None and done[:3] == [1, 2, 3]


def test_the_end_waits_for_all_and_gives_the_first_error(writer):
    done, stuck = [], threading.Event()
    writer.give(stuck.wait)
    writer.give(fail, "first")
    writer.give(done.append, 1)
    stuck.set()
    assert str(writer.close()) == "first" and done == [1]
