"""The folder that a run writes: settings, frames, and what is needed to go on after a stop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .bisection import Frame
from .pictures import to_png

RECORD = "path.json"


@dataclass(frozen=True)
class RunFolder:
    """A folder for `frames` frames made under `settings` (JSON's types), which identify the run."""

    path: Path
    frames: int
    settings: Mapping[str, Any]

    def open(self) -> None:
        """Make the folder, or go on with it where it holds this very run.

        Raises `ValueError` for a folder of another run or with other things in it.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"out: {self.path} is a file, want a folder")
        if self.path.is_dir() and any(self.path.iterdir()):
            self._check_same()
        for folder in (self.path / "frames", self.path / "latents"):
            folder.mkdir(parents=True, exist_ok=True)
        if not (self.path / RECORD).exists():
            self.write_record({"finished": False})

    def _check_same(self) -> None:
        hint = "choose another --out, or --overwrite to replace it"
        if not (self.path / RECORD).is_file():
            raise ValueError(
                f"out: {self.path} holds other things than a run; choose another --out"
            )
        try:
            settings = json.loads((self.path / RECORD).read_text(encoding="utf-8"))["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"out: {self.path / RECORD} cannot be read; {hint}") from error
        wanted = json.loads(json.dumps(self.settings))
        changed = [key for key in {**settings, **wanted} if settings.get(key) != wanted.get(key)]
        if changed:
            names = ", ".join(sorted(changed))
            raise ValueError(f"out: {self.path} holds a run with other settings ({names}); {hint}")

    def frame(self, index: int) -> Path:
        """The picture of a frame."""
        return self.path / "frames" / f"{self._number(index)}.png"

    @property
    def conditioning(self) -> Path:
        """The learned conditioning."""
        return self.path / "conditioning.safetensors"

    def _number(self, index: int) -> str:
        return str(index).zfill(max(3, len(str(self.frames - 1))))

    def _latent(self, index: int) -> Path:
        return self.path / "latents" / f"{self._number(index)}.safetensors"

    def save_picture(self, index: int, png: bytes) -> None:
        write_whole(self.frame(index), png)

    def save(self, frame: Frame) -> None:
        """Write a frame; it counts as finished once its latent is there, which comes last."""
        self.save_picture(frame.index, to_png(frame.picture))
        facts = {
            "position": frame.position,
            "depth": frame.depth,
            "candidate": frame.candidate,
            "scores": list(frame.scores),
        }
        file = self._latent(frame.index)
        unfinished = file.with_name(f".{file.name}.new")
        save_file({"latent": frame.latent.contiguous()}, unfinished, {"frame": json.dumps(facts)})
        unfinished.replace(file)

    def finished(self) -> dict[int, Tensor]:
        """The latents of the frames that are finished, by number."""
        found = {}
        for index in range(self.frames):
            if self._latent(index).is_file() and self.frame(index).is_file():
                with self._opened(index) as file:
                    found[index] = file.get_tensor("latent")
        return found

    def facts(self, index: int) -> dict[str, Any]:
        """Position, depth, candidate and scores of a finished frame."""
        with self._opened(index) as file:
            return json.loads(file.metadata()["frame"])

    def _opened(self, index: int) -> Any:
        file = self._latent(index)
        try:
            return safe_open(file, "pt")
        except (OSError, SafetensorError) as error:
            raise ValueError(f"out: {file} cannot be read; remove it to make it anew") from error

    def write_record(self, facts: Mapping[str, Any]) -> None:
        """Write `path.json`: the settings, then `facts`."""
        text = json.dumps({"settings": self.settings, **facts}, indent=1)
        write_whole(self.path / RECORD, text.encode())


def write_whole(file: Path, content: bytes) -> None:
    """Write beside, then rename, so that no half-written file is ever found under the name."""
    unfinished = file.with_name(f".{file.name}.new")
    unfinished.write_bytes(content)
    unfinished.replace(file)
