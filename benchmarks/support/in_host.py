"""Runs a benchmark inside a real ComfyUI, by its interpreter, with this checkout's nodes."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
PACK = "diffusion_interpolation_pack"


def add_options(words: argparse.ArgumentParser) -> None:
    """Options of every benchmark that runs inside a host."""
    words.add_argument("--host", type=Path, help="a ComfyUI folder")
    words.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)


def run_inside(script: str, host: Path | None) -> None:
    """Run the same command by the host's interpreter, and exit with its status."""
    sys.path.insert(0, str(CHECKOUT / "tests" / "support"))
    from comfy_host import find_host, host_python, why_not

    if host is None and (reason := why_not()):
        raise SystemExit(reason)
    host = host or find_host()
    # of an option given twice, the last counts
    command = [host_python(host), script, *sys.argv[1:], "--host", str(host), "--inside"]
    raise SystemExit(subprocess.run(command, check=False).returncode)


def load_pack(host: Path, device: str, flags: Sequence[str] = ()) -> dict[str, Any]:
    """Return the nodes of this checkout by id, loaded as the host loads a folder of nodes.

    `flags` are those of the host's own command.
    """
    sys.path.insert(0, str(host))
    sys.argv = ["main.py", *(["--cpu"] if device == "cpu" else []), *flags]
    os.chdir(host)
    import comfy.options

    comfy.options.enable_args_parsing()
    spec = importlib.util.spec_from_file_location(
        PACK, CHECKOUT / "__init__.py", submodule_search_locations=[str(CHECKOUT)]
    )
    pack = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = pack
    spec.loader.exec_module(pack)

    async def classes() -> list[Any]:
        return await (await pack.comfy_entrypoint()).get_node_list()

    return {node.GET_SCHEMA().node_id: node for node in asyncio.run(classes())}
