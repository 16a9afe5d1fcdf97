"""Many paths on one worker and on two, and what the driver does: `python benchmarks/scale.py`

Each worker is a Ray actor with one thread of the CPU and the embedded model. `efficiency` is the
second worker's share of the throughput that it could add; that of `the machine` is measured with
processes that make the same paths, one thread each, without Ray and without a driver. `driver, %`
is the time in which the driver does not wait. The last table is on paper: with how many GPUs the
driver is busy all the time, if a GPU makes a frame in `--gpu-seconds`. With `--memory` the driver's
peak memory is measured for 20 and for 200 short paths instead.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from support.puppets import SIZE, held_out
from support.report import parser, publish

from diffusion_interpolation.command.batch.cluster import Cluster
from diffusion_interpolation.command.batch.jobs import Listed
from diffusion_interpolation.command.batch.path_task import make_path, make_views
from diffusion_interpolation.command.batch.running import Running
from diffusion_interpolation.command.batch.settings import BatchSettings
from diffusion_interpolation.command.job import defaults_of
from diffusion_interpolation.command.prepared import Prepared
from diffusion_interpolation.command.run_folder import OUTPUTS
from diffusion_interpolation.demo import world
from diffusion_interpolation.models.ray_model import Worker
from diffusion_interpolation.pictures import to_image

SHORT = {"frames": 3, "steps": 2, "candidates": 1, "inversion_steps": 0}
GPUS = (8, 64, 512)


class Silent:
    """Hears of the progress, and says nothing."""

    def told(self, name: str, state: str, share: float, frames: int) -> None:
        """Say nothing."""

    def close(self) -> None:
        """End."""


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--paths", type=int, default=8, help="for each worker")
    words.add_argument("--frames", type=int, default=17)
    words.add_argument("--inversion-steps", type=int, default=10)
    words.add_argument("--gpu-seconds", type=float, default=0.1)
    words.add_argument("--memory", action="store_true")
    words.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    words.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = words.parse_args()
    if options.peak_of:
        made(1, options.peak_of, options, SHORT)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    elif options.alone:
        make_alone(options)
    elif options.memory:
        publish(memory_rows(), options.json)
    else:
        one, two = (made(count, count * options.paths, options) for count in (1, 2))
        efficiency = two["frames a second"] / one["frames a second"] - 1
        facts = {f"{name}, 1 worker": value for name, value in one.items()}
        facts |= {f"{name}, 2 workers": value for name, value in two.items()}
        facts |= {"efficiency of the second worker": efficiency}
        bare = [without_ray(count, options) for count in (1, 2)]
        facts |= {"efficiency, the machine without Ray": bare[1] / bare[0] - 1}
        facts |= on_paper(two["driver, ms a frame"] / 1000, options.gpu_seconds)
        publish([{"measure": name, "value": value} for name, value in facts.items()], options.json)


def made(
    workers: int, count: int, options: argparse.Namespace, changes: dict[str, Any] | None = None
) -> dict[str, float]:
    """Make `count` paths on some workers that have loaded their networks."""
    common = settings_of(options, changes)
    settings = BatchSettings(workers=workers, gpus_per_worker=0)
    with tempfile.TemporaryDirectory() as name, Cluster(settings) as cluster:
        folder = Path(name)
        warm, paths = listed(folder, workers, "warm"), listed(folder, count, "path")
        run(cluster, warm, common, folder)
        waited, begun = cluster.waited, time.perf_counter()
        run(cluster, paths, common, folder)
        seconds, waited = time.perf_counter() - begun, cluster.waited - waited
        new = count * (common["frames"] - 2)
        sent, got = (sum(sizes) / new / 1024 for sizes in shipped(folder, paths))
    return {
        "frames a second": new / seconds,
        "driver, %": 100 * (1 - waited / seconds),
        "driver, ms a frame": 1000 * (seconds - waited) / new,
        "KiB to workers a frame": sent,
        "KiB from workers a frame": got,
    }


def shipped(folder: Path, paths: list[Listed]) -> tuple[list[int], list[int]]:
    """Return the sizes in bytes of what finished paths sent to workers, and got from them."""
    sent, got = [], []
    for out in (folder / one.name for one in paths):
        latents = list(out.glob("latents/*"))
        made = [out / "frames" / f"{latent.stem}.png" for latent in latents]
        others = [*out.glob("*.safetensors"), *(out / name for name in OUTPUTS)]
        got += [file.stat().st_size for file in (*latents, *made, *others)]
        # the pixels of two keyframes, and all frames once more for the views
        sent += [2 * 3 * SIZE**2, *(frame.stat().st_size for frame in out.glob("frames/*"))]
    return sent, got


def settings_of(
    options: argparse.Namespace, changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    told = changes or {"frames": options.frames, "inversion_steps": options.inversion_steps}
    return {**defaults_of("demo"), **told, "device": "cpu"}


def without_ray(count: int, options: argparse.Namespace) -> float:
    """Return the frames a second of `count` processes that make paths side by side."""
    numbers = {"--paths": options.paths, "--frames": options.frames}
    numbers |= {"--inversion-steps": options.inversion_steps}
    words = [sys.executable, __file__, "--alone", "--device", "cpu"]
    words += [str(word) for pair in numbers.items() for word in pair]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    told = {**os.environ, "OMP_NUM_THREADS": "1"}
    sides = [subprocess.Popen(words, env=told, **pipes) for _ in range(count)]
    for side in sides:
        assert side.stdout.readline() == "ready\n"
    begun = time.perf_counter()
    for side in sides:
        side.stdin.write("go\n")
        side.stdin.flush()
    statuses = [side.wait() for side in sides]
    assert not any(statuses)
    return count * options.paths * (options.frames - 2) / (time.perf_counter() - begun)


def make_alone(options: argparse.Namespace) -> None:
    """Make paths in this process, once it is told to and has loaded its networks."""
    worker, common = Worker(), settings_of(options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        [warm], paths = listed(folder, 1, "warm"), listed(folder, options.paths, "path")
        make_one(worker, warm, common, folder)
        print("ready", flush=True)
        sys.stdin.readline()
        for one in paths:
            make_one(worker, one, common, folder)


def make_one(worker: Worker, one: Listed, common: dict[str, Any], out: Path) -> None:
    path = Running.of(one.name, _prepared(one, common, out))
    for piece in worker.stream(make_path, path.work(), []):
        path.take(piece)
    path.finish(worker.beside(make_views, *path.shown()))


def listed(folder: Path, count: int, name: str) -> list[Listed]:
    """Return paths between drawn puppets, each from another to another."""
    puppets = held_out(2 * count, len(name))
    files = [folder / f"{name} {number}.png" for number in range(2 * count)]
    # one at a time, so that the driver's peak is not that of the drawings
    for file, puppet in zip(files, puppets.split(1), strict=True):
        to_image(world.render(puppet, SIZE)[0]).save(file)
    return [
        Listed(f"{name}{n}", {"images": files[2 * n : 2 * n + 2]}, "drawn") for n in range(count)
    ]


def run(cluster: Cluster, paths: list[Listed], common: dict[str, Any], out: Path) -> None:
    prepared = [(one.name, partial(_prepared, one, common, out)) for one in paths]
    failed = [one for one in cluster.outcomes(prepared, Silent()) if one.state != "finished"]
    assert not failed, failed


def _prepared(one: Listed, common: dict[str, Any], out: Path) -> Prepared:
    return Prepared(one.job(common, out))


def on_paper(busy: float, seconds: float) -> dict[str, float]:
    """Return what the driver, `busy` so long for a frame, does with more GPUs.

    Each GPU makes a frame in `seconds`.
    """
    shares = {f"driver with {gpus} GPUs, %": 100 * gpus * busy / seconds for gpus in GPUS}
    return {**shares, "GPUs at which the driver is the limit": seconds / busy}


def memory_rows() -> list[dict[str, Any]]:
    """Return the driver's peak for few paths and for many."""
    peaks = []
    for count in (20, 200):
        words = [sys.executable, __file__, "--peak-of", str(count), "--device", "cpu"]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        peaks.append(float(done.stdout.split()[-1]))
    named = zip((20, 200), peaks, strict=True)
    rows = [{"paths": count, "peak, MiB": peak} for count, peak in named]
    return [*rows, {"paths": "ratio", "peak, MiB": peaks[1] / peaks[0]}]


if __name__ == "__main__":
    main()
