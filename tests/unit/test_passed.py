"""Tests are left out only while what they test is what it was when they passed."""

from __future__ import annotations

import importlib
import json

import passed
import pytest

BENCHMARKS = sorted(file.stem for file in (passed.CHECKOUT / "benchmarks").glob("*.py"))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with a file of each part, whose tests have passed."""
    record = tmp_path / "passed.json"
    for folder in ("benchmarks/ways", f"{passed.DEMO}/training"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "one.py").write_text("one = 1\n")
    monkeypatch.setattr(passed, "CHECKOUT", tmp_path)
    monkeypatch.setattr(passed, "RECORD", record)
    record.write_text(json.dumps({part: passed.fingerprint(part) for part in passed.PARTS}))
    return tmp_path


def test_a_part_is_unchanged_until_one_of_its_files_changes(checkout):
    assert passed.unchanged() == set(passed.PARTS)
    file = checkout / "benchmarks" / "ways" / "one.py"
    file.write_bytes(b"one = 1\r\n")
    assert "benchmarks" in passed.unchanged(), "the same lines with other ends"
    file.write_text("one = 2\n")
    assert passed.unchanged() == set(passed.PARTS) - {"benchmarks"}
    (checkout / passed.DEMO / "training" / "two.py").write_text("")
    assert passed.unchanged() == {"many paths"}


def test_without_a_record_nothing_is_left_out(checkout):
    passed.RECORD.unlink()
    assert passed.unchanged() == set()


def test_the_marked_files_are_those_of_the_parts():
    for part, patterns in passed.PARTS.items():
        marked = {
            file.relative_to(passed.CHECKOUT).as_posix()
            for file in (passed.CHECKOUT / "tests").rglob("test_*.py")
            if f'pytest.mark.part("{part}")\n\n' in file.read_text()
        }
        assert marked == {pattern for pattern in patterns if pattern.startswith("tests/")}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_can_be_imported(name):
    """That the library still has what it uses is seen in every run."""
    assert callable(importlib.import_module(name).main)
