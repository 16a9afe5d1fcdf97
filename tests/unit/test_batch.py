"""Many paths on a real Ray cluster of two nodes, against one process; and what goes wrong there."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from PIL import Image
from ray.cluster_utils import Cluster as RayNodes
from safetensors.torch import load_file

from diffusion_interpolation.command.batch import batch, cluster
from diffusion_interpolation.command.batch.jobs import read_jobs
from diffusion_interpolation.command.batch.progress import Lines
from diffusion_interpolation.command.cli import main
from diffusion_interpolation.demo import world
from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.pictures import to_image

QUICK = ["--frames", "5", "--steps", "2", "--inversion-steps", "1", "--candidates", "3"]
# of one batch and of several, so that a chain is spread over both actors
QUICK += ["--max-batch", "4", "--device", "cpu"]
PAIRS = 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder of twelve puppets."""
    folder = tmp_path_factory.mktemp("pictures")
    drawn = world.render(world.sample(2 * PAIRS, torch.Generator().manual_seed(3)), SIZE)
    for number, picture in enumerate(drawn):
        to_image(picture).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def listed(pictures) -> Path:
    """Six pairs, and a chain of five keyframes."""
    lines = [
        {"name": f"pair {n}", "images": [f"{2 * n:02}.png", f"{2 * n + 1:02}.png"], "seed": n}
        for n in range(PAIRS)
    ]
    chain = {"name": "chain", "images": [f"{n:02}.png" for n in range(5)], "frames": 9}
    return written(pictures, *lines, chain)


@pytest.fixture(scope="module")
def few(pictures, listed) -> Path:
    """Two of the pairs, and the chain."""
    lines = listed.read_text().splitlines()
    return written(pictures, *map(json.loads, (*lines[:2], lines[-1])))


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
        words += ["--frames", str(told.get("frames", 5))]
        assert main(words) == 0
    return out


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    nodes = RayNodes(initialize_head=True, head_node_args={"num_cpus": 2})
    nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def made(nodes: RayNodes, jobs: Path, out: Path, *more: str) -> int:
    words = ["batch", jobs, "--out", out, "--ray", nodes.address, "--workers", "2", *QUICK, *more]
    return main(list(map(str, words)))


def assert_same(out: Path, wanted: Path, paths: int = 3) -> None:
    """All frames and latents, bit by bit."""
    names = [folder.name for folder in out.iterdir() if folder.is_dir()]
    assert len(names) == paths
    for folder in (wanted / name for name in names):
        frames = sorted((folder / "frames").iterdir())
        latents = sorted((folder / "latents").iterdir())
        assert len(frames) == len(list((out / folder.name / "frames").iterdir())) > 4
        for file in frames:
            other = out / folder.name / "frames" / file.name
            assert np.array_equal(np.asarray(Image.open(file)), np.asarray(Image.open(other)))
        for file in latents:
            other = load_file(out / folder.name / "latents" / file.name)["latent"]
            assert torch.equal(load_file(file)["latent"], other), (folder.name, file.name)


class Interfering(Lines):
    """Does something once a frame of any path is there."""

    act: Callable[[], None]

    def told(self, name: str, state: str, share: float, frames: int) -> None:
        super().told(name, state, share, frames)
        if frames and (act := type(self).__dict__.get("act")):
            del type(self).act
            act()


@pytest.fixture
def at_the_first_frame(monkeypatch) -> Callable[[Callable[[], None]], None]:
    """Has a batch do something in its middle."""

    def interfere(act: Callable[[], None]) -> None:
        progress = type("Once", (Interfering,), {"act": staticmethod(act)})
        monkeypatch.setattr(batch, "Lines", progress)

    return interfere


def test_frames_are_those_of_one_process(nodes, listed, alone, tmp_path, capsys):
    assert made(nodes, listed, tmp_path, "--json-progress") == 0
    assert_same(tmp_path, alone, PAIRS + 1)
    told = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert told[0]["paths"] == PAIRS + 1 and told[-1]["state"] == "ended"
    assert [t["path"] for t in told if t.get("state") == "finished"][-1] == "chain"
    report = json.loads((tmp_path / "report.json").read_text())
    assert {one["name"]: one["state"] for one in report} == {
        folder.name: "finished" for folder in alone.iterdir()
    }
    page = (tmp_path / "index.html").read_text()
    assert page.count("<iframe") == PAIRS + 1
    for name in ("path.webp", "path.mp4", "index.html"):
        assert (tmp_path / "chain" / name).stat().st_size > 1000
    record = json.loads((tmp_path / "chain" / "path.json").read_text())
    assert record["finished"] and record["frames_made_earlier"] == 0


def test_an_actor_that_dies_is_replaced(nodes, few, alone, tmp_path, at_the_first_frame):
    killed = []

    def kill() -> None:
        [first, *_] = started
        killed.append(first)
        ray.kill(first, no_restart=False)

    started = remember_workers(at_the_first_frame, kill)
    assert made(nodes, few, tmp_path, "--json-progress") == 0
    assert killed
    assert_same(tmp_path, alone)


def remember_workers(interfere: Callable, act: Callable[[], None]) -> list:
    """The actors of the next batch, which does `act` in its middle."""
    started: list = []
    start = cluster.start_workers

    def remembered(count: int, gpus: float) -> list:
        started[:] = start(count, gpus)
        cluster.start_workers = start
        return started

    cluster.start_workers = remembered
    interfere(act)
    return started


def test_a_node_that_goes_takes_no_frame_along(few, alone, tmp_path, at_the_first_frame):
    nodes = RayNodes(initialize_head=True, head_node_args={"num_cpus": 2})
    second = nodes.add_node(num_cpus=1)
    gone = []

    def remove() -> None:
        nodes.remove_node(second)
        gone.append(second)

    at_the_first_frame(remove)
    try:
        assert made(nodes, few, tmp_path, "--json-progress") == 0
    finally:
        nodes.shutdown()
    assert gone
    assert_same(tmp_path, alone)


def test_a_driver_that_is_stopped_goes_on(nodes, few, alone, tmp_path, at_the_first_frame):
    def stop() -> None:
        raise KeyboardInterrupt

    at_the_first_frame(stop)
    assert made(nodes, few, tmp_path, "--json-progress") == 130
    finished = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/latents/*")}
    assert 0 < len(finished) < 3 + 3 + 4
    assert made(nodes, few, tmp_path) == 0
    assert_same(tmp_path, alone)
    assert all(file.stat().st_mtime_ns == time for file, time in finished.items())
    earlier = [json.loads(file.read_text()) for file in tmp_path.glob("*/path.json")]
    assert sum(record["frames_made_earlier"] for record in earlier) == len(finished)


def test_a_path_that_fails_stops_no_other(nodes, pictures, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (pictures / "broken.png").write_bytes(b"no picture")
    jobs = written(
        pictures,
        {"name": "broken", "images": ["00.png", "broken.png"]},
        {"name": "gone", "images": ["00.png", "gone.png"]},
        {"name": "single", "images": ["00.png"]},
        {"name": "word", "images": ["00.png", "01.png"], "sed": 3},
        {"name": "steps", "images": ["00.png", "01.png"], "steps": 0},
        {"name": "right", "images": ["00.png", "01.png"]},
    )
    assert made(nodes, jobs, tmp_path) == 1
    report = {one["name"]: one for one in json.loads((tmp_path / "report.json").read_text())}
    assert {name for name, one in report.items() if one["state"] == "finished"} == {"right"}
    assert "broken.png" in report["broken"]["error"] and "gone.png" in report["gone"]["error"]
    assert report["single"]["error"] == "images: got 1, needs at least 2"
    assert report["word"]["error"] == "--sed: no such option; did you mean --seed?"
    assert report["steps"]["error"].startswith("steps: got 0, needs ")
    assert f"1 of 6 paths are in {tmp_path}" in caplog.text


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"images": ["a.png"'], "line 1 of "),
        (["[]"], "line 1 of .* is no JSON object"),
        (
            ["", '{"images": ["a.png", "b.png"]}', '{"images": ["A.png", "b.png"]}'],
            "the name A-to-b",
        ),
        (['{"name": "../a", "images": ["a.png", "b.png"]}'], "needs no folder"),
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
    file.write_text("name,images\nfirst,a.png;b.png,3\n")
    with pytest.raises(ValueError, match=r"line 2 of .* has more cells"):
        read_jobs(file)
    for name in ("one/2.png", "one/1.jpg", "two/notes.txt"):
        (tmp_path / "folders" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folders" / name).write_bytes(b"")
    [only] = read_jobs(tmp_path / "folders")
    assert only.name == "one" and [file.name for file in only.values["images"]] == [
        "1.jpg",
        "2.png",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ray", "127.0.0.1:1"], "ray: got 127.0.0.1:1, where nothing answers"),
        (["--gpus-per-worker", "1"], "gpus_per_worker: got 1, but the cluster has 0 GPUs"),
        (["--workers", "9"], "workers: got 9, but the cluster has room for 3"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_told(nodes, listed, tmp_path, capsys, words, said):
    address = [] if "--ray" in words else ["--ray", nodes.address]
    told = ["batch", str(listed), "--out", str(tmp_path / "out"), *address, *words]
    assert main(told) == 1
    assert said in capsys.readouterr().err
