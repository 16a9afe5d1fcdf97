"""The ways that a table compares, by name."""

from __future__ import annotations

from collections.abc import Sequence

from .registry import ROWS, Way

USUAL = ("default", "schemes", "equal work", "parts")
"""The sets of rows that the documentation shows."""


def named_ways(model: str, posed: bool, names: Sequence[str] = USUAL) -> dict[str, Way]:
    """Return the ways in sets and single rows of `ROWS`, in that order.

    Rows that do the same as the default, such as another motion of poses without poses, are left
    out. Raises `ValueError` for an unknown name.
    """
    default = Way(posed=posed)
    found = {}
    for name, changes in _chosen(names).items():
        way = default.changed(**{"posed": posed, **changes})
        way = way if posed else way.changed(posed=False, motion=default.motion)
        if name == "default" or way != default:
            found[name] = way
    return found


def row_names() -> list[str]:
    """Return the names of all rows, the default and the paper's first."""
    first = dict.fromkeys(row for name in USUAL for row in ROWS[name])
    return list(first | dict.fromkeys(row for rows in ROWS.values() for row in rows))


def without_poses() -> set[str]:
    """Return the names of the rows that never have poses."""
    return {
        name
        for rows in ROWS.values()
        for name, changes in rows.items()
        if changes.get("posed") is False
    }


def _chosen(names: Sequence[str]) -> dict[str, dict]:
    every = {row: changes for rows in ROWS.values() for row, changes in rows.items()}
    found = {}
    for name in names:
        if name in ROWS:
            found |= ROWS[name]
        elif name in every:
            found[name] = every[name]
        else:
            known = ", ".join(map(repr, [*ROWS, *every]))
            raise ValueError(f"--ways: got {name!r}, needs some of {known}")
    return found
