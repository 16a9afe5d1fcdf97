"""Runs the tests of the JavaScript modules that need no browser, and checks their types."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1] / "js"
WEB = Path(__file__).parents[2] / "js"
MODULES = sorted(WEB.rglob("*.js"))
TSC = TESTS / "node_modules" / "typescript" / "bin" / "tsc"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
needs_tsc = pytest.mark.skipif(not TSC.exists(), reason="`npm ci --prefix tests/js` makes it run")

# an extension; after `//!`, what TypeScript has to say of a line, which is otherwise right
EXTENSION = """\
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
const div = document.createElement("div");
app.nothing; //! 'nothing' does not exist on type 'ComfyApp'
app.graph.getNodeById(1);
app.rootGraph.id; //! 'app.rootGraph' is possibly 'undefined'
app.queuePrompt(0, 1);
app.queuePrompt("0"); //! not assignable to parameter of type 'number'
app.registerExtension({ name: "misspelt", nodeCreate() {} }); //! 'nodeCreate' does not exist
app.registerExtension({
  name: "an extension",
  nodeCreated(node) {
    node.addDOMWidget("x", "y", div, { serialize: false });
    node.addDOMWidget(1); //! Expected 3-4 arguments, but got 1
  },
});
api.addEventListener("executed", ({ detail }) => detail.prompt_id);
api.addEventListener("executed", ({ detail }) => detail.nothing); //! 'nothing' does not exist
api.addEventListener("executd", () => {}); //! No overload matches this call
api.addEventListener("diffusion_interpolation.frame", ({ detail }) => detail.index);
"""


def check_types(folder: Path) -> subprocess.CompletedProcess[str]:
    """TypeScript over what the `tsconfig.json` in `folder` includes; its errors are in `stdout`."""
    command = ["node", str(TSC), "--pretty", "false"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@needs_node
@pytest.mark.parametrize("file", sorted(TESTS.glob("*.test.mjs")), ids=lambda file: file.name)
def test_node(file):
    run = subprocess.run(
        ["node", "--test", str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_there_are_tests():
    assert list(TESTS.glob("*.test.mjs"))


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_every_import_is_relative_to_where_the_host_serves_the_file(file):
    """A reverse proxy may serve the host under a sub-path; `/scripts` is then another program's."""
    imported = re.findall(r"""(?:\bfrom|\bimport)\s*\(?\s*["'`]([^"'`]+)""", file.read_text())
    to_scripts = "../" * len(file.relative_to(WEB).parts) + "../scripts/"
    for module in imported:
        own = module.startswith("./") and (file.parent / module).is_file()
        # a type in a comment may be one of the folder above
        own = own or (module.startswith("../") and (file.parent / module).resolve() in MODULES)
        assert own or module in (f"{to_scripts}app.js", f"{to_scripts}api.js"), module
    assert not re.search(r"""["'`(](?:/scripts|/extensions|/api/|/view)""", without_calls(file))


def without_calls(file: Path) -> str:
    """A module without the addresses that go through the front end, which knows the sub-path."""
    return re.sub(r"api\.(?:fetchApi|apiURL)\([^)]*\)", "", file.read_text())


def test_there_are_modules():
    assert any("../../scripts/app.js" in file.read_text() for file in MODULES)


@needs_node
@needs_tsc
def test_types():
    run = check_types(TESTS)
    assert run.returncode == 0, run.stdout + run.stderr


@needs_node
@needs_tsc
def test_wrong_types_are_found(tmp_path):
    folder = tmp_path / "extensions" / "pack"
    folder.mkdir(parents=True)
    config = {
        "extends": str(TESTS / "tsconfig.json"),
        "compilerOptions": {"rootDirs": [str(tmp_path), str(TESTS / "types")]},
        "include": ["extension.js"],
    }
    (folder / "tsconfig.json").write_text(json.dumps(config))
    (folder / "extension.js").write_text(EXTENSION)

    run = check_types(folder)

    found = dict(re.findall(r"^extension\.js\((\d+),\d+\): (.*)$", run.stdout, re.MULTILINE))
    marked = {str(at): line.split("//! ") for at, line in enumerate(EXTENSION.splitlines(), 1)}
    wrong = {at: parts[1] for at, parts in marked.items() if len(parts) == 2}
    assert found.keys() == wrong.keys(), run.stdout
    assert [text for at, text in wrong.items() if text not in found[at]] == []
