"""Models of the hub: each is fetched at one commit, which the record of a run names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_hub import FIRST_COMMIT, SECOND_COMMIT, SmallHub, small_hub

from diffusion_interpolation.command.cli import main
from diffusion_interpolation.demo import weights_folder
from diffusion_interpolation.demo.pair import write_pair
from diffusion_interpolation.hub import HubModel, pinned

NAME = "someone/puppets"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    """A hub that has the embedded model, with an empty cache of downloads."""
    from huggingface_hub import constants, hf_api

    with small_hub({NAME: weights_folder()}) as server:
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(hf_api.api, "endpoint", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


def words(folder: Path, model: str) -> list[str]:
    pictures, _ = write_pair(folder / "inputs")
    options = ["--frames", 3, "--steps", 4, "--inversion-steps", 0, "--candidates", 1]
    line = [*pictures, "--out", folder / "out", "--model", model, "--allow-download", *options]
    return [str(word) for word in line]


def test_ids_are_told_from_paths():
    assert HubModel.parse("a/b") == ("a/b", None)
    assert HubModel.parse("a-1/b.c@refs/pr/3") == ("a-1/b.c", "refs/pr/3")
    assert HubModel.parse(f"a/b@{FIRST_COMMIT}").commit == FIRST_COMMIT
    assert HubModel.parse("a/b@main").commit is None
    for path in ("a", "a/b/c", "../b", "/a/b", "a/b@", "a/b@../c"):
        assert HubModel.parse(path) is None, path


def test_a_branch_is_pinned_to_the_commit_that_it_is_now(hub, tmp_path):
    hub.branches["fp16"] = SECOND_COMMIT
    assert pinned("model", NAME) == f"{NAME}@{FIRST_COMMIT}"
    assert pinned("model", f"{NAME}@fp16") == f"{NAME}@{SECOND_COMMIT}"
    asked = len(hub.asked)
    for place in (None, "demo", str(tmp_path), f"{NAME}@{SECOND_COMMIT}"):
        assert pinned("model", place) == place
    assert len(hub.asked) == asked, "a commit and a folder need no look-up"
    with pytest.raises(ValueError, match="controlnet: someone/else cannot be fetched"):
        pinned("controlnet", "someone/else")


def test_a_run_names_the_commit_and_is_not_gone_on_with_by_another(hub, tmp_path, capsys):
    line = words(tmp_path, NAME)
    assert main(line) == 0, capsys.readouterr().err
    settings = json.loads((tmp_path / "out" / "path.json").read_text())["settings"]
    assert settings["model"] == f"{NAME}@{FIRST_COMMIT}"
    files = [path for path in hub.asked if "/resolve/" in path]
    assert files and all(f"/resolve/{FIRST_COMMIT}/" in path for path in files)
    hub.branches["main"] = SECOND_COMMIT
    assert main(line) == 1
    assert "holds a run with other settings (model: " in capsys.readouterr().err
    assert main(words(tmp_path, f"{NAME}@{FIRST_COMMIT}")) == 0


def test_what_was_downloaded_serves_without_a_network(hub, monkeypatch):
    from huggingface_hub import constants, hf_hub_download

    hf_hub_download(NAME, "model_index.json")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert pinned("model", NAME) == f"{NAME}@{FIRST_COMMIT}"
