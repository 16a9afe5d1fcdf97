"""The README names what there is: files, nodes, templates and options of the command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diffusion_interpolation.command.job import defaults_of
from diffusion_interpolation.demo import weights_folder
from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.demo.pair import pair
from diffusion_interpolation.demo.world import render
from diffusion_interpolation.pictures import to_image
from diffusion_interpolation.settings import InversionSettings

ROOT = Path(__file__).parents[2]
PAGES = "README.md", "docs/measurements.md"


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return readme().split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("page", PAGES)
def test_every_linked_file_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text)
    files = [one or other for one, other in targets if "://" not in one]
    assert files and not [
        name for name in files if not (ROOT / page).parent.joinpath(name).is_file()
    ]


@pytest.mark.parametrize("page", PAGES)
def test_lines_can_be_read(page):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 130


def test_the_readme_is_short():
    assert len(readme().splitlines()) < 200


def test_all_nodes_are_listed():
    listed = re.findall(r"js/docs/(\w+)\.md", section("Nodes"))
    assert sorted(listed) == sorted(page.stem for page in (ROOT / "js" / "docs").glob("*.md"))


def test_all_templates_are_listed():
    rows = re.findall(r"^\| (`[\w`, ]+`) \|", section("Templates"), re.MULTILINE)
    listed = re.findall(r"`(\w+)`", " ".join(rows))
    assert sorted(listed) == sorted(f.stem for f in (ROOT / "example_workflows").glob("*.json"))


def test_the_example_of_the_library_runs(tmp_path, monkeypatch, capsys):
    """On the embedded model, with fewer frames and steps."""
    [example] = re.findall(r"```python\n(.*?)```", section("As a library"), re.DOTALL)
    for picture, name in zip(render(pair(), SIZE), ("a.png", "b.png"), strict=True):
        to_image(picture).save(tmp_path / name)
    for told, here in {
        "path/to/stable-diffusion-v1-5": str(weights_folder()),
        "cuda": "cpu",
        "FramePath.of(17, 2)": "FramePath.of(3, 2)",
        '[""]))': '[""]), InversionSettings(steps=1))',
    }.items():
        assert told in example
        example = example.replace(told, here)
    monkeypatch.chdir(tmp_path)
    exec(example, {"InversionSettings": InversionSettings})
    # of the frames that are made, there is one
    assert capsys.readouterr().out == "1 0.5 torch.Size([3, 128, 128])\n"


def test_options_are_those_of_the_command():
    defaults = defaults_of("a model of one's own").items()
    known = {f"--{name.replace('_', '-')}": default for name, default in defaults}
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section("The command"))) - {"--help"}
    assert len(told) > 10 and told <= set(known)
    for option in ("--frames", "--candidates", "--inversion-steps"):
        [shown] = re.findall(rf"^\| `{option} N` \|.*\| ([0-9]+) \|$", readme(), re.MULTILINE)
        assert int(shown) == known[option]


def test_the_readme_and_ci_run_the_same_tests():
    command = 'pip install -e ".[test]" && pytest'
    assert command in readme()
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()
