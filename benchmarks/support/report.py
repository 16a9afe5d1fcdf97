"""What every benchmark shares: its options, a table on the screen, figures in a file."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch


def parser(doc: str, models: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Options that every benchmark takes; one of `models` where it runs on any of several."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--seed", type=int, default=0)
    if models:
        made.add_argument(
            "--model", choices=models, default=models[0], help=f"which is measured ({models[0]})"
        )
    return made


def publish(rows: Sequence[Mapping[str, object]], file: Path | None) -> None:
    """Print `rows` as a Markdown table; where `file` is given, write them there as JSON too."""
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print("\n".join(lines))
    if file:
        write_json(rows, file)


def write_json(rows: Sequence[Mapping[str, object]], file: Path) -> None:
    """Write `rows` to a file, and what they were measured with."""
    machine = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    file.write_text(json.dumps({"machine": machine, "rows": list(rows)}, indent=1) + "\n")


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
