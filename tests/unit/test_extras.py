"""What the pack installs and imports: nothing that other packs need in another version."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from diffusion_interpolation.extras import OPEN_CLIP, OPENPOSE, install_command, require

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "diffusion_interpolation"
# As popular packs want them: WAS Node Suite (numpy, scikit-image, transformers), those of masks and
# layers (opencv-contrib-python), older ones of depth (timm), and what ComfyUI had beside them.
PINS = {
    **{"numpy": "1.23.5", "scikit-image": "0.20.0", "transformers": "4.26.1"},
    **{"opencv-contrib-python": "4.10.0.84", "timm": "0.6.13", "huggingface-hub": "0.25.2"},
    **{"torch": "2.4.1", "torchvision": "0.19.1", "pillow": "10.4.0", "scipy": "1.10.1"},
    **{"safetensors": "0.4.5", "tqdm": "4.66.5", "PyYAML": "6.0.2", "regex": "2024.9.11"},
    **{"einops": "0.8.0", "filelock": "3.16.1", "av": "14.2.0", "tokenizers": "0.13.3"},
}
SOME_EXTRAS = {"OpenPose": OPENPOSE, "open-clip": OPEN_CLIP}


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which `PINS` are installed, as far as pip can tell."""
    folder = tmp_path_factory.mktemp("pinned")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [python] = [*folder.glob("bin/python"), *folder.glob("Scripts/python.exe")]
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", code], text=True).strip())
    for name, version in PINS.items():
        facts = site / f"{name.replace('-', '_')}-{version}.dist-info"
        facts.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (facts / "METADATA").write_text(text)
        (facts / "RECORD").write_text("")
        (facts / "INSTALLER").write_text("pip\n")
    (site / "cv2.py").write_text("")
    return python


def would_install(python: Path, *words: str) -> set[str]:
    """The packages that pip would put into the environment of `python`."""
    pip = [sys.executable, "-m", "pip", "--python", python]
    options = ["--dry-run", "--quiet", "--report", "-", "--retries", "1", "--timeout", "15"]
    done = subprocess.run(
        [*pip, "install", *options, *words], capture_output=True, text=True, timeout=300
    )
    if done.returncode and re.search(r"(?i)connection|timed out|name resolution", done.stderr):
        pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["install"]
    return {_plain(entry["metadata"]["name"]) for entry in found}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def changed(installed: set[str]) -> list[str]:
    """Which of the pins those replace; every package of OpenCV overwrites another's module."""
    known = {_plain(name) for name in PINS}
    return sorted(name for name in installed if name in known or name.startswith("opencv"))


def test_what_the_pack_requires_changes_no_installed_version(pinned):
    assert changed(would_install(pinned, "-r", str(ROOT / "requirements.txt"))) == []


@pytest.mark.parametrize("name", SOME_EXTRAS)
def test_the_command_for_an_extra_changes_no_installed_version(pinned, name):
    """As the user would type it, who sees it in the error of that Python."""
    code = "import sys; from diffusion_interpolation import extras as e; "
    code += f"print(e.install_command(e.{'OPENPOSE' if name == 'OpenPose' else 'OPEN_CLIP'}))"
    told = subprocess.run(
        [pinned, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    python, *command = shlex.split(told, posix=sys.platform != "win32")
    assert Path(python.strip('"')) == pinned
    assert command[:3] == ["-m", "pip", "install"]
    new = would_install(pinned, *command[3:])
    assert changed(new) == []
    assert SOME_EXTRAS[name].packages[0] in new


def test_opencv_is_installed_only_where_there_is_none(monkeypatch):
    there = install_command(OPENPOSE)
    assert "opencv" not in there and "numpy" not in there and "--no-deps" in there
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert install_command(OPENPOSE).endswith("opencv-python-headless==4.11.0.86")
    assert "opencv" not in install_command(OPEN_CLIP)


def test_a_python_in_a_folder_with_spaces_is_quoted(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/my apps/python")
    assert install_command(OPEN_CLIP).startswith('"/my apps/python" -m pip install --no-deps open')


@pytest.mark.parametrize("name", SOME_EXTRAS)
def test_a_missing_package_is_asked_for_in_one_sentence(monkeypatch, name):
    extra = SOME_EXTRAS[name]
    monkeypatch.setitem(sys.modules, extra.module.split(".")[0], None)
    for module in [m for m in sys.modules if m.startswith("controlnet_aux.")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(ValueError) as refused:
        require("detector", extra)
    message = str(refused.value)
    assert message.startswith(f"detector: {extra.user} needs the package {extra.packages[0]} (")
    assert message.endswith(install_command(extra)) and "\n" not in message


# The library outside of ComfyUI


def third_party(file: Path) -> set[str]:
    """The modules of others that a file imports, at its top or later."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return {name for name in found if name not in sys.stdlib_module_names}


def test_the_extra_cli_brings_all_that_the_library_imports():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and newer read TOML")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = {
        _plain(re.split(r"[^\w.-]", line)[0]) for line in settings["optional-dependencies"]["cli"]
    }
    names = {"PIL": "pillow", "open_clip": "open-clip-torch", "typing_extensions": "torch"}
    names |= dict.fromkeys(("huggingface_hub", "tokenizers"), "transformers")
    used = {name: file for file in LIBRARY.rglob("*.py") for name in third_party(file)}
    # the command has no option for OpenPose
    assert used.pop("controlnet_aux").name == "detection.py"
    # an extra of its own, for many paths
    assert used.pop("ray").parent.name in ("models", "batch")
    missing = {n: f.name for n, f in used.items() if _plain(names.get(n, n)) not in brought}
    assert not missing


def test_the_readme_says_what_the_library_needs():
    """A bare install brings nothing, so that it changes nothing in a ComfyUI."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## As a library")[1].split("\n## ")[0]
    before_code = section.split("```python")[0]
    assert 'pip install ".[cli]"' in before_code
    assert "No module named 'torch'" in before_code


def test_the_command_itself_starts_without_any_package(tmp_path):
    """In a Python that has nothing, it says which extra it needs."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _BARE, str(ROOT)], capture_output=True, text=True
    )
    assert done.stdout.split("\n")[0] == "1"
    assert "No module named 'tyro'" in done.stderr
    assert "the command needs the extra 'cli': pip install \".[cli]\"" in done.stderr


_BARE = """
import sys
sys.path.insert(0, sys.argv[1])
from diffusion_interpolation.command.cli import main
print(main(["demo"]))
"""
