"""What holds for all tests, and for the hosts and commands that they start."""

from __future__ import annotations

import os

import pytest

# Some tests compare results bit by bit, and what several threads add up differs in its last bits.
# PyTorch reads this when it is imported, so it stands before every import of it.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests in one process that share a page, or else what their module makes for all."""
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        shared = [params[name] for name in ("front_end", "pages") if name in params]
        item.add_marker(pytest.mark.xdist_group("-".join(shared) or item.path.name))
