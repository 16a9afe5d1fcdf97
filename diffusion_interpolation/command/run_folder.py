"""The folder that a run writes: settings, frames, and what is needed to go on after a stop."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..files import UNFINISHED, write_whole
from ..method.choice.candidates import Frame
from ..method.frame_info import FrameInfo
from ..pictures import encode_jpeg, strip, to_png

RECORD = "path.json"
OUTPUTS = ("path.webp", "path.mp4", "index.html")
_NUMBERED = re.compile(r"\d{3,}\.(png|jpg|safetensors)")
_PARTS = ("frames", "latents", "candidates")
"""Folders with a file for each frame."""


@dataclass(frozen=True)
class RunFolder:
    """A folder for `frames` frames made under `settings` (JSON's types), which identify the run."""

    path: Path
    frames: int
    settings: Mapping[str, Any]

    def open(self) -> None:
        """Make the folder, or continue with it if it holds this very run.

        Raises `ValueError` for a folder of another run that has made something, or with other
        things in it.
        """
        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            # safetensors opens no other names, and would say so after the first frame
            raise ValueError(
                f"out: {str(self.path)!a} is not Unicode, needs a name that is"
            ) from None
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"out: {self.path} is a file, needs a folder")
        if not self._record_of_this_run():
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_record({"finished": False})
        for part in _PARTS:
            (self.path / part).mkdir(exist_ok=True)

    def _record_of_this_run(self) -> bool:
        """Whether there is one. Another's may be replaced as long as that run has made nothing."""
        if not self._present():
            return False
        changes = self._changed_settings()
        if changes and any(self._made()):
            raise ValueError(
                f"out: {self.path} holds a run with other settings ({changes}); choose another "
                "--out, or --overwrite to replace it"
            )
        return not changes

    def _present(self) -> bool:
        """Whether there is a record; if not, nothing else may be there."""
        if (self.path / RECORD).is_file():
            return True
        others = self.path.iterdir() if self.path.is_dir() else ()
        if any(not other.name.endswith(UNFINISHED) for other in others):
            raise ValueError(f"out: {self.path} holds other things than a run, needs a new folder")
        return False

    def _read_record(self) -> dict[str, Any]:
        file = self.path / RECORD
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"out: {file} cannot be read; choose another --out") from error
        if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
            raise ValueError(f"out: {file} is no record of a run; choose another --out")
        return record

    def _changed_settings(self) -> str:
        """What is different in the settings of the run that is there; nothing in this very run."""
        settings = self._read_record()["settings"]
        return _changes(settings, json.loads(json.dumps(self.settings)))

    def _made(self) -> Iterator[Path]:
        """What cost time: latents and the conditioning."""
        yield from (self.path / "latents").glob("*.safetensors")
        if self.conditioning.is_file():
            yield self.conditioning

    def clear(self) -> None:
        """Remove what a run with other settings made, and nothing else.

        What this very run has made stays, so that it goes on where it stopped.
        """
        if not self._present() or not self._changed_settings():
            return
        for folder in (self.path / part for part in _PARTS):
            for file in folder.iterdir() if folder.is_dir() else ():
                if _NUMBERED.fullmatch(file.name):
                    file.unlink()
        for name in (*OUTPUTS, self.conditioning.name):
            (self.path / name).unlink(missing_ok=True)
        self.write_record({"finished": False})

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

    def _strip(self, index: int) -> Path:
        return self.path / "candidates" / f"{self._number(index)}.jpg"

    def strips(self) -> list[Path | None]:
        """The pictures of the candidates of all frames side by side, where there are several."""
        files = map(self._strip, range(self.frames))
        return [file if file.is_file() else None for file in files]

    def save(self, frame: Frame) -> None:
        """Write a frame."""
        self.write(frame.info.index, *encoded(frame))

    def write(self, index: int, picture: bytes, latent: bytes, strip: bytes = b"") -> None:
        """Write the files of a frame that `encoded` gives, the latent last: it marks the end."""
        if strip:
            write_whole(self._strip(index), strip)
        write_whole(self.frame(index), picture)
        write_whole(self._latent(index), latent)

    def latents(self) -> dict[int, Tensor]:
        """The latents of the frames that are finished, by number."""
        found = {}
        for index in range(self.frames):
            if self._latent(index).is_file() and self.frame(index).is_file():
                with self._opened(index) as file:
                    found[index] = file.get_tensor("latent")
        return found

    def info(self, index: int) -> FrameInfo:
        """Return what is known of a finished frame."""
        with self._opened(index) as file:
            return FrameInfo.from_json(json.loads(file.metadata()["frame"]))

    def _opened(self, index: int) -> Any:
        file = self._latent(index)
        try:
            return safe_open(file, "pt")
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"out: {file} cannot be read; remove it, and it is made again"
            ) from error

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, of all runs in this folder so far."""
        return self._read_record().get("seconds", {})

    def write_record(self, facts: Mapping[str, Any]) -> None:
        """Write `path.json`: the settings, then `facts`."""
        text = json.dumps({"settings": self.settings, **facts}, indent=1)
        write_whole(self.path / RECORD, text.encode())


def encoded(frame: Frame) -> tuple[bytes, bytes, bytes]:
    """Return the files of a frame: its picture, its latent with what is known of it, and a strip.

    The strip shows its candidates side by side; it is empty where there is one alone.
    """
    tensors = {"latent": frame.latent.contiguous()}
    told = {"frame": json.dumps(frame.info.to_json())}
    small = frame.thumbnails
    shown = b"" if small is None else encode_jpeg(strip(small))
    return to_png(frame.picture), safetensors.torch.save(tensors, told), shown


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs, in words; empty if nothing does."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{n}: {old.get(n)!r:.60} there, {new.get(n)!r:.60} now" for n in names)
