"""Has paths made on a Ray cluster.

Each path gets a worker. Where there are more workers than paths, a path gets several, and the
batches of its depths are spread over them.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from ...files import write_whole
from ...models.ray_model import start_workers
from ...pictures import to_tensor
from ..parser import UsageError
from ..prepared import Prepared
from ..run_folder import OUTPUTS
from .path_task import Piece, Work, make_path, make_views
from .progress import Progress
from .report import Outcome
from .settings import LOCAL, BatchSettings

WRONG = (ValueError, UsageError, FloatingPointError)
"""Errors that say in one sentence what the user can mend."""


@dataclass
class _Running:
    """A path under way: the workers that make it, and what there is of it."""

    name: str
    prepared: Prepared
    workers: list[Any]
    begun: float = field(default_factory=time.perf_counter)
    made: int = 0
    share: float = 0.0

    def take(self, piece: Piece) -> None:
        """Write what is finished."""
        folder = self.prepared.folder
        if piece.index is not None:
            folder.write(piece.index, *piece.files)
            self.made += 1
        elif piece.files:
            write_whole(folder.conditioning, piece.files[0])
        self.share = piece.share

    @property
    def seconds(self) -> float:
        return round(time.perf_counter() - self.begun, 2)


class Cluster:
    """Ray, and the actors that hold the networks; they end with the context.

    Raises `ValueError` where there is no such cluster, or too few GPUs in it.
    """

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self.waited = 0.0

    def __enter__(self) -> Cluster:
        address = self._settings.ray
        _check_answers(address)
        try:
            ray.init(
                address=None if address == LOCAL else address,
                include_dashboard=False if address == LOCAL else None,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"ray: got {address}, which cannot be joined ({reason:.300})"
            ) from error
        try:
            self._start()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()

    def _start(self) -> None:
        there = ray.cluster_resources()
        gpus, cpus = there.get("GPU", 0), int(there.get("CPU", 1))
        each = self._settings.gpus_per_worker
        each = float(gpus > 0) if each is None else each
        if each > gpus:
            raise ValueError(f"gpus_per_worker: got {each:g}, but the cluster has {gpus:g} GPUs")
        room = int(gpus / each) if each else cpus
        count = self._settings.workers or room
        if count > room:
            raise ValueError(f"workers: got {count}, but the cluster has room for {room}")
        self.device = "cuda" if each else "cpu"
        self._free = deque(start_workers(count, each))
        self._make = ray.remote(num_cpus=0, max_retries=-1)(make_path)
        self._view = ray.remote(num_cpus=0, max_retries=-1)(make_views)

    def outcomes(
        self, listed: Iterable[tuple[str, Callable[[], Prepared]]], progress: Progress
    ) -> Iterator[Outcome]:
        """Yield what became of each path, as soon as it is finished or has failed."""
        waiting, running = deque(listed), dict[Any, _Running]()
        while waiting or running:
            while waiting and self._free:
                name, prepare = waiting.popleft()
                if failed := self._begin(name, prepare, len(waiting), running):
                    progress.told(name, failed.state, 0, 0)
                    yield failed
            if running and (ended := self._hear(running, progress)):
                yield ended

    def _begin(
        self, name: str, prepare: Callable[[], Prepared], others: int, running: dict[Any, _Running]
    ) -> Outcome | None:
        """Start a path on its part of the free workers, unless that fails."""
        try:
            prepared = prepare()
            prepared.open()
            work = _work(prepared)
        except WRONG as error:
            return Outcome(name, "failed", error=str(error))
        if not prepared.missing(work.finished):
            path = _Running(name, prepared, [])
            running[self._views(path)] = path
            return None
        count = max(1, len(self._free) // (others + 1))
        path = _Running(name, prepared, [self._free.popleft() for _ in range(count)])
        running[self._make.remote(work, path.workers)] = path
        return None

    def _hear(self, running: dict[Any, _Running], progress: Progress) -> Outcome | None:
        """Wait for one piece of any path, and write it; tell what became of a path at its end."""
        begun = time.perf_counter()
        [source], _ = ray.wait(list(running), num_returns=1, fetch_local=False)
        self.waited += time.perf_counter() - begun
        path = running[source]
        try:
            ended = self._take(source, path, running)
        except (RayError, *WRONG) as error:
            del running[source]
            self._release(path)
            ended = Outcome(path.name, "failed", path.seconds, path.made, _reason(error))
        state = ended.state if ended else "running"
        progress.told(path.name, state, path.share, path.made)
        return ended

    def _take(self, source: Any, path: _Running, running: dict[Any, _Running]) -> Outcome | None:
        """Take what a source has: the next piece of a path, or the views at its end."""
        if isinstance(source, ray.ObjectRef):
            self._write_views(path, ray.get(source))
            del running[source]
            return Outcome(path.name, "finished", path.seconds, path.prepared.path.frames)
        try:
            path.take(ray.get(next(source)))
        except StopIteration:
            del running[source]
            self._release(path)
            running[self._views(path)] = path
        return None

    def _release(self, path: _Running) -> None:
        """Free the workers of a path, which has none from now on."""
        self._free.extend(path.workers)
        path.workers = []

    def _views(self, path: _Running) -> Any:
        folder, frames = path.prepared.folder, range(path.prepared.path.frames)
        pictures = [folder.frame(index).read_bytes() for index in frames]
        return self._view.remote(path.prepared.job, pictures, path.prepared.known())

    def _write_views(self, path: _Running, contents: list[bytes]) -> None:
        prepared = path.prepared
        for name, content in zip(OUTPUTS, contents, strict=True):
            write_whole(prepared.folder.path / name, content)
        earlier = prepared.missing(()) - path.made
        seconds = {**prepared.folder.seconds(), "path": path.seconds}
        prepared.write_record(seconds, earlier, prepared.known())


def _check_answers(address: str) -> None:
    """Raise `ValueError` where nothing answers at HOST:PORT; Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ValueError(f"ray: got {address}, where nothing answers ({error})") from error


def _work(prepared: Prepared) -> Work:
    file = prepared.folder.conditioning
    return Work(
        prepared.job,
        to_tensor(prepared.pictures),
        prepared.poses,
        prepared.size,
        prepared.folder.latents(),
        file.read_bytes() if file.is_file() else None,
    )


def _reason(error: BaseException) -> str:
    """What went wrong where the work was done, without the way that the error took."""
    while (cause := getattr(error, "cause", None)) is not None:
        error = cause
    text = " ".join(str(error).split())
    return text if isinstance(error, WRONG) else f"{type(error).__name__}: {text:.500}"
