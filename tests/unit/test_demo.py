"""The embedded models as they are shipped; `benchmarks/demo_model.py` measures more, for longer."""

from __future__ import annotations

import json

import pytest
import torch
from demo_model import psnr, retrieval, sample, words_right
from safetensors.torch import load_file
from support.puppets import held_out

from diffusion_interpolation.demo import (
    load_flow,
    load_model,
    load_reader,
    pair,
    weights_folder,
    world,
)
from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.demo.training.workshop import PLANS


@pytest.fixture(scope="module")
def model():
    return load_model(steps=10, max_batch=32)


@pytest.fixture(scope="module")
def reader():
    return load_reader()


def test_weights_are_small_half_precision_and_say_how_they_were_trained():
    files = list(weights_folder().rglob("*"))
    assert sum(file.stat().st_size for file in files if file.is_file()) <= 40 * 2**20
    contents = [file.read_bytes() for file in files if file.is_file()]
    assert len(set(contents)) == len(contents), "no file is there twice"
    tensors = [
        tensor
        for file in files
        if file.suffix == ".safetensors"
        for tensor in load_file(file).values()
    ]
    assert all(t.dtype == torch.float16 for t in tensors if t.is_floating_point())
    assert all(t.isfinite().all() for t in tensors)
    record = json.loads((weights_folder() / "training.json").read_text())
    assert {"seed", "bank", "device", "stages"} <= set(record)
    assert set(record["stages"]) == set(PLANS)
    assert all(stage["figures"]["loss"] > 0 for stage in record["stages"].values())


def test_pictures_survive_the_autoencoder(model):
    assert psnr(model, held_out(32, 1)) > 32


def test_the_reader_reads(reader):
    puppets = held_out(64, 2)
    read = reader(world.render(puppets, SIZE))
    assert (world.joints(read) - world.joints(puppets)).norm(dim=-1).mean() < 0.005
    assert words_right(read, puppets)["all three"] > 0.9


def test_clip_finds_captions():
    assert retrieval(held_out(256, 3), "cpu") > 0.85


@pytest.mark.parametrize("network", ["unet", "flow", "student"])
def test_captions_are_obeyed(model, reader, network):
    drawers = {
        "unet": (lambda: model, 4.0),
        "flow": (lambda: load_flow(steps=10, max_batch=32), 4.0),
        "student": (lambda: load_flow(student=True, steps=8, max_batch=32), 1.0),
    }
    load, cfg = drawers[network]
    puppets = held_out(16, 4)
    read = reader(sample(load(), puppets, cfg=cfg, seed=0, posed=False))
    assert words_right(read, puppets)["all three"] > 0.85


def test_poses_are_followed(model, reader):
    puppets = held_out(16, 5)
    errors = []
    for posed in (True, False):
        read = reader(sample(model, puppets, cfg=4.0, seed=0, posed=posed))
        errors.append((world.joints(read) - world.joints(puppets)).norm(dim=-1).mean().item())
    assert errors[0] < 0.02 and errors[0] < errors[1] / 2


def test_the_two_puppets_of_the_demo_are_in_range():
    puppets = pair.pair()
    for name, (low, high) in world.POSE_RANGES.items():
        column = puppets[:, world.INDEX[name]]
        assert low <= column.min() and column.max() <= high
    assert world.joints(puppets).min() > 0 and world.joints(puppets).max() < 1
