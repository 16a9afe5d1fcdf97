"""Reads the words of a command line into values of options; tyro knows their grammar."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, UseAppendAction, arg
from tyro.constructors import PrimitiveConstructorSpec

from ..options import Option, Record, option, options_of
from ..presets import MATCHED
from .batch.settings import BatchSettings
from .job import EMBEDDED, OF_MODEL, Job, Part, defaults_of
from .trouble import UsageError

PROGRAM = "diffusion-interpolation"
ABOUT = f"""Make the frames between two or more pictures.

{PROGRAM} demo makes the frames between two drawn puppets (see demo --help).

{PROGRAM} batch makes the frames of many paths (see batch --help).

{PROGRAM} --version prints the version.

An example: {PROGRAM} a.png b.png --model path/to/stable-diffusion --prompt "a dog"
"""
ABOUT_DEMO = """Make the frames between two drawn puppets with an embedded model.

The small Stable Diffusion has a ControlNet for poses; the flow transformer has none.
"""
ABOUT_BATCH = f"""Make the frames of many paths, on one machine or on a Ray cluster.

Options before or after JOBS hold for all paths; those of a line of JOBS hold for its path. A line
has the names of the options, such as {{"images": ["a.png", "b.png"], "prompt": ["a dog"],
"seed": 3}}, and may have a name, which its folder gets. Pictures travel to the workers through Ray,
and results come back the same way. Models are read from a path that all workers must see.

A batch of --max-batch candidates stays on one worker, so that any number of workers makes the very
same frames. A lower --max-batch spreads one path over more workers.

An example: {PROGRAM} batch pairs.jsonl --out paths --model path/to/stable-diffusion --ray auto

Without Ray (pip install ".[cli,ray]"), the paths are made one after the other.
"""
_OF_THE_DEMO = (
    "output",
    "text",
    "learning",
    "sampling",
    "frames",
    "poses",
    "matching",
    "machine",
)


@dataclass(frozen=True)
class DemoSettings(Record):
    """The embedded models."""

    model: Literal["demo", "demo-flow"] = option(
        EMBEDDED, "A small Stable Diffusion, or a small flow transformer."
    )


def parse_images(words: Sequence[str]) -> dict[str, Any]:
    """Return the value of every option of the command."""
    values = _parse(words, Job.parts(), PROGRAM, ABOUT, _defaults(words))
    if values["out"] is None and values["images"]:
        first, *_, last = values["images"] * 2
        values["out"] = Path(f"{first.stem}-to-{last.stem}")
    return values


def parse_demo(words: Sequence[str]) -> dict[str, Any]:
    """Return the value of every option of `demo`, and of the command's others."""
    defaults = {**_defaults(words), "out": Path("demo-out")}
    parts = [Part("demo", DemoSettings)]
    parts += [part for part in Job.parts() if part.field in _OF_THE_DEMO]
    return _parse(words, parts, f"{PROGRAM} demo", ABOUT_DEMO, defaults)


def parse_batch(words: Sequence[str]) -> dict[str, Any]:
    """Return the value of every option of `batch`, and of the command's for all its paths."""
    defaults = {
        **{one.name: one.default for one in options_of(BatchSettings)},
        **_defaults(words),
        "out": Path("paths"),
    }
    parts = [Part("batch", BatchSettings)]
    # a list names the pictures of each path
    parts += [
        part._replace(shared=("images",)) if part.field == "pictures" else part
        for part in Job.parts()
    ]
    return _parse(words, parts, f"{PROGRAM} batch", ABOUT_BATCH, defaults)


def _defaults(words: Sequence[str]) -> dict[str, Any]:
    """Return the default of every option, which may depend on `--model` and `--match`."""
    return defaults_of(_model_in(words), "--match" in words)


def _model_in(words: Sequence[str]) -> str:
    """Return the value of `--model`."""
    found = EMBEDDED
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if word == "--model":
            found = following
        elif word.startswith("--model="):
            found = word.removeprefix("--model=")
    return found


def _parse(
    words: Sequence[str], parts: list[Part], prog: str, about: str, defaults: dict[str, Any]
) -> dict[str, Any]:
    groups = [(part.field, _group(part, defaults)) for part in parts]
    nested = [(name, kind, field(default_factory=kind)) for name, kind in groups]
    parsed, unknown = tyro.cli(
        make_dataclass("Options", nested),
        args=words,
        prog=prog,
        description=about,
        config=(OmitArgPrefixes,),
        return_unknown_args=True,
    )
    given = {n: v for group in vars(parsed).values() for n, v in vars(group).items()}
    if unknown:
        raise UsageError(unknown_option(unknown[0], list(given)))
    # an option that may be repeated has no default while it is read, since words are added to it
    lists = {name: defaults[name] for name, value in given.items() if value == []}
    return {**defaults, **given, **lists}


def unknown_option(word: str, names: list[str]) -> str:
    """Say that a word is no option, and which of `names` it looks like."""
    flags = [_flag(name) for name in names]
    close = difflib.get_close_matches(word.split("=")[0], flags, 1, 0.75)
    return f"{word}: no such option{f'; did you mean {close[0]}?' if close else ''}"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _group(part: Part, defaults: dict[str, Any]) -> type:
    """Return a dataclass of a part's options that says to tyro how each is read and explained."""
    made, about = [], part.record.__doc__.split("\n\n")[0]
    for one in part.options():
        default = defaults[one.name]
        several = isinstance(default, list)
        given = field(default_factory=list) if several else field(default=default)
        made.append((one.name, _annotated(one, default), given))
    return make_dataclass(part.field, made, namespace={"__doc__": about})


def _annotated(one: Option, default: Any) -> Any:
    told = {"help": one.help, "help_behavior_hint": _hint(one, default)}
    if one.metavar:
        told["metavar"] = one.metavar
    if one.type is bool:
        return FlagCreatePairsOff[Annotated[bool, arg(**told)]]
    if one.name == "jobs":
        return Positional[Annotated[Any, _spec(one), arg(**told)]]
    if one.name == "images":
        return Positional[Annotated[one.type, arg(**told)]]
    if one.type == list[str]:
        return UseAppendAction[Annotated[one.type, arg(**told)]]
    if isinstance(default, list):
        return Annotated[one.type, arg(**told)]
    return Annotated[Any, _spec(one), arg(**told)]


def _spec(one: Option) -> PrimitiveConstructorSpec:
    """Return how one word is read as the value of an option."""
    metavar = f"{{{','.join(one.choices)}}}" if one.choices else _METAVARS.get(one.type, "TEXT")
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: read_value(one, words[0]),
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )


def read_value(one: Option, word: str) -> Any:
    """Return the value of an option; raise `UsageError` for another word than it takes."""
    try:
        value = word if one.choices else _CONVERTERS.get(one.type, one.type)(word)
    except ValueError:
        value = word
    if fault := one.fault(value):
        raise UsageError(fault)
    return value


def _size(word: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", word)
    if not found:
        raise UsageError(f"size: got {word!r}, needs WIDTHxHEIGHT, such as 512x512")
    return int(found[1]), int(found[2])


_METAVARS = {int: "N", float: "X"}
_CONVERTERS: dict[Any, Callable[[str], Any]] = {tuple[int, int]: _size}


def _hint(one: Option, default: Any) -> str:
    """Return the default in words, and those with other models or `--match` where they differ."""
    if one.type is bool or one.name == "images":
        return ""
    plain = one.shown or _shown(one.default)
    others: dict[str, list[str]] = {}
    for model, values in OF_MODEL.items():
        if one.name in values:
            others.setdefault(_shown(values[one.name]), []).append(model)
    if one.name in MATCHED:
        others.setdefault(_shown(MATCHED[one.name]), []).append("--match")
    if one.name == "out" and default:
        plain = _shown(default)
    told = [plain, *(f"{value} with {' and '.join(models)}" for value, models in others.items())]
    return f"(default: {'; '.join(told)})"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
