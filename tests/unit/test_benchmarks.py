"""Every benchmark runs, prints a table and writes its figures; here in the shortest way it can."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import comfy_host
import pytest

pytestmark = pytest.mark.part("benchmarks")

WAYS = ["default", "paper", "cross-fade", "truth", "interpolate", "DID", "no poses"]
RUNS = {
    "demo_model": ["--count", "4", "--steps", "2"],
    "inversion": ["--puppets", "2", "--steps", "4", "--inversion-steps", "2", "--noises", "1"],
    "speed": ["--frames", "3", "--paper-steps", "4", "--repeat", "1"],
    "schemes": ["--pairs", "2", "--frames", "3", "--steps", "4", "--side", "64", "--ways", *WAYS],
    "colours": ["--photographs", "1", "--size", "32", "--frames", "3"],
    "memory": ["--frames", "3", "5", "--steps", "4", "--model", "demo-flow"],
}


BOTH = ("demo_model", "inversion", "schemes")
"""Those that run on the embedded flow transformer, too; the others measure a ControlNet."""


@pytest.mark.parametrize(
    ("name", "more"),
    [*((name, []) for name in RUNS), *((name, ["--model", "demo-flow"]) for name in BOTH)],
)
def test_benchmark(name, more, tmp_path, monkeypatch, capsys):
    file = tmp_path / "figures.json"
    words = [name, *RUNS[name], *more, "--device", "cpu", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", words)
    importlib.import_module(name).main()
    rows = json.loads(file.read_text())["rows"]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    under = [line.startswith("|-") for line in [*lines[1:], ""]]
    table = [line for line, head in zip(lines, under, strict=True) if not head and line[1] != "-"]
    assert sum(under) >= 1 and len(rows) == len(table) >= 2
    assert all(str(next(iter(row.values()))) in line for row, line in zip(rows, table, strict=True))


def test_a_picture_kept_for_each_frame_fails_the_memory_benchmark(monkeypatch):
    memory = importlib.import_module("memory")
    monkeypatch.setattr(sys, "argv", ["memory"])
    for pictures in (0.1, 1.0):
        peaks = {17: 1100.0, 1025: 1100.0 + pictures * 1008 * 128 * 128 * 3 * 4 / 2**20}
        monkeypatch.setattr(memory, "peak", lambda frames, *_, peaks=peaks: (peaks[frames], 1.0))
        if pictures < memory.LIMIT:
            memory.main()
        else:
            with pytest.raises(SystemExit, match=r"1.00 pictures stay in memory"):
                memory.main()


def test_memory_of_learning_is_counted(tmp_path):
    """Checkpoints keep less, halves of guidance one by one half of that, larger pictures more."""
    if reason := comfy_host.why_not():
        pytest.skip(reason)
    script, file = comfy_host.CHECKOUT / "benchmarks" / "gpu.py", tmp_path / "a.json"
    words = ["--count-learning", "--families", "sd15", "--sides", "256", "512", "--json", file]
    subprocess.run([sys.executable, script, *words], check=True)
    found = json.loads(file.read_text())["rows"]
    assert [row["side"] for row in found] == [256, 512]
    for row in found:
        assert row["picture GiB"] > 3 * row["checkpoints GiB"] > 0
        assert row["halves apart GiB"] == pytest.approx(row["checkpoints GiB"] / 2, rel=1e-3)
    assert found[1]["picture GiB"] > 3 * found[0]["picture GiB"]
    assert found[1]["weights GiB"] == pytest.approx(859.5e6 * 2 / 2**30, rel=1e-2)
