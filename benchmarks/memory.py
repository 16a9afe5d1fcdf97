"""Does a long path need more memory than a short one? `python benchmarks/memory.py`

Each run is the whole command in a process of its own, on the embedded model: denoising, files,
animation, film and page. `peak` is the highest resident memory, as the kernel counted it. `held` is
what it grows by for each further frame, in pictures of that frame (float32): 1 means that every
picture is kept until the end. The command fails above 0.5; the WebP grows in memory, packed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.puppets import SIZE
from support.report import parser, publish

from diffusion_interpolation.command.job import EMBEDDED_MODELS

PICTURE = 3 * SIZE * SIZE * 4 / 2**20
"""MiB of a frame's picture in float32."""
LIMIT = 0.5
FEWEST = 250
"""More frames than this are needed between two runs: less memory than theirs is noise."""
COMMAND = (
    "import resource, sys; from diffusion_interpolation.command.cli import main; "
    "status = main(sys.argv[1:]); "
    "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(status)"
)


def peak(frames: int, steps: int, device: str, model: str) -> tuple[float, float]:
    """Return (peak MiB, seconds) of the demo with `frames` frames."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["demo", "--out", folder, "--frames", frames, "--steps", steps]
        words += ["--inversion-steps", 2, "--device", device, "--model", model]
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *map(str, words)], capture_output=True, text=True
        )
        seconds = time.perf_counter() - begun
        if done.returncode:
            raise RuntimeError(done.stderr)
        assert len(list(Path(folder).rglob("frames/*.png"))) == frames
    # the kernel counts in KiB on Linux
    return int(done.stdout.split("PEAK")[1]) / 1024, seconds


def held(first: tuple[int, float], second: tuple[int, float]) -> float:
    """Return the pictures that stay in memory for each frame, of two runs' (frames, peak MiB)."""
    return (second[1] - first[1]) / (second[0] - first[0]) / PICTURE


def main() -> None:
    options = parser(__doc__, EMBEDDED_MODELS)
    options.add_argument("--frames", type=int, nargs="+", default=[17, 1025])
    options.add_argument("--steps", type=int, default=8)
    args = options.parse_args()
    first, kept, rows = None, 0.0, []
    for frames in args.frames:
        memory, seconds = peak(frames, args.steps, args.device, args.model)
        row = {"frames": frames, "peak, MiB": memory, f"held, wanted <= {LIMIT}": "-"}
        if first is None:
            first = frames, memory
        else:
            row[f"held, wanted <= {LIMIT}"] = held(first, (frames, memory))
            if frames - first[0] >= FEWEST:
                kept = max(kept, held(first, (frames, memory)))
        rows.append(row | {"seconds": seconds})
    publish(rows, args.json)
    if kept > LIMIT:
        raise SystemExit(f"{kept:.2f} pictures stay in memory for each frame, wanted <= {LIMIT}")


if __name__ == "__main__":
    main()
