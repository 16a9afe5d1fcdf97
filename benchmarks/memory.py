"""Does a long path need more memory than a short one? `python benchmarks/memory.py`

Each run is the whole command in a process of its own, on the embedded model: denoising, files,
animation, film and page. The figure is the peak of its resident memory, as the kernel counted it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import parser, publish

from diffusion_interpolation.command.job import EMBEDDED_MODELS

COMMAND = (
    "import resource, sys; from diffusion_interpolation.command.cli import main; "
    "status = main(sys.argv[1:]); "
    "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(status)"
)


def peak(frames: int, steps: int, device: str, model: str) -> tuple[float, float]:
    """(peak MiB, seconds) of the demo with `frames` frames."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["demo", "--out", folder, "--frames", frames, "--steps", steps]
        words += ["--inversion-steps", 5, "--device", device, "--model", model]
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


def main() -> None:
    options = parser(__doc__, EMBEDDED_MODELS)
    options.add_argument("--frames", type=int, nargs="+", default=[17, 1025])
    options.add_argument("--steps", type=int, default=8)
    args = options.parse_args()
    found = {n: peak(n, args.steps, args.device, args.model) for n in args.frames}
    first = found[args.frames[0]][0]
    rows = [
        {
            "frames": n,
            "peak, MiB": memory,
            "ratio, wanted <= 1.2": memory / first,
            "seconds": seconds,
        }
        for n, (memory, seconds) in found.items()
    ]
    publish(rows, args.json)


if __name__ == "__main__":
    main()
