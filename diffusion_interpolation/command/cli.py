"""The command `diffusion-interpolation` makes the frames between two or more pictures."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

from .. import __version__
from .trouble import UsageError, sentence

PROGRAM = "diffusion-interpolation"
INTERRUPTED = "interrupted; finished frames are kept, and the same command continues from them"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in ("httpx", "diffusers", "transformers", "PIL"):
        logging.getLogger(name).setLevel(logging.ERROR)
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        _print(f"{PROGRAM} {__version__}")
        return 0
    try:
        return _main(words)
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, 130)
    except ImportError as error:
        return _fail(f"{error}; the command needs the extra 'cli': pip install \".[cli]\"")
    except Exception as error:
        if not (told := sentence(error)):
            raise
        return _fail(told, 2 if isinstance(error, UsageError) else 1)


def _main(words: list[str]) -> int:
    from .parser import parse_batch, parse_demo, parse_images

    if words[:1] == ["batch"]:
        from .batch.batch import run_batch

        return run_batch(parse_batch(words[1:]))
    if words[:1] != ["demo"]:
        return _run(parse_images(words))
    values = parse_demo(words[1:])
    return _run({**values, **_puppets(values)})


def _puppets(values: dict[str, Any]) -> dict[str, Any]:
    """Draw the demo's puppets, and return the options that say where they are."""
    from ..demo.pair import write_pair
    from .job import EMBEDDED

    out = values["out"]
    if out.exists() and not out.is_dir():
        raise ValueError(f"out: {out} is a file, needs a folder")
    images, poses = write_pair(out / "inputs")
    # the flow transformer has no ControlNet
    poses = poses if values["model"] == EMBEDDED else []
    return {"images": images, "pose": poses, "out": out / "run"}


def _run(values: dict[str, Any]) -> int:
    from .job import Job
    from .run import run

    job = Job.of(values)
    job.path()
    page = run(job)
    _print(f"{job.output.frames} frames in {job.output.out / 'frames'}; open {page}")
    return 0


def _print(text: str) -> None:
    """Print text with paths, of which the encoding of a Windows pipe may lack characters."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _fail(text: str, status: int = 1) -> int:
    print(f"{PROGRAM}: {' '.join(text.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
