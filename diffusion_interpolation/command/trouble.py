"""What the command says of an error that its user can mend. This module imports no package."""

from __future__ import annotations

import errno


class UsageError(Exception):
    """Raised for a word that is no option, and for a value that its option does not take."""


def sentence(error: BaseException) -> str:
    """Return what the user can mend in one sentence; empty for an error that is a fault of ours."""
    if isinstance(error, OSError):
        return _of_disk(error)
    if isinstance(error, (UsageError, ValueError, FloatingPointError)):
        return " ".join(str(error).split())
    if isinstance(error, RuntimeError):
        from ..models.memory import out_of_memory

        if out_of_memory(error):
            return "out of memory; try --dtype float16, --checkpointing, or a smaller --size"
    return ""


def _of_disk(error: OSError) -> str:
    place = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"out: no space left to write{place}; finished frames are kept"
    return f"{error.strerror or error}{place}"
