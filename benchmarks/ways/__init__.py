"""Ways to make a path between pictures. Each module registers its own, so one file adds a way."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .registry import MAKERS, ROWS, Bench, Made, Maker, Task, Way, maker

__all__ = ["MAKERS", "ROWS", "Bench", "Made", "Maker", "Task", "Way", "maker"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
