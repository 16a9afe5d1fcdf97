"""Measures many ways on many pairs, in processes that share a device."""

from __future__ import annotations

import multiprocessing
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

import torch
from ways import Bench, Way

from .distances import lpips_distance
from .measures import Measures
from .puppets import SIZE, held_out
from .records import Record, Run, Writer, read_records
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
    side: int = SIZE
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

    @property
    def title(self) -> str:
        """The way and its run, for a reader."""
        poses = "with" if self.run.posed else "without"
        return f"{self.run.model}, {poses} poses: {self.name}"


def measure(plan: Plan, work: Sequence[tuple[Run, dict[str, Way]]]) -> int:
    """Measure all ways that `plan.out` has no records of; return how many jobs failed.

    The work is done in the order of the ways, so that a run that is stopped has whole ways.
    """
    writer, jobs = Writer(plan.out), _missing(plan, work)
    left, failed, begun = _Left(jobs), 0, time.monotonic()
    for job, records in _done(plan, jobs):
        failed += not records
        for record in records:
            writer.add(record)
        if left.take(job):
            print(f"{time.monotonic() - begun:6.1f} s  {job.title}", file=sys.stderr, flush=True)
    if plan.limit < time.monotonic() - begun:
        print(f"stopped after {plan.limit:g} s", file=sys.stderr)
    return failed


def _done(plan: Plan, jobs: list[Job]) -> Iterator[tuple[Job, list[Record]]]:
    """Jobs with their records, as they are finished; without any where a job failed."""
    if plan.workers > 1:
        yield from _in_processes(plan, jobs)
        return
    worker, until = Worker(plan), time.monotonic() + plan.limit
    for job in jobs:
        if time.monotonic() < until:
            yield job, worker.records(job)


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


def _in_processes(plan: Plan, jobs: list[Job]) -> Iterator[tuple[Job, list[Record]]]:
    context = multiprocessing.get_context("spawn")
    todo, done, until = context.Queue(), context.Queue(), time.time() + plan.limit
    for job in jobs:
        todo.put(job)
    processes = [
        context.Process(target=_work, args=(plan, todo, done, until)) for _ in range(plan.workers)
    ]
    for process in processes:
        process.start()
    alive = True
    while alive:
        # what is in the queue when all have ended is still read
        alive = any(process.is_alive() for process in processes)
        with suppress(Empty):
            while True:
                job, lines = done.get(timeout=0.2)
                yield job, [Record.read(line) for line in lines]
    # nobody is left to take what is in it
    todo.cancel_join_thread()
    if crashed := [process.exitcode for process in processes if process.exitcode]:
        raise RuntimeError(f"workers: {len(crashed)} of {plan.workers} crashed ({crashed[0]})")


@dataclass
class _Left:
    """How many jobs of each way are not done."""

    jobs: list[Job]
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for job in self.jobs:
            self.counts[job.title] = self.counts.get(job.title, 0) + 1

    def take(self, job: Job) -> bool:
        """Count a job as done; return whether it was the last of its way."""
        self.counts[job.title] -= 1
        return self.counts[job.title] == 0


def _work(plan: Plan, todo: Any, done: Any, until: float) -> None:
    """Take jobs until there are none."""
    torch.set_num_threads(1)
    worker = Worker(plan)
    while time.time() < until:
        try:
            job = todo.get(timeout=1)
        except Empty:
            return
        # lines, because tensors would go through shared memory
        done.put((job, [record.line() for record in worker.records(job)]))


class Worker:
    """The networks of one process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        distance = lpips_distance(plan.lpips, plan.device) if plan.lpips else None
        self.measures = Measures(plan.device, distance)
        self.puppets = held_out(2 * plan.pairs, plan.seed).to(plan.device)
        self._benches: dict[str, Bench] = {}

    def records(self, job: Job) -> list[Record]:
        """Return the records of a job's pairs; where it fails, say so, and return none."""
        try:
            return self._measured(job)
        except Exception:
            # one broken way must not cost the figures of all others
            print(f"{job.title}, pairs {', '.join(map(str, job.pairs))}:", file=sys.stderr)
            traceback.print_exc()
            return []

    def _measured(self, job: Job) -> list[Record]:
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
            self._benches[model] = Bench(p.frames, p.seed, p.device, model, p.max_batch, p.side)
        return self._benches[model]
