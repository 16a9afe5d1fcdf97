"""The code is as ruff wants it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]])
def test_ruff_has_nothing_to_say(words):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *words, root], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
