"""The options of `batch` that a single path has not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...options import Record, option

LOCAL = "local"
"""The value of `--ray` that starts Ray on this machine."""


@dataclass(frozen=True)
class BatchSettings(Record):
    """The paths, and the machines that make them."""

    jobs: Path | None = option(
        None,
        "The paths: a .jsonl or .csv file with the options of one path a line, or a folder whose "
        "sub-folders each hold the keyframes of one path.",
        metavar="JOBS",
    )
    ray: str = option(
        LOCAL,
        "Address of a Ray cluster that this machine is in: HOST:PORT, or auto. local starts Ray on "
        "this machine, with all its GPUs.",
        metavar="ADDRESS",
    )
    workers: int | None = option(
        None,
        "Number of models that run at once.",
        min=1,
        max=100_000,
        shown="one for each GPU, or for each CPU core where there is no GPU",
    )
    gpus_per_worker: float | None = option(
        None,
        "GPUs of a model. 0.5 puts two on one GPU, 0 runs them on the CPU.",
        min=0.0,
        max=16.0,
        shown="1 where there are GPUs, otherwise 0",
    )
    json_progress: bool = option(
        False, "Write one JSON object a line instead of bars, for other programs."
    )
