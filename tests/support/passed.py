"""Tells whether parts of the repository are still what they were when their tests last passed.

The tests of the benchmarks, of many paths on a cluster and of the training take minutes and test
code that rarely changes. `pytest` leaves them out while the part that they test is unchanged, and
`pytest --all` runs them. Where all of these have passed, `python tests/support/passed.py` writes
that down in `passed.json`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
RECORD = Path(__file__).with_suffix(".json")
DEMO = "diffusion_interpolation/demo"
PARTS = {
    "benchmarks": (
        "benchmarks/**/*.py",
        "tests/unit/test_benchmarks.py",
        "tests/unit/test_morphbench.py",
        "tests/unit/test_sweep.py",
        "tests/unit/test_ways.py",
        "tests/browser/test_slider_benchmark.py",
    ),
    "many paths": (
        "diffusion_interpolation/command/**/*.py",
        "diffusion_interpolation/models/contract.py",
        "diffusion_interpolation/models/prompts.py",
        "diffusion_interpolation/models/ray_model.py",
        "tests/unit/test_batch.py",
    ),
    "training": (f"{DEMO}/train.py", f"{DEMO}/training/*.py", "tests/unit/test_train.py"),
}
"""Patterns of the files of each part, its tests among them."""


def fingerprint(part: str) -> str:
    """What the files of a part are now."""
    told = hashlib.sha256()
    for file in sorted({file for pattern in PARTS[part] for file in CHECKOUT.glob(pattern)}):
        told.update(file.relative_to(CHECKOUT).as_posix().encode() + b"\0")
        # a checkout may have other ends of lines
        told.update(file.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return told.hexdigest()


def unchanged() -> set[str]:
    """The parts that are what they were when all of their tests passed."""
    passed = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    return {part for part in PARTS if passed.get(part) == fingerprint(part)}


if __name__ == "__main__":
    RECORD.write_text(json.dumps({part: fingerprint(part) for part in PARTS}, indent=1) + "\n")
