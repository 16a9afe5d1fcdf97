"""What the host is running just now: its server, the prompt, and the workflow of that."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from comfy_execution.utils import get_executing_context

from ...diffusion_interpolation.fingerprint import fingerprint

RUN_FOLDER = re.compile(r"interpolation_[0-9a-f]{12}", re.ASCII)
"""The name of a run's folder, as nodes remember it in their workflow."""


def running_server() -> Any:
    """Return the host's server, or None where none runs.

    The module is looked up and not imported, because without a server, as in a benchmark, the
    import takes long or fails.
    """
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def connected_pages() -> frozenset[str]:
    """Return the ids of the pages that are connected with the server."""
    return frozenset(getattr(running_server(), "sockets", ()))


def cause_of_output() -> bytes:
    """Return a fingerprint of the running node with its inputs and all nodes before it.

    Two runs of the same cause are one to the host's cache. A node that another node has put into
    the prompt is known by its id alone.
    """
    context = get_executing_context()
    if context is None:
        return b""
    prompt, before, waiting = _prompt(context.prompt_id), {}, [context.node_id]
    while waiting:
        node_id = waiting.pop()
        node = prompt.get(node_id)
        if node is None or node_id in before:
            continue
        before[node_id] = [node["class_type"], node["inputs"]]
        waiting += [value[0] for value in node["inputs"].values() if _is_link(value)]
    return fingerprint(context.node_id, json.dumps(before, sort_keys=True, default=repr))


def _prompt(prompt_id: str) -> dict[str, Any]:
    """The prompt of this id that runs, empty where there is none."""
    server = running_server()
    running = server.prompt_queue.get_current_queue_volatile()[0] if server else []
    return next((item[2] for item in running if item[1] == prompt_id), {})


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def running_node() -> tuple[str, int]:
    """Return the id of the running node, and its place in a list that it is run for."""
    context = get_executing_context()
    return ("", 0) if context is None else (context.node_id, context.list_index or 0)


def prompt_of(hidden: Any) -> dict[str, Any]:
    """Return the prompt that a node was given as a hidden input, empty where it has none."""
    return getattr(hidden, "prompt", None) or {}


def inputs_of_running(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of the running node in a prompt: values, and links to other nodes."""
    return prompt.get(running_node()[0], {}).get("inputs", {})


def values_of_running(hidden: Any) -> dict[str, Any]:
    """Return the inputs of the running node in the prompt that come from no other node."""
    inputs = inputs_of_running(prompt_of(hidden))
    return {name: value for name, value in inputs.items() if not _is_link(value)}


def workflow_id(hidden: Any) -> str:
    """Return the id of the workflow that runs, by which a page knows whether it shows that one."""
    return str(_workflow(hidden).get("id") or "")


def runs_in_workflow(hidden: Any) -> frozenset[str]:
    """Return the folders of the runs that the nodes of the running workflow remember."""
    return frozenset(RUN_FOLDER.findall(json.dumps(_workflow(hidden), default=repr)))


def _workflow(hidden: Any) -> dict[str, Any]:
    workflow = extra_pnginfo(hidden).get("workflow")
    return workflow if isinstance(workflow, dict) else {}


def extra_pnginfo(hidden: Any) -> dict[str, Any]:
    """Return what a page sent beside the prompt; programs may send anything, or nothing."""
    extra = getattr(hidden, "extra_pnginfo", None)
    return extra if isinstance(extra, dict) else {}
