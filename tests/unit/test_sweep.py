"""The benchmark of many ways on many pairs: what it makes, keeps and tells."""

from __future__ import annotations

import queue
import time
from dataclasses import replace

import pytest
import torch
from support import records, sweep
from support.measures import Measures
from support.puppets import held_out, truth
from support.records import Record, Run, read_records
from support.sweep import Plan, measure
from support.tables import Comparison, by_run
from ways import MAKERS, ROWS, Bench, Way
from ways.rows import named_ways

pytestmark = pytest.mark.part("benchmarks")

RUN = Run("demo", True, 0, 5)
TRUTH, FADED = Way("truth"), Way("cross-fade")


def record(way: str, pair: int, joints: float = 0.5, **changes: object) -> Record:
    drawn = torch.Generator().manual_seed(hash(way) % 100 + pair)
    features = torch.randn(5, 8, generator=drawn).half().float()
    made = Record(RUN, way, pair, {"joints": joints, "rPPD": 2.0}, features)
    return replace(made, **changes)


def test_a_record_survives_its_file_and_a_cut_off_line_is_left_out(tmp_path):
    first, second = record("default", 0), record("truth", 3)
    file = tmp_path / "part-00.jsonl"
    file.write_text(first.line() + second.line() + first.line() + record("paper", 1).line()[:-9])
    found = list(read_records([tmp_path]))
    assert [one.key for one in found] == [first.key, second.key]
    for one, wanted in zip(found, (first, second), strict=True):
        assert one.figures == wanted.figures and torch.equal(one.features, wanted.features)
    assert [one.key for one in read_records([file, tmp_path])] == [first.key, second.key]


def test_differences_are_paired_and_marked_where_they_leave_out_0():
    joints = {
        "default": [0.1, 0.5, 0.9, 1.3],
        "better": [0.0, 0.4, 0.8, 1.2],
        "other": [1, 0, 1, 0],
    }
    found = [
        record(way, pair, joints=value)
        for way, values in joints.items()
        for pair, value in enumerate(values)
    ]
    found += [record("unfinished", pair) for pair in range(3)]
    [rows] = by_run(found).values()
    compared = Comparison(rows, "default")
    means = {row["way"]: row for row in compared.means()}
    assert list(means) == ["default", "better", "other"]
    assert means["default"]["joints, %"] == "70 ± 51" and means["default"]["rPPD"] == "2 ± 0"
    less = {row["less default"]: row for row in compared.differences()}
    assert less["better"]["joints, %"].startswith("-10 ± ")
    assert less["better"]["joints, %"].endswith("*") and "*" not in less["other"]["joints, %"]
    with pytest.raises(ValueError, match="--against: got 'paper', needs one of default"):
        Comparison(rows, "paper")


def test_drawn_puppets_are_the_truth_and_far_from_their_ends(tmp_path):
    """By the paper's FID, against the inputs, they are no better than other frames."""
    ways = {"truth": TRUTH, "cross-fade": FADED}
    assert measure(Plan(tmp_path, pairs=8, frames=5), [(RUN, ways)]) == 0
    [rows] = by_run(list(read_records([tmp_path]))).values()
    compared = Comparison(rows, "truth")
    fids = {name: compared.fids(name) for name in ways}
    assert fids["truth"]["FID to truth"].value == pytest.approx(0, abs=1e-6)
    assert min(fids["cross-fade"]["FID to truth"].value, fids["truth"]["FID"].value) > 0.02
    [less] = compared.differences()
    assert less["FID to truth"].endswith("*") and less["realism"].endswith("*")


def test_work_is_spread_over_processes_and_goes_on_where_it_stopped(tmp_path, capfd):
    ways = {"truth": TRUTH, "broken": Way("no such maker"), "cross-fade": FADED}
    plan = Plan(tmp_path, pairs=3, frames=3, workers=2, group=2)
    run = RUN._replace(frames=3)
    assert measure(replace(plan, workers=1), [(run, {"truth": TRUTH})]) == 0
    before = {one.key for one in read_records([tmp_path])}
    assert len(before) == 3
    assert measure(plan, [(run, ways)]) == 2, "both groups of the broken way fail"
    told = capfd.readouterr()
    assert "demo, with poses: broken, pairs 2" in told.err and "no such maker" in told.err
    assert "cross-fade" in told.err and "stopped" not in told.err
    lines = [line for file in tmp_path.glob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(lines) == 6, "what there was is not measured again"
    assert len({one.key for one in read_records([tmp_path])} - before) == 3


def test_files_stay_small_enough_to_carry(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "LARGEST", 1000)
    writer = records.Writer(tmp_path)
    for pair in range(5):
        writer.add(record("default", pair))
    sizes = [file.stat().st_size for file in tmp_path.glob("*.jsonl")]
    assert len(sizes) > 1 and max(sizes) < 1000 + len(record("default", 0).line())
    assert len(list(read_records([tmp_path]))) == 5


def test_no_work_is_begun_after_the_limit(tmp_path):
    """Neither where one process does all of it, nor in one of several."""
    run, plan = RUN._replace(frames=3), Plan(tmp_path, pairs=1, frames=3, limit=0.0)
    assert measure(plan, [(run, {"truth": TRUTH})]) == 0
    assert list(read_records([tmp_path])) == []
    todo, done = queue.Queue(), queue.Queue()
    todo.put(sweep.Job(run, "truth", TRUTH, [0]))
    sweep._work(plan, todo, done, time.time() + plan.limit)
    assert todo.qsize() == 1 and done.empty()


def test_pairs_in_one_path_are_the_pairs_alone():
    """Where no noise is drawn; each pair keeps its poses, its pictures and its place."""
    bench, pairs = Bench(4, 0, "cpu"), held_out(6, 0)
    for way in (TRUTH, FADED, Way().changed(**ROWS["schemes"]["interpolate"], steps=2)):
        together = bench.made(way, pairs)
        alone = [bench.made(way, pair).frames for pair in pairs.split(2)]
        assert torch.allclose(together.frames, torch.cat(alone), atol=1e-5)


def test_pictures_of_another_size_are_measured_at_the_size_of_the_world():
    measures, pair = Measures("cpu"), held_out(2, 1)
    bench = Bench(3, 0, "cpu", side=192)
    small, made = bench.made(TRUTH, pair).frames[0], bench.made(Way(steps=2), pair).frames[0]
    assert small.shape == made.shape == (3, 3, 128, 128)
    assert measures.figures(small, measures.features(small), pair)["joints"] < 0.005
    # the pose is at its place in a larger picture
    assert measures.figures(made, measures.features(made), pair)["joints"] < 0.05


def test_figures_of_the_truth_are_the_readers_own_errors():
    measures, pairs = Measures("cpu"), held_out(4, 1)
    frames = Bench(7, 0, "cpu").made(TRUTH, pairs).frames
    for path, pair in zip(frames, pairs.split(2), strict=True):
        figures = measures.figures(path, measures.features(path), pair)
        assert figures["joints"] < 0.005 and figures["realism"] < 0.06 and figures["limbs"] == 1
        off = torch.roll(path, 12, 3)
        worse = measures.figures(off, measures.features(off), pair)
        assert worse["joints"] > 0.05
    straight = pairs[2].lerp(pairs[3], torch.arange(1, 7 - 1)[:, None] / 6)
    assert torch.allclose(truth(pairs, 7)[1], straight, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "posed"), [("demo", True), ("demo", False), ("demo-flow", False)]
)
def test_rows_change_one_thing_of_the_default_of_their_model(model, posed):
    ways = named_ways(model, posed, list(ROWS))
    default = ways["default"]
    assert all(way.maker in MAKERS for way in ways.values())
    assert ways["candidates 8"] == default.changed(candidates=8)
    assert ways["10 steps"] == default.changed(steps=10)
    scale = default.settings.max_denoise / 0.55
    row = ways["denoise 0.45 to 0.2"].settings
    assert row.max_denoise == pytest.approx(0.45 * scale)
    assert row.min_denoise == pytest.approx(0.2 * scale)
    # rows that do what the default does
    assert ("straight limbs" in ways) == ("no poses" in ways) == posed
    assert all(way.posed in (posed, False) for way in ways.values())


def test_an_unknown_way_is_named():
    with pytest.raises(ValueError, match="--ways: got 'best', needs some of 'default', 'parts', "):
        named_ways("demo", True, ["default", "best"])
