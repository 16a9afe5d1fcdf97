"""Reads the paths of a batch: lines of JSON or CSV, or folders of pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...options import Option
from ..job import DETECT, Job, defaults_of
from ..parser import read_value, unknown_option
from ..trouble import UsageError
from .report import OVERVIEW, REPORT

SEPARATOR = ";"
"""Between the values of one cell of a CSV file, where an option takes several."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_OPTIONS = {one.name: one for part in Job.parts() for one in part.options()}
_FILES = ("images", "pose")
_DECISIVE = ("model", "match")
"""Options on which the defaults of others depend."""


@dataclass(frozen=True)
class Listed:
    """One path of a batch: the options that its line gives, and where that line is."""

    name: str
    values: Mapping[str, Any]
    place: str

    def job(self, common: Mapping[str, Any], out: Path) -> Job:
        """Return the job in a folder of `out`, with `common` options where the line gives none.

        Raises `ValueError` for options that cannot be run, `UsageError` for those that are none.
        """
        if "out" in self.values:
            raise ValueError(
                f"out: got {self.values['out']}, needs no such option; name is its name"
            )
        given = {key: _value(key, value) for key, value in self.values.items() if key != "name"}
        decisive = {name: given.get(name, common[name]) for name in _DECISIVE}
        values = {**defaults_of(**decisive), **_changed(common), **decisive, **given}
        return Job.of({**values, "out": out / self.name})


def read_jobs(source: Path) -> list[Listed]:
    """Return the paths in `source`.

    Raises `ValueError` for a file that is not there or holds none, for a line that cannot be read,
    and for a name that comes twice.
    """
    if source.is_dir():
        found = list(_in_folders(source))
    elif not source.is_file():
        raise ValueError(f"jobs: got {source}, needs a .jsonl file, a .csv file or a folder")
    else:
        lines = _of_csv(source) if source.suffix.lower() == ".csv" else _of_json(source)
        found = [_listed(source, number, values) for number, values in lines]
    if not found:
        raise ValueError(f"jobs: {source} holds no paths, needs at least one")
    _check_names(found)
    return found


def _in_folders(source: Path) -> Iterator[Listed]:
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        images = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
        if images:
            yield Listed(folder.name, {"images": images}, str(folder))


def _of_json(source: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(_text(source).splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise ValueError(f"jobs: line {number} of {source} is no JSON ({error})") from None
        if not isinstance(values, dict):
            raise ValueError(f"jobs: line {number} of {source} is no JSON object")
        yield number, values


def _of_csv(source: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.DictReader(_text(source).splitlines(), restkey="", strict=True)
    for row in _readable(rows, source):
        if "" in row:
            raise ValueError(
                f"jobs: line {rows.line_num} of {source} has more cells than the first line"
            )
        filled = {key.strip(): cell.strip() for key, cell in row.items() if cell and cell.strip()}
        if filled:
            yield rows.line_num, filled


def _readable(rows: csv.DictReader, source: Path) -> Iterator[dict[str, Any]]:
    try:
        yield from rows
    except csv.Error as error:
        raise ValueError(
            f"jobs: line {rows.reader.line_num} of {source} cannot be read ({error})"
        ) from None


def _text(source: Path) -> str:
    try:
        return source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"jobs: {source} is no UTF-8 ({error})") from None


def _listed(source: Path, number: int, values: Mapping[str, Any]) -> Listed:
    """Return the path of a line; its files are looked for beside the list."""
    values = dict(values)
    for key in _FILES:
        if key in values:
            try:
                words = [str(word).strip() for word in _several(key, values[key])]
            except UsageError as error:
                raise ValueError(f"jobs: line {number} of {source}: {error}") from None
            values[key] = [Path(w) if w == DETECT else source.parent / w for w in words]
    images = values.get("images") or []
    ends = (images[0].stem, images[-1].stem) if images else (str(number),)
    name = str(values.get("name") or "-to-".join(ends))
    if Path(name).name != name or name.lower() in ("..", REPORT, OVERVIEW):
        raise ValueError(
            f"jobs: line {number} of {source}: name is {name!r}, needs that of a folder for it"
        )
    return Listed(name, values, f"line {number} of {source}")


def _check_names(listed: list[Listed]) -> None:
    seen: dict[str, str] = {}
    for one in listed:
        # Windows and macOS take both for one
        if (other := seen.setdefault(one.name.lower(), one.place)) != one.place:
            raise ValueError(
                f"jobs: {one.place} has the name {one.name} of {other}; give one another name"
            )


def _changed(common: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that differ from the defaults of their model and of `match`."""
    defaults = defaults_of(**{name: common[name] for name in _DECISIVE})
    known = {key: value for key, value in common.items() if key in defaults}
    return {key: value for key, value in known.items() if value != defaults[key]}


def _value(key: str, value: Any) -> Any:
    """Return an option's value as the command has it, from one of JSON or a cell."""
    if key not in _OPTIONS:
        raise UsageError(unknown_option(f"--{key}", list(_OPTIONS)))
    one = _OPTIONS[key]
    if isinstance(one.default, list):
        return _several(key, value)
    if one.type is bool:
        return _yes(one, value)
    return read_value(one, str(value))


def _several(key: str, value: Any) -> list[Any]:
    """Return the values of an option that takes several; paths stay what they are."""
    given = value.split(SEPARATOR) if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(one, (str, Path)) for one in given):
        raise UsageError(f"{key}: got {value!r}, needs a list of texts")
    return given


def _yes(one: Option, value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise UsageError(f"{one.name}: got {value!r}, needs true or false")
    return str(value).lower() == "true"
