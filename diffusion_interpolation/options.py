"""Options that are written once, as fields of a dataclass: type, default, range and help.

The inputs of nodes, the options of the command, `path.json` and the checks are made from them. So
this module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from numbers import Integral, Real
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

_KEY = "option"
R = TypeVar("R", bound="Record")


@dataclass(frozen=True)
class Option:
    """One option, as everything that shows it to a user reads it.

    `help` is the tooltip of an input and the help of the command. `min` and `max` are the range of
    a number, both included; `step` and `round` are those of its widget. An `advanced` option is one
    that few users change: its input may be hidden, or left out of a prompt. `new_each_run` says
    whether a front end may draw another value of a seed for each run. In the command's help,
    `metavar` stands for the value and `shown` for the default. `identity` says that runs of the
    command with other values make other frames, so that `path.json` has it.
    """

    help: str
    min: float | None = None
    max: float | None = None
    step: float | None = None
    round: float | None = None
    advanced: bool = False
    new_each_run: bool | None = None
    metavar: str = ""
    shown: str = ""
    identity: bool = True
    name: str = ""
    type: Any = None
    default: Any = None

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that an option has which is one of several words; otherwise none."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    def fault(self, value: Any) -> str:
        """Say what is wrong with a value that is no choice, no number, or out of range."""
        if value is None and self.default is None:
            return ""
        needs, got = self._needs(value), repr(value) if isinstance(value, str) else value
        return f"{self.name}: got {got}, needs {needs}" if needs else ""

    def _needs(self, value: Any) -> str:
        """What a wrong value should be; empty for a right one."""
        if self.choices:
            return "" if value in self.choices else f"one of {', '.join(self.choices)}"
        if self.type is int and not isinstance(value, Integral):
            return "a whole number"
        if self.type is float and not isinstance(value, Real):
            return "a number"
        low, high = self.min, self.max
        # NaN is in no range
        if (low is None or low <= value) and (high is None or value <= high):
            return ""
        return f"{low} or more" if high is None else f"{low} to {high}"


def option(default: Any, help: str, **more: Any) -> Any:
    """Return a field of a `Record` that is an option; `more` are the fields of `Option`.

    `default` is a value, or a function that makes one, such as `list`.
    """
    metadata = {_KEY: Option(help, **more)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Record:
    """Base of dataclasses whose fields are options.

    A field that was not made by `option` is for callers of the library alone.
    """

    @classmethod
    def of(cls: type[R], values: Mapping[str, Any], prefix: str = "") -> R:
        """Return a record of those `values` that it has fields for, whatever else is in them.

        The keys of `values` are names of fields behind `prefix`. A field without a value has its
        default.
        """
        names = [one.name for one in fields(cls) if prefix + one.name in values]
        return cls(**{name: values[prefix + name] for name in names})

    def fault(self) -> str:
        """Say what is wrong with options together that are right alone; empty if nothing is."""
        return ""

    def check(self, prefix: str = "") -> None:
        """Raise `ValueError` for the first fault; `prefix` stands before the option's name."""
        alone = (one.fault(getattr(self, one.name)) for one in options_of(type(self)))
        if fault := next(filter(None, alone), "") or self.fault():
            raise ValueError(prefix + fault)


@cache
def options_of(record: type[Record]) -> tuple[Option, ...]:
    """Return the options of a record in the order of its fields."""
    types = get_type_hints(record)
    found = []
    for one in fields(record):
        if told := one.metadata.get(_KEY):
            default = one.default if one.default_factory is MISSING else one.default_factory()
            kind = _without_none(types[one.name])
            found.append(replace(told, name=one.name, type=kind, default=default))
    return tuple(found)


def _without_none(kind: Any) -> Any:
    """Return `T` for the type `T | None`."""
    rest = [part for part in get_args(kind) if part is not NoneType]
    return rest[0] if NoneType in get_args(kind) else kind


def option_of(record: type[Record], name: str) -> Option:
    """Return the option of a record that has this name; there must be one."""
    return next(one for one in options_of(record) if one.name == name)
