"""Many paths on a real Ray cluster of two nodes, against one process; and what goes wrong there."""

from __future__ import annotations

import io
import json
import logging
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from PIL import Image
from ray.cluster_utils import Cluster as RayNodes
from ray.experimental import internal_kv
from safetensors.torch import load_file

from diffusion_interpolation.command.batch import batch, cluster
from diffusion_interpolation.command.batch.jobs import read_jobs
from diffusion_interpolation.command.batch.progress import Lines
from diffusion_interpolation.command.cli import main
from diffusion_interpolation.demo import world
from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.pictures import to_image

pytestmark = pytest.mark.part("many paths")

QUICK = ["--frames", "5", "--steps", "2", "--inversion-steps", "1", "--candidates", "3"]
QUICK += ["--inversion-draws", "1"]
# of one batch and of several, so that a chain is spread over both actors
QUICK += ["--max-batch", "4", "--device", "cpu"]
PAIRS = 4
OF_SECOND = 5
"""Cores that the second node says it has, so that no machine has as many as both nodes."""
CHAIN = {
    "name": "chain",
    "images": [f"{n:02}.png" for n in range(5)],
    "frames": 9,
    "match": True,
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder of puppets."""
    folder = tmp_path_factory.mktemp("pictures")
    drawn = world.render(world.sample(2 * PAIRS, torch.Generator().manual_seed(3)), SIZE)
    for number, picture in enumerate(drawn):
        to_image(picture).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def listed(pictures) -> Path:
    """Pairs, and a chain of five keyframes."""
    lines = [
        {"name": f"pair {n}", "images": [f"{2 * n:02}.png", f"{2 * n + 1:02}.png"], "seed": n}
        for n in range(PAIRS)
    ]
    for line in lines[2:]:
        line["frames"] = 3
    return written(pictures, *lines, CHAIN)


def written(folder: Path, *lines: dict) -> Path:
    file = folder / f"{len(list(folder.iterdir()))}.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


@pytest.fixture(scope="module")
def alone(pictures, listed, tmp_path_factory) -> Path:
    """The paths as the command makes them one by one."""
    out = tmp_path_factory.mktemp("alone")
    for line in listed.read_text().splitlines():
        told = json.loads(line)
        words = [str(pictures / name) for name in told["images"]]
        words += [*QUICK, "--out", str(out / told["name"]), "--seed", str(told.get("seed", 0))]
        words += ["--frames", str(told.get("frames", 5)), *["--match"] * told.get("match", False)]
        assert main(words) == 0
    return out


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    nodes = RayNodes(initialize_head=True, head_node_args={"num_cpus": 2})
    nodes.add_node(num_cpus=OF_SECOND)
    yield nodes
    nodes.shutdown()


def made(nodes: RayNodes, jobs: Path, out: Path, *more: str, workers: int = 2) -> int:
    words = ["batch", jobs, "--out", out, "--ray", nodes.address, "--workers", workers, *QUICK]
    return main(list(map(str, [*words, *more])))


def assert_same(out: Path, wanted: Path) -> None:
    """All frames and latents of a path, bit by bit."""
    frames = sorted((wanted / "frames").iterdir())
    latents = sorted((wanted / "latents").iterdir())
    assert len(frames) == len(list((out / "frames").iterdir())) > 2
    for file in frames:
        other = out / "frames" / file.name
        assert np.array_equal(np.asarray(Image.open(file)), np.asarray(Image.open(other)))
    for file in latents:
        other = load_file(out / "latents" / file.name)["latent"]
        assert torch.equal(load_file(file)["latent"], other), (out.name, file.name)


Watch = Callable[[str, str, int], None]
"""Hears the name of a path, its state, and how many frames were made of it."""


def watched(monkeypatch: pytest.MonkeyPatch, watch: Watch) -> None:
    """Have `watch` hear what happens in the batches to come, which may do something then."""

    class Watched(Lines):
        def told(self, name: str, state: str, share: float, frames: int) -> None:
            super().told(name, state, share, frames)
            watch(name, state, frames)

    monkeypatch.setattr(batch, "Lines", Watched)


def at_frames(acts: dict[int, Callable[[], None]]) -> Watch:
    """Do something once so many frames of all paths are there."""
    there: dict[str, int] = {}

    def watch(name: str, state: str, frames: int) -> None:
        there[name] = frames
        if act := acts.pop(sum(there.values()), None):
            act()

    return watch


def remembered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the actors of the batches to come, once these are started."""
    start, started = cluster.start_workers, []

    def start_workers(count: int, gpus: float) -> list[Any]:
        started[:] = start(count, gpus)
        return started

    monkeypatch.setattr(cluster, "start_workers", start_workers)
    return started


def test_frames_are_those_of_one_process_whatever_dies(
    nodes, listed, alone, tmp_path, monkeypatch, capsys
):
    started, ended = remembered(monkeypatch), []

    def kill() -> None:
        ray.kill(started[0], no_restart=False)
        ended.append("actor")

    def remove() -> None:
        [second] = nodes.worker_nodes
        nodes.remove_node(second)
        ended.append("node")

    watched(monkeypatch, at_frames({2: kill, 6: remove}))
    try:
        assert made(nodes, listed, tmp_path, "--json-progress") == 0
    finally:
        if "node" in ended:
            nodes.add_node(num_cpus=OF_SECOND)
    assert ended == ["actor", "node"]
    names = {folder.name for folder in alone.iterdir()}
    assert {folder.name for folder in tmp_path.iterdir() if folder.is_dir()} == names
    for name in names:
        assert_same(tmp_path / name, alone / name)
        record = json.loads((tmp_path / name / "path.json").read_text())
        assert record["finished"] and record["frames_made_earlier"] == 0
        assert record["settings"]["match"] == (name == "chain")
    assert_told(tmp_path, names, capsys.readouterr().out)


def assert_told(out: Path, names: set[str], lines: str) -> None:
    """The progress, the report, and the pages."""
    told = list(map(json.loads, lines.splitlines()))
    assert told[0]["paths"] == len(names) and told[-1]["state"] == "ended"
    assert {t["path"] for t in told if t.get("state") == "finished"} == names
    report = json.loads((out / "report.json").read_text())
    assert {one["name"]: one["state"] for one in report} == dict.fromkeys(names, "finished")
    page = (out / "index.html").read_text()
    assert page.count("<iframe") == len(names) and 'src="pair%200/index.html"' in page
    for name in ("path.webp", "path.mp4", "index.html"):
        assert (out / "chain" / name).stat().st_size > 1000


def test_a_driver_that_is_stopped_goes_on(nodes, pictures, alone, tmp_path, monkeypatch):
    """At first with one worker, then with two, of which each gets a part of the path's batches."""
    started, used = remembered(monkeypatch), []

    def stop() -> None:
        raise KeyboardInterrupt

    def ask() -> None:
        # the second worker makes no path itself
        used.append(ray.get(started[1].__ray_call__.remote(lambda worker: worker._load)))

    watched(monkeypatch, at_frames({1: stop}))
    jobs = written(pictures, CHAIN)
    assert made(nodes, jobs, tmp_path, "--json-progress", workers=1) == 130
    finished = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/latents/*")}
    assert len(finished) == 1
    watched(monkeypatch, at_frames({3: ask}))
    assert made(nodes, jobs, tmp_path, "--json-progress") == 0
    assert used[0].job.output.out == tmp_path / "chain"
    assert_same(tmp_path / "chain", alone / "chain")
    assert all(file.stat().st_mtime_ns == time for file, time in finished.items())
    record = json.loads((tmp_path / "chain" / "path.json").read_text())
    assert record["frames_made_earlier"] == len(finished)


@dataclass
class Faults:
    """A batch of one worker in which paths fail, and what was seen of it."""

    out: Path
    status: int
    log: str
    begun_early: bool
    """Whether the next path was begun while the one before it was made."""

    @property
    def report(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in json.loads((self.out / "report.json").read_text())}

    def error(self, name: str) -> str:
        assert self.report[name]["state"] == "failed"
        return self.report[name]["error"]


FAULTY = [
    {"name": "views", "images": ["00.png", "01.png"]},
    {"name": "broken", "images": ["00.png", "broken.png"]},
    {"name": "gone", "images": ["00.png", "gone.png"]},
    {"name": "single", "images": ["00.png"]},
    {"name": "word", "images": ["00.png", "01.png"], "sed": 3},
    {"name": "steps", "images": ["00.png", "01.png"], "steps": 0},
    {"name": "prompt", "images": ["00.png", "01.png"], "prompt": 3},
    {"name": "other", "images": ["00.png", "01.png"], "seed": 7},
    {"name": "latent", "images": ["00.png", "01.png"]},
    CHAIN,
    {"name": "next", "images": ["00.png", "01.png"], "overwrite": True},
    {"name": "full", "images": ["00.png", "01.png"]},
    {"name": "deadly", "images": ["00.png", "01.png"]},
]


@pytest.fixture(scope="module")
def faults(nodes, pictures, alone, tmp_path_factory) -> Iterator[Faults]:
    out, finished = tmp_path_factory.mktemp("faults"), alone / "pair 0"
    (pictures / "broken.png").write_bytes(b"no picture")
    for name in ("views", "other", "latent"):
        shutil.copytree(finished, out / name)
    # with other settings, which --overwrite replaces
    shutil.copytree(alone / "pair 1", out / "next")
    # a frame is missing, so that it gets a worker, and a file cannot be written at the end
    (out / "views" / "latents" / "002.safetensors").unlink()
    (out / "views" / "path.webp").unlink()
    (out / "views" / "path.webp").mkdir()
    (out / "latent" / "latents" / "002.safetensors").write_bytes(b"no latent")
    seen, log = _Seen(out), out.parent / f"{out.name}.txt"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()), logged_to(log):
        patch.setattr(cluster, "start_workers", seen.start_workers)
        # the first death is the last one
        patch.setattr(cluster, "LIVES", 1)
        watched(patch, seen.watch)
        status = made(nodes, written(pictures, *FAULTY), out, "--json-progress", workers=1)
    yield Faults(out, status, log.read_text(), seen.begun_early)


@contextmanager
def logged_to(file: Path) -> Iterator[None]:
    handler, logger = logging.FileHandler(file), logging.getLogger(batch.__package__)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        handler.close()


class _Seen:
    """Has the disk filled and a worker killed in the middle of paths of these names."""

    def __init__(self, out: Path) -> None:
        self.out, self.begun_early = out, False
        self.resource = pytest.importorskip("resource", reason="only Unix limits sizes of files")
        self.size = self.resource.RLIMIT_FSIZE
        self.start, self.limits = cluster.start_workers, self.resource.getrlimit(self.size)

    def start_workers(self, count: int, gpus: float) -> list[Any]:
        self.workers = self.start(count, gpus)
        return self.workers

    def watch(self, name: str, state: str, frames: int) -> None:
        if name == "chain" and state == "running":
            record = json.loads((self.out / "next" / "path.json").read_text())
            # that of another path until this one is begun
            self.begun_early |= record["settings"]["images"] != ["02.png", "03.png"]
        if name == "full":
            # the kernel's limit on the size of a file stands in for a disk without room
            limit = 1000 if state == "running" and frames else self.limits[0]
            self.resource.setrlimit(self.size, (limit, self.limits[1]))
        if name == "deadly" and state == "running":
            ray.kill(self.workers[0], no_restart=False)


def test_a_path_that_fails_stops_no_other(faults, alone):
    assert faults.status == 1
    finished = {name for name, one in faults.report.items() if one["state"] == "finished"}
    assert finished == {"chain", "next"}
    for name, like in (("chain", "chain"), ("next", "pair 0")):
        assert_same(faults.out / name, alone / like)
    assert "broken.png" in faults.error("broken") and "gone.png" in faults.error("gone")
    assert faults.error("single") == "images: got 1, needs at least 2"
    assert faults.error("word") == "--sed: no such option; did you mean --seed?"
    assert faults.error("steps").startswith("steps: got 0, needs ")
    assert faults.error("prompt") == "prompt: got 3, needs a list of texts"
    assert "holds a run with other settings (seed: 0 there, 7 now)" in faults.error("other")
    assert f"2 of {len(FAULTY)} paths are in {faults.out}" in faults.log
    for name in faults.report.keys() - finished:
        assert f"{name}: {faults.error(name)}\n" in faults.log


def test_views_that_fail_free_their_worker_once(faults):
    assert faults.error("views") == f"Is a directory ({faults.out / 'views' / 'path.webp'})"
    assert faults.report["views"]["frames"] == 1
    # nobody stops or takes the worker that makes the next path by now
    assert faults.report["chain"]["state"] == "finished"
    assert not faults.begun_early, "one worker makes one path at a time"


def test_a_latent_that_cannot_be_read_fails_its_path_alone(faults):
    file = faults.out / "latent" / "latents" / "002.safetensors"
    assert faults.error("latent") == f"out: {file} cannot be read; remove it, and it is made again"


def test_a_full_disk_loses_nothing_that_is_finished(faults, alone):
    assert "out: no space left to write" in faults.error("full")
    [latent] = (faults.out / "full" / "latents").iterdir()
    assert latent.read_bytes() == (alone / "pair 0" / "latents" / latent.name).read_bytes()
    assert (faults.out / "full" / "frames" / f"{latent.stem}.png").is_file()


def test_a_path_that_ends_its_workers_is_given_up(faults):
    said = faults.error("deadly")
    assert said.startswith("workers: 1 died without a new frame of this path (")


def test_without_ray_paths_are_made_one_by_one(pictures, alone, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    jobs = written(pictures, FAULTY[1], {"name": "pair", "images": ["00.png", "01.png"]})
    words = ["batch", jobs, "--out", tmp_path / "out", "--json-progress", *QUICK]
    assert main(list(map(str, words))) == 1
    assert_same(tmp_path / "out" / "pair", alone / "pair 0")
    told = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert [one["state"] for one in told[1:]] == ["failed", "finished", "ended"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"images": ["a.png"'], "line 1 of "),
        (["[]"], "line 1 of .* is no JSON object"),
        (
            ["", '{"images": ["a.png", "b.png"]}', '{"images": ["A.png", "b.png"]}'],
            "the name A-to-b",
        ),
        (
            ['{"name": "../a", "images": ["a.png", "b.png"]}'],
            "line 1 .* that of a folder",
        ),
        (['{"name": "..", "images": ["a.png", "b.png"]}'], "line 1 .* that of a folder"),
        (['{"name": "index.html", "images": ["a.png", "b.png"]}'], "line 1 .* that of a folder"),
        (["", '{"images": 3}'], "line 2 of .*: images: got 3, needs a list of texts"),
        ([""], "holds no paths"),
    ],
)
def test_a_list_that_cannot_be_read_is_told(tmp_path, lines, said):
    file = tmp_path / "jobs.jsonl"
    file.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=said):
        read_jobs(file)


def test_lists_of_csv_and_folders_say_the_same(tmp_path):
    file = tmp_path / "jobs.csv"
    file.write_text("name,images,seed\nfirst,a.png; b.png,3\n,c.png;d.png,\n")
    first, second = read_jobs(file)
    assert first.name == "first" and first.values["seed"] == "3"
    assert first.values["images"] == [tmp_path / "a.png", tmp_path / "b.png"]
    assert second.name == "c-to-d" and "seed" not in second.values
    file.write_text("images,pose\na.png;b.png,detect\na.png;c.png,a.json;c.json\n")
    first, second = read_jobs(file)
    assert first.values["pose"] == [Path("detect")]
    assert second.values["pose"] == [tmp_path / "a.json", tmp_path / "c.json"]
    file.write_text("name,images\nfirst,a.png;b.png,3\n")
    with pytest.raises(ValueError, match=r"line 2 of .* has more cells"):
        read_jobs(file)
    file.write_text('name,images\nfirst,a.png;b.png\nsecond,"a.png"b.png\n')
    with pytest.raises(ValueError, match=r"line 3 of .* cannot be read"):
        read_jobs(file)
    for name in ("one/2.png", "one/1.jpg", "two/notes.txt"):
        (tmp_path / "folders" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folders" / name).write_bytes(b"")
    [only] = read_jobs(tmp_path / "folders")
    assert only.name == "one" and [file.name for file in only.values["images"]] == [
        "1.jpg",
        "2.png",
    ]


def test_ray_on_this_machine_is_another_than_one_that_runs_here(nodes, listed, tmp_path, capsys):
    told = ["batch", str(listed), "--out", str(tmp_path / "out"), "--workers", "9999"]
    assert main(told) == 1
    said = capsys.readouterr().err
    assert "workers: got 9999, but the cluster has room for " in said
    assert "room for 7" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ray", "127.0.0.1:1"], "ray: got 127.0.0.1:1, where nothing answers"),
        (["--ray", "ray://127.0.0.1:1"], "ray: got ray://127.0.0.1:1, needs auto or HOST:PORT"),
        (["--gpus-per-worker", "1"], "gpus_per_worker: got 1, but the cluster has 0 GPUs"),
        (["--workers", "9"], "workers: got 9, but the cluster has room for 7"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_told(nodes, listed, tmp_path, capsys, words, said):
    address = [] if "--ray" in words else ["--ray", nodes.address]
    told = ["batch", str(listed), "--out", str(tmp_path / "out"), *address, *words]
    assert main(told) == 1
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir()), "the report of an earlier run is not replaced"


def test_a_cluster_of_another_version_is_told(listed, tmp_path, capsys):
    """A real cluster that says of itself what one of another version says."""
    nodes = RayNodes(initialize_head=True, head_node_args={"num_cpus": 1})
    address, key, place = nodes.address, b"CLUSTER_METADATA", {"namespace": b"cluster"}
    try:
        with ray.init(address, log_to_driver=False):
            told = json.loads(internal_kv._internal_kv_get(key, **place))
            told["ray_version"] = "2.1.0"
            internal_kv._internal_kv_put(key, json.dumps(told), True, **place)
        assert made(nodes, listed, tmp_path / "out") == 1
    finally:
        nodes.shutdown()
    python = platform.python_version()
    assert (
        f"ray: got {address}, a cluster of Ray 2.1.0 with Python {python}, "
        f"needs Ray {ray.__version__} with Python {python}, as on this machine"
    ) in capsys.readouterr().err
