"""Makes nodes of plain functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from comfy_api.latest import io

NODES: list[type[io.ComfyNode]] = []
"""All nodes that `node` has made."""

Function = Callable[..., Any]


def node(
    node_id: str, inputs: Sequence[io.Input], *outputs: io.Output, **schema: Any
) -> Callable[[Function], Function]:
    """Make a node of a function, whose docstring is the node's description.

    The function returns nothing, one value, a tuple of values, or a `NodeOutput`. Where the schema
    asks for hidden inputs, they are the function's first argument.
    """

    def make(function: Function) -> Function:
        class TestNode(io.ComfyNode):
            @classmethod
            def define_schema(cls) -> io.Schema:
                return io.Schema(
                    node_id=node_id,
                    category="interpolation tests",
                    description=" ".join(function.__doc__.split()),
                    inputs=list(inputs),
                    outputs=list(outputs),
                    **schema,
                )

            @classmethod
            def execute(cls, **given: Any) -> io.NodeOutput:
                return _output(function(*([cls.hidden] if "hidden" in schema else []), **given))

        TestNode.__name__ = node_id
        NODES.append(TestNode)
        return function

    return make


def _output(result: Any) -> io.NodeOutput:
    if isinstance(result, io.NodeOutput):
        return result
    if result is None:
        return io.NodeOutput()
    return io.NodeOutput(*result) if isinstance(result, tuple) else io.NodeOutput(result)
