"""The benchmark of the slider runs and tells what it should, in the browser of the other tests."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext

import pytest
import slider

pytestmark = pytest.mark.part("benchmarks")


def test_it_drags_the_slider_and_counts_what_a_page_holds(
    hosts_front_end, browser, tmp_path, monkeypatch
):
    file = tmp_path / "figures.json"
    short = ["--frames", "5", "--size", "32", "--runs", "3", "--first", "2", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["slider", *short])
    monkeypatch.setattr(slider, "host", lambda: nullcontext(hosts_front_end))
    monkeypatch.setattr(slider, "chromium", lambda: nullcontext(browser))
    slider.main()
    rows = {row["measure"]: row for row in json.loads(file.read_text())["rows"]}
    assert len(rows) == 9
    [dragged] = [row for name, row in rows.items() if name.startswith("drag: p95 of")]
    assert dragged["figure"] > 0
    nodes, without = (
        rows[f"DOM nodes after 3 runs, 2, {name}"]["figure"]
        for name in ("with the slider", "without it")
    )
    assert nodes > without, "a page without the script of the slider has no slider"
