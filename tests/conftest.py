"""What holds for all tests, and for the hosts and commands that they start."""

from __future__ import annotations

import gc
import os
from typing import Any

import passed
import pytest
from front_ends import HOSTS, NEWEST
from xdist.scheduler import LoadScopeScheduling

# Some tests compare results bit by bit, and what several threads add up differs in its last bits.
# PyTorch reads this when it is imported, so it stands before every import of it.
os.environ["OMP_NUM_THREADS"] = "1"

# The imported libraries are half a million objects. Searching them for garbage as often as Python
# does by itself takes a tenth of the time of the unit tests.
gc.set_threshold(20_000, 10, 10)


LONGEST = ("unit/test_batch.py", "host/test_all_families.py")
"""Begun first, so that at the end no process waits for another one."""


class _ByWhatTestsShare(LoadScopeScheduling):
    """Keeps tests in one process that share a server of a front end, or else their module.

    xdist's own groups do nothing in pytest 9.2, which has another name for a test's identifier.
    """

    def _split_scope(self, nodeid: str) -> str:
        module, _, case = nodeid.partition("[")
        front_ends = [name for name in (HOSTS, NEWEST) if name in case]
        if not front_ends and "browser/" in module:
            # the browser that these need is in the process of that front end
            front_ends = [HOSTS]
        return "".join(front_ends) or module.partition("::")[0]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all",
        action="store_true",
        help="run all tests, of parts that are unchanged since they passed, too",
    )
    parser.addoption(
        "--all-pages",
        action="store_true",
        help="run browser tests in both renderers of both front ends, not each renderer once",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.partition("::")[0].endswith(LONGEST))
    parts = set() if config.getoption("all") else passed.unchanged()
    dropped = [item for item in items if _part(item) in parts]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


def _part(item: pytest.Item) -> str | None:
    """The part that a test tests, where that is one of `passed.PARTS`."""
    marker = item.get_closest_marker("part")
    return marker.args[0] if marker else None


def pytest_report_header(config: pytest.Config) -> str:
    if config.getoption("all") or not (parts := passed.unchanged()):
        return ""
    told = " and ".join(sorted(parts))
    return f"left out: tests of {told}, unchanged since they passed (--all runs them)"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByWhatTestsShare(config, log)
