"""How long the model took for one latent in the last run of its kind."""

from __future__ import annotations

from collections.abc import Hashable

_SECONDS: dict[Hashable, float] = {}


def remember(kind: Hashable, evaluations: int, seconds: float) -> None:
    """Keep the speed of a run, if the model ran at all."""
    if evaluations:
        _SECONDS[kind] = seconds / evaluations


def expected(kind: Hashable, evaluations: int) -> str:
    """Return the time that a run will take, as 1:05; empty where no run of its kind is known."""
    if kind not in _SECONDS:
        return ""
    minutes, seconds = divmod(max(1, round(_SECONDS[kind] * evaluations)), 60)
    return f"{minutes}:{seconds:02d}"
