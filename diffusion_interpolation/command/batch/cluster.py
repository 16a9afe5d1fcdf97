"""Has paths made on a Ray cluster.

Each path gets a worker. Where there are more workers than paths, a path gets several, and the
batches of its depths are spread over them.
"""

from __future__ import annotations

import logging
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from ...models.ray_model import start_workers
from ..prepared import Prepared
from ..trouble import sentence
from .path_task import Work, make_path, make_views
from .progress import Progress
from .report import Outcome
from .running import Running
from .settings import LOCAL, BatchSettings

LIVES = 5
"""A path fails that loses so many workers without a new frame, since it may be what ends them."""


class Cluster:
    """Ray, and the actors that hold the networks; they end with the context.

    Raises `ValueError` where there is no such cluster, or too few GPUs in it.
    """

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self.waited = 0.0

    def __enter__(self) -> Cluster:
        address = self._settings.ray
        _check_address(address)
        try:
            ray.init(
                # without one, Ray would join a cluster that runs on this machine
                address=address,
                include_dashboard=False if address == LOCAL else None,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            # it may be half connected
            ray.shutdown()
            raise ValueError(f"ray: got {address}, {_refused(error)}") from error
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
        workers = start_workers(count, each)
        self._free, self._turns = deque(workers), cycle(workers)

    def outcomes(
        self, listed: Iterable[tuple[str, Callable[[], Prepared]]], progress: Progress
    ) -> Iterator[Outcome]:
        """Yield what became of each path, as soon as it is finished or has failed."""
        waiting, running = deque(listed), dict[Any, Running]()
        while waiting or running:
            while waiting and self._free:
                name, prepare = waiting.popleft()
                if failed := self._begin(name, prepare, len(waiting), running):
                    progress.told(name, failed.state, 0, 0)
                    yield failed
            if running and (ended := self._hear(running, progress)):
                yield ended

    def _begin(
        self, name: str, prepare: Callable[[], Prepared], others: int, running: dict[Any, Running]
    ) -> Outcome | None:
        """Start a path on its part of the free workers, unless that fails."""
        try:
            path = Running.of(name, prepare())
            work = path.work()
            if path.prepared.missing(work.finished):
                count = max(1, len(self._free) // (others + 1))
                path.workers = [self._free.popleft() for _ in range(count)]
                running[_pieces(path, work)] = path
            else:
                running[self._views(path)] = path
        except Exception as error:
            return Outcome(name, "failed", error=_reason(error))
        return None

    def _hear(self, running: dict[Any, Running], progress: Progress) -> Outcome | None:
        """Wait for one piece of any path, and write it; tell what became of a path at its end."""
        begun = time.perf_counter()
        [source], _ = ray.wait(list(running), num_returns=1, fetch_local=False)
        self.waited += time.perf_counter() - begun
        path = running[source]
        try:
            ended = self._take(source, path, running)
        except Exception as error:
            if running.pop(source, None) and not isinstance(error, RayError):
                _stop(path)
            self._release(path)
            ended = Outcome(path.name, "failed", path.seconds, path.made, _reason(error))
        state = ended.state if ended else "running"
        progress.told(path.name, state, path.share, path.made)
        return ended

    def _take(self, source: Any, path: Running, running: dict[Any, Running]) -> Outcome | None:
        """Take what a source has: the next piece of a path, or the views at its end."""
        if isinstance(source, ray.ObjectRef):
            path.finish(ray.get(source))
            del running[source]
            return Outcome(path.name, "finished", path.seconds, path.prepared.path.frames)
        try:
            path.take(ray.get(next(source)))
        except StopIteration:
            del running[source]
            self._release(path)
            running[self._views(path)] = path
        except RayTaskError:
            raise
        except RayError as error:
            del running[source]
            _mourn(path, error)
            running[_pieces(path, path.work())] = path
        return None

    def _release(self, path: Running) -> None:
        """Free the workers of a path, which has none from now on."""
        self._free.extend(path.workers)
        path.workers = []

    def _views(self, path: Running) -> Any:
        return next(self._turns).beside.remote(make_views, *path.shown())


def _refused(error: Exception) -> str:
    """Say why a cluster cannot be joined."""
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", str(error))
    if len(versions) == 2:
        there, here = (f"Ray {of_ray} with Python {python}" for of_ray, python in versions)
        return f"a cluster of {there}, needs {here}, as on this machine"
    reason = " ".join(str(error).split())
    return f"which cannot be joined ({reason:.300})"


def _pieces(path: Running, work: Work) -> Any:
    """Return the pieces of a path, which the first of its workers sends."""
    first, *others = path.workers
    return first.stream.remote(make_path, work, others)


def _mourn(path: Running, error: RayError) -> None:
    """Count a dead worker, in whose place Ray starts another; raise `ValueError` at the last."""
    path.deaths += 1
    if path.deaths == LIVES:
        raise ValueError(
            f"workers: {LIVES} died without a new frame of this path ({_reason(error):.200})"
        ) from error


def _stop(path: Running) -> None:
    """Have the worker start again that makes a path whose frames nobody can take."""
    for worker in path.workers[:1]:
        ray.kill(worker, no_restart=False)


def _check_address(address: str) -> None:
    """Raise `ValueError` where nothing answers at HOST:PORT; Ray would wait for minutes."""
    if "://" in address:
        # Ray's client, whose actors cannot send one frame after the other
        raise ValueError(
            f"ray: got {address}, needs auto or HOST:PORT, on a machine of the cluster"
        )
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ValueError(f"ray: got {address}, where nothing answers ({error})") from error


def _reason(error: BaseException) -> str:
    """What went wrong where the work was done, without the way that the error took."""
    while (cause := getattr(error, "cause", None)) is not None:
        error = cause
    text = " ".join(str(error).split())
    return sentence(error) or f"{type(error).__name__}: {text:.500}"
