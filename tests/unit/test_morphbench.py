"""The field's measures on a user's pairs, on the embedded model."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from morphbench import Judge, Pair, find_pairs, main, measured
from support.distances import inception_features
from support.puppets import SIZE, held_out

from diffusion_interpolation.demo import reranker, world
from diffusion_interpolation.pictures import read_picture, to_image, to_tensor

pytestmark = pytest.mark.part("benchmarks")


def write(folder, names, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in zip(names, world.render(held_out(2, seed), SIZE), strict=True):
        to_image(picture).save(folder / name)


def test_pairs_are_found_in_folders_and_by_names(tmp_path):
    write(tmp_path / "b", ["one.png", "two.jpg"])
    (tmp_path / "b" / "prompt.txt").write_text("a puppet\n\nanother puppet\n")
    write(tmp_path, ["dog_0.png", "dog_1.png"])
    write(tmp_path / "a", ["three.png", "four.webp"])
    (tmp_path / "a" / "four.webp").unlink()
    assert find_pairs(tmp_path) == [
        Pair(
            "b",
            [tmp_path / "b" / "one.png", tmp_path / "b" / "two.jpg"],
            ["a puppet", "another puppet"],
        ),
        Pair("dog", [tmp_path / "dog_0.png", tmp_path / "dog_1.png"], []),
    ]
    with pytest.raises(ValueError, match="has no pairs, needs folders with two pictures each"):
        find_pairs(tmp_path / "a")


def test_the_measures_are_those_of_the_field():
    """Distances of frames at 0, 1, 3 and 6 are 1, 2 and 3."""
    frames = torch.tensor([0.0, 1, 3, 6])[:, None, None, None].expand(4, 3, 2, 2)
    judge = Judge(lambda a, b: (a - b).abs().amax((1, 2, 3)), lambda pictures: pictures)
    assert measured(judge, frames) == {"LPIPS": 6, "PPL": 24, "PDV": pytest.approx(2 / 3)}


def test_figures_are_of_the_commands_frames(tmp_path, monkeypatch):
    write(tmp_path / "pairs" / "b", ["0.png", "1.png"], seed=1)
    write(tmp_path / "pairs", ["a_0.png", "a_1.png"])
    file, out = tmp_path / "figures.json", tmp_path / "out"
    options = ["--model", "demo", "--frames", "4", "--steps", "3", "--candidates", "1"]
    options += ["--inversion-steps", "2"]
    words = [tmp_path / "pairs", "--out", out, "--json", file, "--device", "cpu", *options]
    monkeypatch.setattr(sys, "argv", ["morphbench", *map(str, words)])
    main()
    rows = json.loads(file.read_text())["rows"]
    assert [row["pair"] for row in rows] == ["b", "a", "all 2"]
    assert rows[2]["LPIPS"] == pytest.approx(rows[0]["LPIPS"] + rows[1]["LPIPS"])
    assert rows[2]["PPL"] == pytest.approx(4 * rows[2]["LPIPS"])
    assert rows[2]["FID"] > 0
    frames = to_tensor(
        [read_picture(file) for file in sorted((out / "a" / "frames").glob("*.png"))]
    )
    seen = reranker().embed_pictures(frames)
    wanted = (seen[1:] - seen[:-1]).norm(dim=1).sum().item()
    assert rows[1]["LPIPS"] == pytest.approx(wanted, rel=1e-4)


def test_inception_features_are_torchvisions_pooled_ones(tmp_path):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    network = models.Inception3(init_weights=False).eval()
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    pictures, pooled = torch.rand(2, 3, 299, 299), []
    network.avgpool.register_forward_hook(lambda *call: pooled.append(call[-1].flatten(1)))
    with torch.no_grad():
        network(2 * pictures - 1)
    features = inception_features(tmp_path / "inception.pth")(pictures)
    assert features.shape == (2, 2048) and torch.allclose(features, pooled[0], atol=1e-5)
    with pytest.raises(ValueError, match=r"inception: .*none.pth is not a file"):
        inception_features(tmp_path / "none.pth")
