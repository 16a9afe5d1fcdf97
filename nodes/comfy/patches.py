"""What other nodes have put on a ComfyUI model: their names, and what learning leaves out."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import Any

log = logging.getLogger(__name__)

_SHORTCUTS = ("cache", "compile")
"""In the names of wrappers that are left out when learning: caches give what the network made of
another noise, and compiled networks have no way back that is worth its compilation."""


def without_shortcuts(options: dict[str, Any]) -> dict[str, Any]:
    """Return a model's options without the shortcuts of sampling that prevent learning."""
    options = dict(options)
    wrapper = options.get("model_function_wrapper")
    if wrapper is not None and _is_shortcut(_origin(wrapper)):
        del options["model_function_wrapper"]
    told = dict(options["transformer_options"])
    told["wrappers"] = _kept_wrappers(told.get("wrappers", {}))
    options["transformer_options"] = told
    return options


def plain_copy(patcher: Any) -> Any:
    """A copy of a model without the shortcuts of sampling, which run other code than its own."""
    copy = patcher.clone()
    copy.model_options = without_shortcuts(copy.model_options)
    copy.wrappers = _kept_wrappers(copy.wrappers)
    return copy


def _kept_wrappers(wrappers: dict[str, dict[str | None, list[Any]]]) -> dict[str, Any]:
    """Wrappers by kind and key, without those that are shortcuts."""
    return {
        kind: {key: kept for key, found in by_key.items() if (kept := _kept(key, found))}
        for kind, by_key in wrappers.items()
    }


def _kept(key: str | None, wrappers: list[Any]) -> list[Any]:
    """Return the wrappers of a key that are not such shortcuts."""
    if _is_shortcut(key or ""):
        return []
    return [wrapper for wrapper in wrappers if not _is_shortcut(_origin(wrapper))]


def _is_shortcut(name: str) -> bool:
    return any(word in name.lower() for word in _SHORTCUTS)


def names_of_patches(patcher: Any) -> list[str]:
    """Name the code of everything except weights that other nodes have put on a model."""
    return sorted(set(_names(patcher)))


def _names(patcher: Any) -> Iterator[str]:
    options = patcher.model_options
    told = options.get("transformer_options", {})
    if wrapper := options.get("model_function_wrapper"):
        yield _origin(wrapper)
    for found in (patcher.wrappers, patcher.callbacks, told.get("wrappers", {})):
        for by_key in found.values():
            for wrappers in by_key.values():
                yield from map(_origin, wrappers)
    for patches in told.get("patches", {}).values():
        yield from map(_origin, patches)
    for by_block in told.get("patches_replace", {}).values():
        yield from map(_origin, by_block.values())
    for injections in patcher.injections.values():
        for injection in injections:
            yield _origin(injection.inject)
    yield from map(_origin, patcher.object_patches.values())


def _origin(thing: Any) -> str:
    """Name the class or function that made an object, and its module without the host's paths."""
    if isinstance(thing, functools.partial):
        thing = thing.func
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    module = getattr(named, "__module__", None) or ""
    module = module.replace("\\", "/").split("custom_nodes/")[-1].split("custom_nodes.")[-1]
    return f"{named.__qualname__.split('.')[0]} ({module})"
