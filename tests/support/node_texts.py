"""What users read of our nodes, as a server says it, in the form of `locales/<lang>/nodeDefs.json`.

Run as a script, it writes the English file.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from comfy_host import CHECKOUT, Server, find_host, why_not

PACK = "comfyui-diffusion-interpolation"
"""The folder in which a `Server` has this checkout."""

LOCALES = CHECKOUT / "locales"
FILE = "nodeDefs.json"


def our_nodes(server: Server) -> dict[str, dict[str, Any]]:
    """How the server describes the nodes of this checkout, by id."""
    nodes = server.object_info().items()
    return {name: info for name, info in nodes if info["python_module"] == f"custom_nodes.{PACK}"}


def inputs_of(info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of each input of a node, by name and in order."""
    kinds = (info["input"].get(kind, {}) for kind in ("required", "optional"))
    return {name: (spec[1:] or [{}])[0] for inputs in kinds for name, spec in inputs.items()}


def outputs_of(info: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Name and tooltip of each output of a node."""
    names = info["output_name"]
    return list(zip(names, info["output_tooltips"] or [None] * len(names), strict=True))


def texts_of(info: dict[str, Any]) -> dict[str, Any]:
    """The texts of a node: dots in keys would be underscores, outputs are counted from 0."""
    inputs = {
        name.replace(".", "_"): _texts(options.get("display_name") or name, options.get("tooltip"))
        for name, options in inputs_of(info).items()
    }
    outputs = {str(i): _texts(*output) for i, output in enumerate(outputs_of(info))}
    texts = {"display_name": info["display_name"], "description": info["description"]}
    return texts | {"inputs": inputs} | ({"outputs": outputs} if outputs else {})


def _texts(name: str, tooltip: str | None) -> dict[str, str]:
    return {"name": name} | ({"tooltip": tooltip} if tooltip else {})


def read(language: str, file: str = FILE) -> dict[str, Any]:
    return json.loads((LOCALES / language / file).read_text(encoding="utf-8"))


def main() -> None:
    if reason := why_not():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as folder, Server(find_host(), Path(folder)) as server:
        texts = {name: texts_of(info) for name, info in our_nodes(server).items()}
    place = LOCALES / "en" / FILE
    place.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(texts, indent=2, ensure_ascii=False) + "\n"
    place.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
