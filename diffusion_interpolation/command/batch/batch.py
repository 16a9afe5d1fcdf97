"""The command `batch`: reads the paths, has them made, and reports what became of each."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from ..prepared import Prepared
from ..run import run
from ..trouble import sentence
from .jobs import Listed, read_jobs
from .progress import Bars, Lines, Progress
from .report import Outcome, write_report
from .settings import BatchSettings

log = logging.getLogger(__name__)


def run_batch(values: Mapping[str, Any]) -> int:
    """Make all paths; return the exit status, 1 where a path failed.

    Raises `ValueError` for paths that cannot be read, and for a cluster that cannot be used.
    """
    settings, out = BatchSettings.of(values), values["out"]
    settings.check()
    if settings.jobs is None:
        raise ValueError("jobs: got none, needs a .jsonl file, a .csv file or a folder")
    listed = read_jobs(settings.jobs)
    if out.exists() and not out.is_dir():
        raise ValueError(f"out: {out} is a file, needs a folder")
    out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    try:
        for outcome in _made(settings, values, listed, out):
            outcomes.append(outcome)
    finally:
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        for outcome in failed:
            log.error("%s: %s", outcome.name, outcome.error)
        # a cluster that cannot be joined leaves the report of an earlier run
        if outcomes:
            write_report(out, outcomes)
    log.info("%d of %d paths are in %s", len(outcomes) - len(failed), len(outcomes), out)
    return 1 if failed else 0


def _made(
    settings: BatchSettings, values: Mapping[str, Any], listed: list[Listed], out: Path
) -> Iterator[Outcome]:
    watch: Callable[[int], Progress] = Lines if settings.json_progress else Bars
    if importlib.util.find_spec("ray") is None:
        log.info('no Ray (pip install ".[cli,ray]"): the paths are made one after the other')
        with closing(watch(len(listed))) as progress:
            yield from _one_by_one(values, listed, out, progress)
        return
    from .cluster import Cluster

    with Cluster(settings) as cluster, closing(watch(len(listed))) as progress:
        common = {**values, "device": values["device"] or cluster.device}
        paths = [(one.name, partial(_prepared, one, common, out)) for one in listed]
        yield from cluster.outcomes(paths, progress)


def _prepared(one: Listed, values: Mapping[str, Any], out: Path) -> Prepared:
    return Prepared(one.job(values, out))


def _one_by_one(
    values: Mapping[str, Any], listed: list[Listed], out: Path, progress: Progress
) -> Iterator[Outcome]:
    for one in listed:
        begun = time.perf_counter()
        try:
            job = one.job(values, out)
            run(job)
            seconds = round(time.perf_counter() - begun, 2)
            outcome = Outcome(one.name, "finished", seconds, job.output.frames)
        except Exception as error:
            if not (told := sentence(error)):
                raise
            outcome = Outcome(one.name, "failed", error=told)
        progress.told(one.name, outcome.state, 1, outcome.frames)
        yield outcome
