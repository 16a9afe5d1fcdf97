"""Records of what was measured, one line of JSON for each pair and way, so that nothing is lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .puppets import SIZE

LARGEST = 15 * 2**20
"""Bytes after which a file gets no more records."""


class Run(NamedTuple):
    """What must be equal for two records to be compared."""

    model: str
    posed: bool
    seed: int
    frames: int
    side: int = SIZE


@dataclass(frozen=True)
class Record:
    """The figures of one way on one pair of puppets.

    `features` are the CLIP's embeddings `(frames, width)` of all frames, the inputs first and last.
    """

    run: Run
    way: str
    pair: int
    figures: dict[str, float]
    features: Tensor

    @property
    def key(self) -> tuple[Run, str, int]:
        """What no two records of a folder share."""
        return self.run, self.way, self.pair

    def line(self) -> str:
        """Return the record as a line of JSON, its features as float16 in base64."""
        content = self.features.numpy().astype("<f2")
        packed = {"shape": content.shape, "float16": base64.b64encode(content.tobytes()).decode()}
        fields = asdict(self) | {"run": self.run._asdict(), "features": packed}
        return json.dumps(fields) + "\n"

    @classmethod
    def read(cls, line: str) -> Record:
        """Return the record in a line that `line` has made."""
        fields: dict[str, Any] = json.loads(line)
        packed = fields["features"]
        content = np.frombuffer(base64.b64decode(packed["float16"]), "<f2")
        features = torch.from_numpy(content.reshape(packed["shape"]).astype(np.float32))
        return cls(**fields | {"run": Run(**fields["run"]), "features": features})


class Writer:
    """Appends records to numbered `.jsonl` files in a folder, of at most about 15 MiB each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # not to a file whose last line may be cut off
        self._folder, self._number = folder, len(list(folder.glob("*.jsonl")))

    def add(self, record: Record) -> None:
        """Append a record, and leave it to nobody to write it later."""
        file = self._folder / f"part-{self._number:02d}.jsonl"
        with file.open("a", encoding="utf-8") as lines:
            lines.write(record.line())
            if lines.tell() > LARGEST:
                self._number += 1


def read_records(places: Iterable[Path]) -> Iterator[Record]:
    """Yield the records in files, and in all `.jsonl` files of folders, each once.

    A line that was cut off, because the run was stopped, is left out.
    """
    files = [
        file
        for place in places
        for file in (sorted(place.glob("*.jsonl")) if place.is_dir() else [place])
    ]
    seen = set()
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
            if not line.endswith("\n"):
                continue
            record = Record.read(line)
            if record.key not in seen:
                seen.add(record.key)
                yield record
