from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from diffusion_interpolation.command.run_folder import RunFolder
from diffusion_interpolation.files import replacing, write_whole
from diffusion_interpolation.method.choice.candidates import Frame
from diffusion_interpolation.method.frame_info import FrameInfo
from diffusion_interpolation.method.learning.inversion import Inversion
from diffusion_interpolation.models.conditioning_file import (
    MadeFor,
    is_savable,
    load_inversion,
    save_inversion,
)
from diffusion_interpolation.models.prompts import KeyframePrompts, PromptEmbeddings

SETTINGS = {"seed": 1, "size": (8, 8), "levels": [0.55, 0.3]}


def _frame(index: int) -> Frame:
    generator = torch.Generator().manual_seed(index)
    latent = torch.randn(4, 2, 2, generator=generator)
    picture = torch.rand(3, 8, 8, generator=generator)
    return Frame(_info(index), latent, picture)


def _info(index: int) -> FrameInfo:
    return FrameInfo(
        index, index / 4, 1, (0, 4), first=2, count=2, scores=(0.25, 0.5), candidate=3, picked=True
    )


def _folder(place, frames: int = 5, **changes) -> RunFolder:
    return RunFolder(place / "run", frames, SETTINGS | changes)


def test_what_is_saved_is_found_again(tmp_path):
    first = _folder(tmp_path)
    first.open()
    first.save(_frame(2))
    again = _folder(tmp_path)
    again.open()
    assert list(again.latents()) == [2]
    assert torch.equal(again.latents()[2], _frame(2).latent)
    assert again.info(2) == _info(2)
    assert again.frame(2).name == "002.png"
    assert not list(tmp_path.rglob(".*.new"))


def test_candidates_are_kept_beside_their_frame(tmp_path):
    folder = _folder(tmp_path)
    folder.open()
    small = torch.zeros(3, 8, 8, 3, dtype=torch.uint8)
    folder.save(replace(_frame(2), thumbnails=small))
    folder.save(_frame(1))
    assert folder.strips() == [None, None, folder.path / "candidates/002.jpg", None, None]
    with Image.open(folder.strips()[2]) as strip:
        assert strip.size == (24, 8)


def test_a_frame_without_its_picture_is_not_finished(tmp_path):
    folder = _folder(tmp_path)
    folder.open()
    folder.save(_frame(2))
    folder.frame(2).unlink()
    assert folder.latents() == {}


def test_the_record_of_a_finished_run_survives_going_on(tmp_path):
    folder = _folder(tmp_path)
    folder.open()
    folder.write_record({"finished": True, "seconds": {"frames": 1.5}})
    folder.open()
    record = json.loads((folder.path / "path.json").read_text())
    assert record["finished"] and record["settings"]["seed"] == 1


def test_other_settings_are_named_with_both_values(tmp_path):
    first = _folder(tmp_path)
    first.open()
    first.save(_frame(2))
    with pytest.raises(
        ValueError, match=r"\(seed: 1 there, 2 now\); choose another --out, or --ov"
    ):
        _folder(tmp_path, seed=2).open()
    assert list(first.latents()) == [2]


def test_a_run_that_made_nothing_yet_may_change_its_settings(tmp_path):
    _folder(tmp_path).open()
    _folder(tmp_path, seed=2).open()
    record = json.loads((tmp_path / "run" / "path.json").read_text())
    assert record["settings"]["seed"] == 2


def test_leftovers_of_a_stopped_write_are_no_obstacle(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".path.json.new").write_text("{")
    _folder(tmp_path).open()
    assert (tmp_path / "run" / "path.json").is_file()


def test_a_failed_write_leaves_the_old_file_and_names_it(tmp_path):
    file = tmp_path / "a"
    write_whole(file, b"old")
    with pytest.raises(OSError) as caught, replacing(file) as unfinished:
        unfinished.write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(file)
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_clearing_removes_a_run_and_nothing_else(tmp_path):
    folder = _folder(tmp_path)
    folder.open()
    folder.save(_frame(2))
    mine = folder.path / "frames" / "best.png"
    mine.write_text("kept")
    other = _folder(tmp_path, seed=2)
    other.clear()
    other.open()
    assert mine.read_text() == "kept" and not folder.frame(2).exists()
    assert other.latents() == {}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "path.json").write_text('{"path": "not ours"}')
    with pytest.raises(ValueError, match="is no record of a run"):
        RunFolder(tmp_path / "other", 5, SETTINGS).clear()


def test_folders_with_other_things_are_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds other things than a run"):
        _folder(tmp_path).open()
    (tmp_path / "run" / "path.json").write_text("{")
    with pytest.raises(ValueError, match=r"path\.json cannot be read"):
        _folder(tmp_path).open()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file, needs a folder"):
        RunFolder(tmp_path / "file", 5, SETTINGS).open()


def test_a_damaged_latent_is_named(tmp_path):
    folder = _folder(tmp_path)
    folder.open()
    folder.save(_frame(2))
    file = folder.path / "latents" / "002.safetensors"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"002\.safetensors cannot be read; remove it"):
        folder.latents()


def test_numbers_are_wide_enough_to_sort(tmp_path):
    folder = _folder(tmp_path, frames=1025)
    names = [folder.frame(index).name for index in range(1025)]
    assert names == sorted(names) and names[-1] == "1024.png"


@pytest.mark.parametrize("pooled", [False, True])
def test_a_conditioning_goes_there_and_back(tmp_path, pooled):
    torch.manual_seed(0)
    rows = [
        PromptEmbeddings(torch.randn(n, 3, 4), torch.randn(n, 2) if pooled else None)
        for n in (2, 1)
    ]
    file = tmp_path / "c.safetensors"
    made_for = MadeFor(4.0, "a model", ["a"], "b")
    save_inversion(file, Inversion(*rows, {0: 1.5, 10: 0.5}), made_for)
    loaded, read = load_inversion(file)
    assert read == made_for and loaded.losses == {0: 1.5, 10: 0.5}
    assert torch.equal(loaded.positive.embeddings, rows[0].embeddings)
    assert torch.equal(loaded.negative.embeddings, rows[1].embeddings)
    assert (loaded.positive.pooled is not None) == pooled
    if pooled:
        assert torch.equal(loaded.negative.pooled, rows[1].pooled)


def _inversion(extras: Any = None, of_negative: Any = None) -> Inversion:
    return Inversion(
        PromptEmbeddings(torch.ones(2, 3, 4), None, extras),
        PromptEmbeddings(torch.zeros(1, 3, 4), None, of_negative),
        {0: 1.0},
    )


def test_what_goes_with_a_prompt_goes_there_and_back(tmp_path):
    """Tensors too, at any depth, under names that others have, and one that is there twice."""
    twice = torch.arange(3, dtype=torch.int32)
    extras = {
        "states": twice,
        "list": [torch.zeros(0, 2), {"again": twice, "half": torch.ones(2).half()}],
        "list.0": torch.tensor(True),
        "sizes": {"width": 512, "guidance": 3.5, "name": "a", "none": None, "on": True},
    }
    file = tmp_path / "c.safetensors"
    save_inversion(file, _inversion(extras, {"t": twice[::2].view(2)}), MadeFor())
    loaded, _ = load_inversion(file)
    assert loaded.positive.embeddings.unique().tolist() == [1.0]
    assert repr(loaded.positive.extras) == repr(extras)
    assert repr(loaded.negative.extras) == repr({"t": twice[::2]})


def test_prompts_of_several_lengths_go_there_and_back(tmp_path):
    parts = [
        PromptEmbeddings(
            torch.full((rows, tokens, 4), tokens), None, {"tokens": torch.ones(tokens)}
        )
        for rows, tokens in ((2, 3), (1, 5))
    ]
    file = tmp_path / "c.safetensors"
    learned = Inversion(KeyframePrompts(tuple(parts)), _inversion().negative, {})
    save_inversion(file, learned, MadeFor())
    loaded, _ = load_inversion(file)
    assert len(loaded.positive) == 3 and len(loaded.positive.parts) == 2
    for got, want in zip(loaded.positive.parts, parts, strict=True):
        assert torch.equal(got.embeddings, want.embeddings)
        assert torch.equal(got.extras["tokens"], want.extras["tokens"])
    assert loaded.negative.extras is None


def test_what_no_file_can_hold_is_told_apart(tmp_path):
    assert is_savable({"a": [1, 2.5, "b", None, (torch.ones(1),)]})
    for value in (object(), [object()], {"a": object()}, {1: 2}):
        assert not is_savable(value)
    with pytest.raises(TypeError):
        save_inversion(tmp_path / "c.safetensors", _inversion({"a": object()}), MadeFor())
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_command_as_it_once_wrote_them(tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "c.safetensors"
    tensors = {
        "positive.embeddings": torch.ones(2, 3, 4),
        "negative.embeddings": torch.zeros(1, 3, 4),
    }
    facts = {"prompts": ["a"], "negative": "b", "cfg": 4.0, "model": "demo"}
    save_file(tensors, file, {"losses": "{}", "made_for": json.dumps(facts)})
    assert load_inversion(file)[1] == MadeFor(4.0, "demo", ["a"], "b")


@pytest.mark.parametrize(
    "metadata",
    [
        {"losses": "[1]"},
        {"losses": "{"},
        {"losses": "{}", "made_for": '{"positive": {"a": {"tensor ": "none"}}}'},
        {"losses": "{}", "made_for": "[]"},
    ],
)
def test_a_damaged_record_is_named(tmp_path, metadata):
    from safetensors.torch import save_file

    file = tmp_path / "c.safetensors"
    tensors = {
        "positive.embeddings": torch.ones(2, 3, 4),
        "negative.embeddings": torch.zeros(1, 3, 4),
    }
    save_file(tensors, file, metadata)
    with pytest.raises(ValueError, match=r"conditioning: .*c\.safetensors is damaged"):
        load_inversion(file)


def test_other_files_are_no_conditioning(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("nothing")
    for name, words in (
        ("other", "holds none"),
        ("text", "cannot be read"),
        ("missing", "cannot be read"),
    ):
        with pytest.raises(ValueError, match=f"conditioning: .*{words}"):
            load_inversion(tmp_path / f"{name}.safetensors")
