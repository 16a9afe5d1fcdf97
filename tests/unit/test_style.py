"""The code is as ruff wants it, in files, functions and folders that a reader can take in."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS = 350, 45, 8
MOST_FILES = {"nodes": 18}
"""Of a folder with one file a node; 12 everywhere else."""


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]])
def test_ruff_has_nothing_to_say(words):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *words, ROOT], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _code() -> list[Path]:
    """All files of Python that git knows, without tests."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [Path(line) for line in listed.stdout.splitlines()]
    return [one for one in files if one.parts[0] != "tests" and (ROOT / one).exists()]


def test_files_and_folders_are_short():
    files = _code()
    assert len(files) > 100
    lines = {one: len((ROOT / one).read_text("utf-8").splitlines()) for one in files}
    assert {one: count for one, count in lines.items() if count > LONGEST_FILE} == {}
    # a package's own __init__.py is the folder's name for its reader
    counts = Counter(one.parent.as_posix() for one in files if one.name != "__init__.py")
    assert {at: n for at, n in counts.items() if n > MOST_FILES.get(at, 12)} == {}


def test_functions_are_short():
    long, wide = {}, {}
    for file in _code():
        for one in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))):
            if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            name = f"{file}:{one.name}"
            if (lines := one.end_lineno - one.lineno + 1) > LONGEST_FUNCTION:
                long[name] = lines
            args = one.args
            names = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
            # the sockets of a node come one by one
            if one.name != "execute" and len([n for n in names if n not in ("self", "cls")]) > (
                MOST_PARAMETERS
            ):
                wide[name] = names
    assert (long, wide) == ({}, {})
