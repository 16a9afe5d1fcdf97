"""What became of the paths of a batch: `report.json`, and a page over all of them."""

from __future__ import annotations

import html
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from ...files import write_whole

REPORT, OVERVIEW = "report.json", "index.html"


@dataclass(frozen=True)
class Outcome:
    """What became of a path: `finished`, or `failed` with what is wrong in one sentence."""

    name: str
    state: str
    seconds: float = 0.0
    frames: int = 0
    error: str = ""


def write_report(out: Path, outcomes: list[Outcome]) -> None:
    """Write both files for all paths that have come to an end."""
    text = json.dumps([asdict(outcome) for outcome in outcomes], indent=1)
    write_whole(out / REPORT, text.encode())
    write_whole(out / OVERVIEW, _page(outcomes).encode())


def _page(outcomes: list[Outcome]) -> str:
    """A grid of the paths' own pages, which a browser loads as they come into view."""
    finished = [outcome.name for outcome in outcomes if outcome.state == "finished"]
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    return _PAGE.format(
        title=f"{len(finished)} paths",
        paths="\n".join(map(_path, finished)),
        failures="\n".join(_failure(outcome) for outcome in failed),
    )


def _path(name: str) -> str:
    shown, page = html.escape(name, quote=True), f"{quote(name)}/index.html"
    return (
        f'<figure><iframe src="{page}" title="{shown}" loading="lazy"></iframe>'
        f'<figcaption><a href="{page}">{shown}</a></figcaption></figure>'
    )


def _failure(outcome: Outcome) -> str:
    return f"<p>{html.escape(outcome.name)}: {html.escape(outcome.error)}</p>"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
body {{ margin: 24px; font: 15px/1.5 system-ui, sans-serif; }}
main {{ display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(360px, 1fr)); }}
figure {{ margin: 0; }}
iframe {{ width: 100%; height: 560px; border: 1px solid #8884; border-radius: 8px; }}
</style>
</head>
<body>
<h1>{title}</h1>
<main>
{paths}
</main>
{failures}
</body>
</html>
"""
