"""An option is written once: one line in a record, and it is everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import comfy_host
import pytest
from node_texts import texts_of

LINE = '    sharpness: int = option(3, "How sharp the frames are.", min=0, max=9)\n'
BEFORE = "    min_candidates: int = 3\n"
PARTS = "__init__.py", "nodes", "diffusion_interpolation", "benchmarks", "js"
WEIGHTS = Path("diffusion_interpolation", "demo", "weights")
NODE_INFO = """
import json, sys
from pathlib import Path
from support.in_host import load_pack
nodes = load_pack(Path(sys.argv[1]), "cpu")
print(json.dumps(nodes["FrameBisector"].GET_NODE_INFO_V1()))
"""


_ignored = shutil.ignore_patterns("__pycache__", "weights")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout whose `FrameSettings` have one option more."""
    folder = tmp_path_factory.mktemp("changed")
    for name in PARTS:
        source = comfy_host.CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_ignored)
        else:
            shutil.copy(source, folder)
    (folder / WEIGHTS).symlink_to(comfy_host.CHECKOUT / WEIGHTS)
    file = folder / "diffusion_interpolation" / "settings.py"
    text = file.read_text(encoding="utf-8")
    assert text.count(BEFORE) == 1
    file.write_text(text.replace(BEFORE, LINE + BEFORE), encoding="utf-8")
    return folder


def run(folder: Path, *words: object) -> str:
    """Run a Python with the packages of `folder`; return what it prints."""
    places = os.pathsep.join(map(str, (folder, folder / "benchmarks")))
    done = subprocess.run(
        list(map(str, words)),
        env={**os.environ, "PYTHONPATH": places},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_it_is_an_input_of_the_node_and_in_the_english_locale(changed):
    if reason := comfy_host.why_not():
        pytest.skip(reason)
    host = comfy_host.find_host()
    told = run(changed, comfy_host.host_python(host), "-c", NODE_INFO, host)
    info: dict[str, Any] = json.loads(told.splitlines()[-1])
    kind, options = info["input"]["required"]["sharpness"]
    assert kind == "INT" and {"default": 3, "min": 0, "max": 9}.items() <= options.items()
    want = {"name": "sharpness", "tooltip": "How sharp the frames are."}
    assert texts_of(info)["inputs"]["sharpness"] == want


def test_it_is_an_option_of_the_command_and_in_path_json(changed):
    command = sys.executable, "-m", "diffusion_interpolation.command.cli", "demo"
    help_text = run(changed, *command, "--help")
    assert "--sharpness N" in help_text and "How sharp the frames are. (default: 3)" in help_text
    short = "--frames", 3, "--steps", 4, "--candidates", 1, "--inversion-steps", 0
    run(changed, *command, *short, "--out", "out", "--sharpness", 5)
    record = json.loads((changed / "out" / "run" / "path.json").read_text(encoding="utf-8"))
    assert record["settings"]["sharpness"] == 5
