"""Measures many ways on many pairs, in processes that share a device."""

from __future__ import annotations

import multiprocessing
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

import torch
from ways import Bench, Way

from .distances import lpips_distance
from .measures import Measures
from .puppets import held_out
from .records import Record, Run, read_records
from .sheets import save_strip, strip_file


@dataclass(frozen=True)
class Plan:
    """What to measure, where, and how it is spread.

    Records go to `.jsonl` files in the folder `out`. `group` pairs are made in the same batches.
    Strips of the frames of `shown` ways and the first `strips` pairs go to the folder `frames_to`.
    After `limit` seconds no more work is begun.
    """

    out: Path
    pairs: int = 50
    frames: int = 17
    seed: int = 0
    device: str = "cpu"
    workers: int = 1
    group: int = 1
    max_batch: int = 16
    limit: float = float("inf")
    lpips: Path | None = None
    frames_to: Path | None = None
    shown: Sequence[str] = ()
    strips: int = 8


class Job(NamedTuple):
    """A way on a group of pairs, with the numbers of the pairs."""

    run: Run
    name: str
    way: Way
    pairs: list[int]


def measure(plan: Plan, work: Sequence[tuple[Run, dict[str, Way]]]) -> int:
    """Measure all ways that `plan.out` has no records of; return how many jobs failed.

    The work is done in the order of the ways, so that a run that is stopped has whole ways.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    jobs = _missing(plan, work)
    if plan.workers == 1:
        worker, until = Worker(plan, 0), time.monotonic() + plan.limit
        return sum(not worker.done(job) for job in jobs if time.monotonic() < until)
    return _in_processes(plan, jobs)


def _missing(plan: Plan, work: Sequence[tuple[Run, dict[str, Way]]]) -> list[Job]:
    known = {record.key for record in read_records([plan.out])}
    jobs = []
    for run, ways in work:
        for name, way in ways.items():
            lost = [pair for pair in range(plan.pairs) if (run, name, pair) not in known]
            jobs += [
                Job(run, name, way, lost[first : first + plan.group])
                for first in range(0, len(lost), plan.group)
            ]
    return jobs


def _in_processes(plan: Plan, jobs: list[Job]) -> int:
    context = multiprocessing.get_context("spawn")
    todo, done, begun = context.Queue(), context.Queue(), time.monotonic()
    for job in jobs:
        todo.put(job)
    processes = [
        context.Process(target=_work, args=(plan, number, todo, done, time.time() + plan.limit))
        for number in range(plan.workers)
    ]
    for process in processes:
        process.start()
    left, failed, alive = _Left(jobs), 0, True
    while alive:
        # what is in the queue when all have ended is still read
        alive = any(process.is_alive() for process in processes)
        try:
            while True:
                run, name, well = done.get(timeout=0.2)
                failed += not well
                if left.take(run, name):
                    print(f"{time.monotonic() - begun:6.1f} s  {_title(run)}: {name}", flush=True)
        except Empty:
            pass
    crashed = sum(process.exitcode != 0 for process in processes)
    # nobody is left to take these
    todo.cancel_join_thread()
    return failed + crashed


@dataclass
class _Left:
    """How many jobs of each way are not done."""

    jobs: list[Job]
    counts: dict[tuple[Run, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for job in self.jobs:
            self.counts[job.run, job.name] = self.counts.get((job.run, job.name), 0) + 1

    def take(self, run: Run, name: str) -> bool:
        """Count a job as done; return whether it was the last of its way."""
        self.counts[run, name] -= 1
        return self.counts[run, name] == 0


def _title(run: Run) -> str:
    return f"{run.model}, {'with' if run.posed else 'without'} poses"


def _work(plan: Plan, number: int, todo: Any, done: Any, until: float) -> None:
    """Take jobs until there are none."""
    torch.set_num_threads(1)
    worker = Worker(plan, number)
    while time.time() < until:
        try:
            job = todo.get(timeout=1)
        except Empty:
            return
        done.put((job.run, job.name, worker.done(job)))


class Worker:
    """The networks of one process, and the file that it appends to."""

    def __init__(self, plan: Plan, number: int) -> None:
        self.plan = plan
        distance = lpips_distance(plan.lpips, plan.device) if plan.lpips else None
        self.measures = Measures(plan.device, distance)
        self.puppets = held_out(2 * plan.pairs, plan.seed).to(plan.device)
        self.file = plan.out / f"part-{number:02d}.jsonl"
        self._benches: dict[str, Bench] = {}

    def done(self, job: Job) -> bool:
        """Do a job; where it fails, say so on the error stream and return False."""
        try:
            for record in self.records(job):
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(record.line())
        except Exception:
            # one broken way must not cost the figures of all others
            pairs = ", ".join(map(str, job.pairs))
            print(f"{_title(job.run)}: {job.name}, pairs {pairs}:", file=sys.stderr)
            traceback.print_exc()
            return False
        return True

    def records(self, job: Job) -> list[Record]:
        """Return the records of all pairs of a job, after saving what is to be shown."""
        pairs = self.puppets.unflatten(0, (-1, 2))[job.pairs]
        made = self._bench(job.run.model).made(job.way, pairs.flatten(0, 1))
        found = []
        for number, frames, pair in zip(job.pairs, made.frames, pairs, strict=True):
            features = self.measures.features(frames)
            figures = self.measures.figures(frames, features, pair)
            figures |= {"evals": made.evaluations, "seconds": made.seconds}
            found.append(Record(job.run, job.name, number, figures, features))
            if self.plan.frames_to and job.name in self.plan.shown and number < self.plan.strips:
                save_strip(frames, strip_file(self.plan.frames_to, job.run, job.name, number))
        return found

    def _bench(self, model: str) -> Bench:
        if model not in self._benches:
            p = self.plan
            self._benches[model] = Bench(p.frames, p.seed, p.device, model, p.max_batch)
        return self._benches[model]
