"""A path that is being made, as the driver has it: what it sends to workers, and what it writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...files import write_whole
from ...method.frame_info import FrameInfo
from ..job import Job
from ..prepared import Prepared
from ..run_folder import OUTPUTS
from .path_task import Piece, Work


@dataclass
class Running:
    """A path under way: what there is of it, and the workers that make it.

    `deaths` counts workers that it lost since its last new frame.
    """

    name: str
    prepared: Prepared
    workers: list[Any] = field(default_factory=list)
    begun: float = field(default_factory=time.perf_counter)
    made: int = 0
    share: float = 0.0
    deaths: int = 0
    frames: Sequence[FrameInfo] = ()

    @classmethod
    def of(cls, name: str, prepared: Prepared) -> Running:
        """Return a path whose folder is open. Raises `ValueError`, `OSError` where it cannot be."""
        prepared.open()
        return cls(name, prepared)

    def work(self) -> Work:
        """Return what is needed to make the frames that are missing."""
        prepared, file = self.prepared, self.prepared.folder.conditioning
        return Work(
            prepared.job,
            prepared.pictures,
            prepared.poses,
            prepared.size,
            prepared.folder.latents(),
            file.read_bytes() if file.is_file() else None,
        )

    def take(self, piece: Piece) -> None:
        """Write what is finished."""
        folder = self.prepared.folder
        if piece.index is not None:
            folder.write(piece.index, *piece.files)
            self.made, self.deaths = self.made + 1, 0
        elif piece.files:
            write_whole(folder.conditioning, piece.files[0])
        self.share = max(self.share, piece.share)

    def shown(self) -> tuple[Job, list[bytes], Sequence[FrameInfo], list[bytes | None]]:
        """Return what `make_views` makes the films and the page of; all frames must be there."""
        prepared = self.prepared
        self.frames = prepared.known()
        files = map(prepared.folder.frame, range(prepared.path.frames))
        strips = [file and file.read_bytes() for file in prepared.folder.strips()]
        return prepared.job, [file.read_bytes() for file in files], self.frames, strips

    def finish(self, views: Sequence[bytes]) -> None:
        """Write `views`, the contents of the files `OUTPUTS`, and the record of a finished path.

        It comes after `shown`.
        """
        prepared = self.prepared
        for name, content in zip(OUTPUTS, views, strict=True):
            write_whole(prepared.folder.path / name, content)
        earlier = prepared.missing(()) - self.made
        seconds = {**prepared.folder.seconds(), "path": self.seconds}
        prepared.write_record(seconds, earlier, self.frames)

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return round(time.perf_counter() - self.begun, 2)
