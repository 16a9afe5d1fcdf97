"""What holds for all tests, and for the hosts and commands that they start."""

from __future__ import annotations

import gc
import os
from typing import Any

import pytest
from front_ends import HOSTS, NEWEST
from xdist.scheduler import LoadScopeScheduling

# Some tests compare results bit by bit, and what several threads add up differs in its last bits.
# PyTorch reads this when it is imported, so it stands before every import of it.
os.environ["OMP_NUM_THREADS"] = "1"

# The imported libraries are half a million objects. Searching them for garbage as often as Python
# does by itself takes a tenth of the time of the unit tests.
gc.set_threshold(20_000, 10, 10)


class _ByWhatTestsShare(LoadScopeScheduling):
    """Keeps tests in one process that share a page, or else what their module makes for all.

    xdist's own groups do nothing in pytest 9.2, which has another name for a test's identifier.
    """

    def _split_scope(self, nodeid: str) -> str:
        module, _, case = nodeid.partition("[")
        page = [part for part in (HOSTS, NEWEST, "canvas", "vue") if part in case]
        if not page and "browser/" in module:
            # the server and the browser that these need are in the process of that page
            page = [HOSTS, "canvas"]
        return "-".join(page) or module.partition("::")[0]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-pages",
        action="store_true",
        help="run browser tests in both renderers of both front ends, not each renderer once",
    )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByWhatTestsShare(config, log)
