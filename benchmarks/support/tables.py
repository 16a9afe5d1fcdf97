"""Tables of records: means with intervals, and differences from one way."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from .distances import frechet_distance
from .records import Record, Run

RESAMPLES = 200
PERCENT = ("joints", "limbs")
"""Figures that are shown in per cent."""

Rows = dict[str, dict[int, Record]]
"""The records of one run, by way and pair."""


def by_run(records: Sequence[Record]) -> dict[Run, Rows]:
    """Return the records of each run, by way and pair."""
    found: dict[Run, Rows] = {}
    for record in records:
        found.setdefault(record.run, {}).setdefault(record.way, {})[record.pair] = record
    return found


def borrow(runs: dict[Run, Rows], names: set[str]) -> None:
    """Give runs with poses the rows of `names`, which have none, from the same runs without poses.

    There, `no poses` is the default.
    """
    for run, rows in runs.items():
        other = runs.get(run._replace(posed=False), {})
        if run.posed and other:
            known = {"no poses": other["default"]} if "default" in other else {}
            known |= {name: other[name] for name in other if name in names}
            runs[run] = rows | {name: known[name] for name in known if name not in rows}


class Comparison:
    """Ways of one run beside one of them, on all pairs that `against` has records of.

    Only ways with records of all these pairs are compared, those of `names` (all) in that order.
    FID is over all pairs at once; its interval is from resampled pairs, which are the same ones for
    all ways. Raises `ValueError` where there are no records of `against`.
    """

    def __init__(self, rows: Rows, against: str, names: Sequence[str] = ()) -> None:
        if against not in rows:
            raise ValueError(f"--against: got {against!r}, needs one of {', '.join(rows)}")
        self.against, pairs = against, sorted(rows[against])
        whole = [name for name in names or rows if set(pairs) <= set(rows.get(name, ()))]
        self.names, self.pairs = whole, len(pairs)
        self._figures = {
            name: [_shown(rows[name][pair].figures) for pair in pairs]
            for name in dict.fromkeys([*whole, against])
        }
        self._fids = {name: fids_of(rows, name, pairs) for name in self._figures}

    def fids(self, name: str) -> dict[str, Fid]:
        """Return FID of a way to the inputs, and to the truth where there are records of it."""
        return self._fids[name]

    def means(self) -> list[dict[str, str]]:
        """Return a row for each way: means with half the width of their 95 % interval."""
        found = []
        for name in self.names:
            figures, fids = self._figures[name], self._fids[name]
            cells = {key: summary([one[key] for one in figures]) for key in figures[0]}
            found.append({"way": name, **{key: str(fid) for key, fid in fids.items()}, **cells})
        return found

    def differences(self) -> list[dict[str, str]]:
        """Return the paired differences from `against`; `*` marks an interval without 0."""
        found, first = [], self._figures[self.against]
        for name in self.names:
            if name == self.against:
                continue
            fids, figures = self._fids[name], self._figures[name]
            cells = {key: fid.less(self._fids[self.against][key]) for key, fid in fids.items()}
            for key in figures[0]:
                pairs = zip(figures, first, strict=True)
                cells[key] = difference([one[key] - other[key] for one, other in pairs])
            found.append({f"less {self.against}": name, **cells})
        return found


def _shown(figures: dict[str, float]) -> dict[str, float]:
    return {
        f"{key}, %" if key in PERCENT else key: 100 * value if key in PERCENT else value
        for key, value in figures.items()
    }


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean and half the width of its 95 % interval."""
    found = torch.tensor(values, dtype=torch.float64)
    half = 1.96 * found.std().item() / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return found.mean().item(), half


def summary(values: Sequence[float]) -> str:
    """Return the mean and half the width of its 95 % interval."""
    mean, half = _mean(values)
    return f"{mean:.4g} ± {half:.2g}"


def difference(values: Sequence[float]) -> str:
    """Return the mean difference and half the width of its interval."""
    mean, half = _mean(values)
    return f"{mean:+.3g} ± {half:.2g}{'*' if abs(mean) > half else ''}"


class Fid(NamedTuple):
    """FID of all pairs' features, and of resampled sets of pairs `(RESAMPLES,)`."""

    value: float
    spread: Tensor

    @classmethod
    def of(cls, real: list[Tensor], made: list[Tensor], seed: int) -> Fid:
        """Measure features `(n, width)` of each pair; equal seeds draw equal sets of pairs."""

        # few pairs are drawn in few ways
        @cache
        def distance(*pairs: int) -> float:
            return frechet_distance(*(torch.cat([x[i] for i in pairs]) for x in (real, made)))

        count = len(real)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(count, (RESAMPLES, count), generator=generator).tolist()
        spread = torch.tensor([distance(*pairs) for pairs in drawn], dtype=torch.float64)
        return cls(distance(*range(count)), spread)

    def __str__(self) -> str:
        """The value, and half of what 95 % of the sets span."""
        low, high = middle(self.spread)
        return f"{self.value:.4g} ± {(high - low) / 2:.2g}"

    def less(self, first: Fid) -> str:
        """Return the difference, and from where to where it is in 95 % of the sets."""
        low, high = middle(self.spread - first.spread)
        sure = "*" if low > 0 or high < 0 else ""
        return f"{self.value - first.value:+.4f} ({low:+.4f} to {high:+.4f}){sure}"


def middle(spread: Tensor) -> tuple[float, float]:
    """Return where the middle 95 % of numbers begin and end."""
    low, high = spread.quantile(torch.tensor([0.025, 0.975], dtype=spread.dtype)).tolist()
    return low, high


def fids_of(rows: Rows, name: str, pairs: Sequence[int]) -> dict[str, Fid]:
    """Return FID of a way to the inputs, and to the truth where there are records of it."""
    made = [rows[name][pair].features for pair in pairs]
    seed = rows[name][pairs[0]].run.seed
    between = [features[1:-1] for features in made]
    found = {"FID": Fid.of([features[[0, -1]] for features in made], between, seed)}
    if set(pairs) <= set(rows.get("truth", ())):
        true = [rows["truth"][pair].features[1:-1] for pair in pairs]
        found["FID to truth"] = Fid.of(true, between, seed)
    return found
