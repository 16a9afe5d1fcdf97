"""Reads the text in which a person chooses candidates, such as `0.5: 3`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

TOLERANCE = 1e-4
"""Largest distance of a pick from its frame; positions are written with four decimals."""

_ENTRY = re.compile(
    r"(?P<position>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*:\s*"
    r"(?:(?P<candidate>[0-9]{1,9})|roll\s*(?P<roll>[0-9]{1,9}))",
    re.IGNORECASE,
)


class Choice(NamedTuple):
    """A candidate by its number, or the best one after `roll` re-rolls."""

    candidate: int | None = None
    roll: int = 0

    def first(self, count: int) -> int:
        """Return the lowest number of the `count` candidates of the frame.

        Roll r has the numbers `r * count ... r * count + count - 1`; a candidate implies its roll.
        """
        roll = self.roll if self.candidate is None else self.candidate // count
        return roll * count

    def __str__(self) -> str:
        return f"roll {self.roll}" if self.candidate is None else str(self.candidate)


class Pick(NamedTuple):
    """A choice for the frame at a position, in keyframes."""

    position: float
    choice: Choice

    def fits(self, position: float) -> bool:
        return abs(self.position - position) <= TOLERANCE

    def __str__(self) -> str:
        return f"{self.position:g}: {self.choice}"


@dataclass(frozen=True)
class Picks:
    """Choices for some frames of a path."""

    entries: tuple[Pick, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Picks:
        """Parse entries such as `0.5: 3, 0.25: roll 1`, with commas, semicolons or newlines.

        Raises `ValueError` for anything else.
        """
        parts = (part.strip() for part in re.split(r"[,;\n]", text))
        return cls(tuple(_read(part) for part in parts if part))

    def at(self, position: float) -> Choice:
        """Return the choice at a position; of entries that disagree, the last one counts."""
        fitting = (pick.choice for pick in reversed(self.entries) if pick.fits(position))
        return next(fitting, Choice())

    def strays(self, positions: Iterable[float]) -> list[Pick]:
        """Return the entries that fit none of `positions`."""
        places = list(positions)
        return [pick for pick in self.entries if not any(map(pick.fits, places))]


NO_PICKS = Picks()


def _read(entry: str) -> Pick:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise ValueError(
            f"picks: got {entry!r}, needs a position and the number of a candidate, as in 0.5: 3, "
            "or new noise there, as in 0.5: roll 1"
        )
    position, candidate, roll = found.group("position", "candidate", "roll")
    if candidate is not None:
        return Pick(float(position), Choice(candidate=int(candidate)))
    return Pick(float(position), Choice(roll=int(roll)))
