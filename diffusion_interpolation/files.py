"""Writes files whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = ".new"


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `file` at the end, and goes if anything fails.

    An `OSError` names `file`.
    """
    unfinished = file.with_name(f".{file.name}{UNFINISHED}")
    try:
        yield unfinished
        unfinished.replace(file)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # those of PyAV keep a name that cannot be changed
            with suppress(AttributeError):
                error.filename = str(file)
        raise


def write_whole(file: Path, content: bytes) -> None:
    """Write `content` to `file`, or leave what was there."""
    with replacing(file) as unfinished:
        unfinished.write_bytes(content)
