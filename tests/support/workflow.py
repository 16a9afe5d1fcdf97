"""Saved workflows of ComfyUI's front end: held to the nodes' schemas, and made into prompts of the
API.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from comfy_host import Prompt

Workflow = dict[str, Any]
Schemas = dict[str, dict[str, Any]]
"""What a server says under `/object_info`."""

NOTES = {"Note", "MarkdownNote"}
REROUTE = "Reroute"
TITLE = 30
"""Pixels that a node's title takes above its `pos`."""

_WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
_ACTIVE, _MUTED = 0, 2
_AFTER_GENERATE = ["fixed", "increment", "decrement", "randomize", "increment-wrap"]


class WorkflowError(ValueError):
    """A workflow does not fit the nodes of the server."""


@dataclass(frozen=True)
class Field:
    """An input of a node as its schema has it."""

    name: str
    kind: str
    options: dict[str, Any]
    choices: list[Any]
    required: bool

    @property
    def is_widget(self) -> bool:
        return self.kind in _WIDGETS and not self.options.get("forceInput")

    @property
    def extra(self) -> str:
        """The name of the value that the front end saves behind this one, if it saves one."""
        if self.options.get("control_after_generate"):
            return "control_after_generate"
        return "upload" if self.options.get("image_upload") else ""

    def check(self, value: Any) -> str:
        """What is wrong with a value, or nothing."""
        if self.kind == "COMBO":
            return "" if value in self.choices else f"not one of {self.choices}"
        want = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}[self.kind]
        if not isinstance(value, want) or isinstance(value, bool) != (self.kind == "BOOLEAN"):
            return f"not of type {self.kind}"
        low, high = self.options.get("min", value), self.options.get("max", value)
        return "" if low <= value <= high else f"not in {low} to {high}"


@dataclass(frozen=True)
class Link:
    """A wire, from an output to an input, both by their places."""

    id: int
    source: int
    output: int
    target: int
    input: int
    kind: str


def fields(schema: dict[str, Any]) -> list[Field]:
    """The inputs of a schema in the order in which the front end makes widgets of them."""
    return [
        _field(name, schema["input"][part][name], part == "required")
        for part in ("required", "optional")
        for name in schema["input_order"].get(part, [])
    ]


def _field(name: str, described: list[Any], required: bool) -> Field:
    kind, options = described[0], described[1] if len(described) > 1 else {}
    if isinstance(kind, list):
        return Field(name, "COMBO", options, kind, required)
    return Field(name, kind, options, options.get("options", []), required)


def nodes(workflow: Workflow) -> dict[int, dict[str, Any]]:
    """The nodes that a run has to do with, by id: no notes, no reroutes, nothing muted."""
    return {
        node["id"]: node
        for node in workflow["nodes"]
        if node["type"] not in NOTES | {REROUTE} and node["mode"] != _MUTED
    }


def links(workflow: Workflow) -> dict[int, Link]:
    return {row[0]: Link(*row) for row in workflow["links"]}


def widget_values(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A node's saved values by name, with those that only the front end has."""
    names = [
        name
        for field in fields(schema)
        if field.is_widget
        for name in (field.name, field.extra)
        if name
    ]
    values = node.get("widgets_values", [])
    if len(values) != len(names):
        raise WorkflowError(f"{_name(node)}: {len(values)} widget values, needs {names}")
    return dict(zip(names, values, strict=True))


def to_prompt(workflow: Workflow, schemas: Schemas) -> Prompt:
    """The prompt that the front end would send; raises `WorkflowError` where nodes do not fit."""
    wires, ours = links(workflow), nodes(workflow)
    prompt = {}
    for number, node in ours.items():
        schema = _schema(node, schemas)
        values = widget_values(node, schema)
        inputs = {name: values[name] for name in _names(schema) if name in values}
        inputs |= {
            name: [str(wire.source), wire.output]
            for name, wire in _wired(workflow, node, schema, wires)
            if wire.source in ours
        }
        _check_complete(node, schema, inputs)
        prompt[str(number)] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def _names(schema: dict[str, Any]) -> list[str]:
    return [field.name for field in fields(schema)]


def _schema(node: dict[str, Any], schemas: Schemas) -> dict[str, Any]:
    if node["mode"] != _ACTIVE:
        raise WorkflowError(f"{_name(node)}: bypassed, which is not understood here")
    if node["type"] not in schemas:
        raise WorkflowError(f"{_name(node)}: the server has no such node")
    return schemas[node["type"]]


def _wired(
    workflow: Workflow, node: dict[str, Any], schema: dict[str, Any], wires: dict[int, Link]
) -> Iterator[tuple[str, Link]]:
    """The inputs of a node that have a wire, which comes from a node that makes something."""
    known = {*_names(schema), *(field.extra for field in fields(schema))}
    for entry in node["inputs"]:
        if entry["name"] not in known:
            raise WorkflowError(f"{_name(node)}: its schema has no input {entry['name']}")
        if entry.get("link") is not None:
            yield entry["name"], _origin(workflow, wires[entry["link"]], wires)


def _origin(workflow: Workflow, wire: Link, wires: dict[int, Link]) -> Link:
    """`wire`, or the one before the reroutes that it comes from."""
    source = next(node for node in workflow["nodes"] if node["id"] == wire.source)
    if source["type"] != REROUTE:
        return wire
    return _origin(workflow, wires[source["inputs"][0]["link"]], wires)


def _check_complete(node: dict[str, Any], schema: dict[str, Any], inputs: dict[str, Any]) -> None:
    missing = [f.name for f in fields(schema) if f.required and f.name not in inputs]
    if missing:
        raise WorkflowError(f"{_name(node)}: nothing for {missing}")


def complaints(workflow: Workflow, schemas: Schemas, free: set[tuple[str, str]]) -> list[str]:
    """What does not fit the schemas: values out of range, wires between other types.

    `free` are the inputs (node type, name) whose values depend on a machine's files.
    """
    found = []
    for node in nodes(workflow).values():
        schema = _schema(node, schemas)
        values = widget_values(node, schema)
        for field in fields(schema):
            if field.is_widget and (node["type"], field.name) not in free:
                wrong = field.check(values[field.name])
                found += [f"{_name(node)}: {field.name} is {wrong}"] if wrong else []
        if values.get("control_after_generate", "fixed") not in _AFTER_GENERATE:
            found.append(f"{_name(node)}: no control_after_generate behind the seed")
    return found + [
        wrong
        for wire in links(workflow).values()
        for wrong in _link_faults(workflow, wire, schemas)
    ]


def _link_faults(workflow: Workflow, wire: Link, schemas: Schemas) -> list[str]:
    """What is wrong with one link: its ends' own notes of it, and the types."""
    by_id = {node["id"]: node for node in workflow["nodes"]}
    source, target = by_id[wire.source], by_id[wire.target]
    output, entry = source["outputs"][wire.output], target["inputs"][wire.input]
    given = schemas[source["type"]]["output"][wire.output]
    [taken] = [f.kind for f in fields(schemas[target["type"]]) if f.name == entry["name"]]
    where = f"link {wire.id} from {_name(source)} to {_name(target)}"
    found = []
    if wire.id not in (output["links"] or []) or entry["link"] != wire.id:
        found.append(f"{where}: its ends do not know it")
    if {given, wire.kind, output["type"]} != {given}:
        found.append(f"{where}: a wire of {wire.kind} from {given}")
    if not (taken == "*" or given in taken.split(",")):
        found.append(f"{where}: {given} into {taken}")
    return found


def overlaps(workflow: Workflow) -> list[tuple[str, str]]:
    """Pairs of nodes that cover each other, titles included."""
    boxes = [(_name(node), box(node)) for node in workflow["nodes"]]
    return [
        (one, other)
        for i, (one, a) in enumerate(boxes)
        for other, b in boxes[i + 1 :]
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]


def box(node: dict[str, Any], expanded: bool = False) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a node as it is, or of one that is `expanded`.

    A collapsed node is a title, at most as wide as the node is otherwise.
    """
    (x, y), (width, height) = node["pos"], node["size"]
    below = height if expanded or not node["flags"].get("collapsed") else 0
    return x, y - TITLE, x + width, y + below


def opening_zoom(workflow: Workflow, screen: tuple[int, int]) -> float:
    """The zoom at which newer front ends open a template on a screen, whatever view it has.

    They fit its nodes, and 10 pixels around these, into three quarters of the screen (`fitView`
    and `fitToBounds` of the front end). Nodes 2.0 takes collapsed nodes for expanded ones then,
    so the canvas renderer may open a template with these at a higher zoom.
    """
    corners = [box(node, expanded=True) for node in workflow["nodes"]]
    left, top, right, bottom = zip(*corners, strict=True)
    size = max(right) - min(left) + 20, max(bottom) - min(top) + 20
    return 0.75 * min(pixels / length for pixels, length in zip(screen, size, strict=True))


def groups_around(workflow: Workflow, node: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups that all of a node stands in."""
    left, top, right, bottom = box(node)
    return [
        group
        for group in workflow["groups"]
        if group["bounding"][0] < left < right < sum(group["bounding"][::2])
        and group["bounding"][1] < top < bottom < sum(group["bounding"][1::2])
    ]


def backward_links(workflow: Workflow) -> list[str]:
    """Wires to a group further left, and, among groups one above the other, neither right nor down.

    Every node stands in one group.
    """
    by_id = {node["id"]: node for node in workflow["nodes"]}
    return [
        f"{_name(by_id[wire.source])} to {_name(by_id[wire.target])}"
        for wire in links(workflow).values()
        if _leads_back(workflow, by_id[wire.source], by_id[wire.target])
    ]


def _leads_back(workflow: Workflow, source: dict[str, Any], target: dict[str, Any]) -> bool:
    here, there = (groups_around(workflow, node)[0]["bounding"][0] for node in (source, target))
    (x, y), (target_x, target_y) = source["pos"], target["pos"]
    return there < here or (there == here and target_x <= x and target_y <= y)


def _name(node: dict[str, Any]) -> str:
    return f"node {node['id']} ({node['type']})"
