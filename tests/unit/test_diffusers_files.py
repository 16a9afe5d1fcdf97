from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import original_layout
import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES, SIDE
from torch import Tensor

from diffusion_interpolation.models.contract import Guidance
from diffusion_interpolation.models.diffusers.model import DiffusersModel

UNET = "unet/diffusion_pytorch_model.safetensors"
ENCODER = "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tokenizers: Path) -> Callable[[str], Path]:
    """The folder of a family, as diffusers saves it, with the ControlNet beside it."""
    home = tmp_path_factory.mktemp("models")

    def folder(family: str) -> Path:
        place = home / family
        if not place.exists():
            parts = tiny_models.parts(family, tokenizers)
            tiny_models.pipeline(family, parts).save_pretrained(place)
            tiny_models.controlnet(family).save_pretrained(home / f"{family}-control")
        return place

    return folder


@pytest.fixture
def copied(saved: Callable[[str], Path], tmp_path: Path) -> Path:
    """A folder of Stable Diffusion 1 to do damage to."""
    return Path(shutil.copytree(saved("sd1"), tmp_path / "model"))


def _control(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-control")


def _configs(folder: Path, to: Path) -> Path:
    """A copy of a model's folder without the weights."""
    return Path(shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.safetensors")))


def _latents(model: DiffusersModel, hinted: bool = False) -> Tensor:
    """What every part of the model has a say in: the end of a picture's way there and back."""
    generator = torch.Generator().manual_seed(0)
    clean = model.encode(torch.rand(2, 3, 2 * SIDE, 2 * SIDE, generator=generator))
    noisy = clean + torch.randn(clean.shape, generator=generator)
    hint = torch.rand(2, 3, 2 * SIDE, 2 * SIDE, generator=generator) if hinted else None
    positive, negative = model.encode_text(["a red puppet", "a dog!"]), model.encode_text([""])
    guidance = Guidance(positive, negative, 4.0, hint)
    return model.sample(noisy, model.schedule(0.3), guidance).latents


def _refused(message: str) -> Any:
    return pytest.raises(ValueError, match=message)


# folders


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_gives_the_same_model(saved, tokenizers, family):
    folder = saved(family)
    want = _latents(tiny_models.model(family, tokenizers), hinted=True)
    got = DiffusersModel.from_folder(folder, _control(folder), steps=5)
    assert torch.allclose(_latents(got, hinted=True), want, atol=1e-5)
    assert got.max_batch == 8


def test_a_folder_without_a_controlnet_in_another_type(saved, tokenizers):
    path = str(saved("sd1"))
    model = DiffusersModel.from_folder(path, steps=5, dtype=torch.bfloat16, max_batch=3)
    want = tiny_models.model("sd1", tokenizers, control=False, dtype=torch.bfloat16)
    assert torch.equal(_latents(model), _latents(want))
    assert model.max_batch == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_read_where_there_is_nothing_else(tokenizers, tmp_path, family):
    parts = tiny_models.parts(family, tokenizers)
    pipeline = tiny_models.pipeline(family, parts).to(dtype=torch.float16)
    pipeline.save_pretrained(tmp_path / "model", variant="fp16")
    assert list(tmp_path.glob("model/unet/*.fp16.safetensors"))
    got = _latents(DiffusersModel.from_folder(tmp_path / "model", steps=5))
    want = _latents(tiny_models.model(family, tokenizers, control=False))
    assert torch.allclose(got, want, atol=0.02 * want.abs().max())


def test_full_precision_is_preferred(copied, saved):
    for file in (UNET, ENCODER):
        weights = {key: torch.zeros_like(w) for key, w in load_file(copied / file).items()}
        save_file(weights, copied / file.replace(".safetensors", ".fp16.safetensors"))
    want = _latents(DiffusersModel.from_folder(saved("sd1")))
    assert torch.equal(_latents(DiffusersModel.from_folder(copied)), want)


def test_a_network_in_several_files(copied, saved, tokenizers):
    shutil.rmtree(copied / "unet")
    unet = tiny_models.parts("sd1", tokenizers)["unet"]
    unet.save_pretrained(copied / "unet", max_shard_size="300KB")
    assert len(list(copied.glob("unet/*.safetensors"))) > 1
    want = _latents(DiffusersModel.from_folder(saved("sd1")))
    assert torch.equal(_latents(DiffusersModel.from_folder(copied)), want)


@pytest.mark.parametrize("file", [UNET, ENCODER, "vae/diffusion_pytorch_model.safetensors"])
def test_missing_weights(copied, file):
    weights = load_file(copied / file)
    gone = [next(key for key in sorted(weights) if key.endswith(end)) for end in ("bias", "weight")]
    save_file({k: w for k, w in weights.items() if k not in gone}, copied / file, {"format": "pt"})
    with _refused(rf"model: .*{file.split('/')[0]} lacks the weights .* and 1 more"):
        DiffusersModel.from_folder(copied)


@pytest.mark.parametrize("file", [UNET, ENCODER])
def test_weights_that_are_not_finite(copied, file):
    weights = load_file(copied / file)
    key = next(key for key in sorted(weights) if key.endswith("bias"))
    weights[key][0] = float("nan")
    save_file(weights, copied / file, {"format": "pt"})
    with _refused(rf"{file.split('/')[0]}: .*bias holds NaN or infinity"):
        DiffusersModel.from_folder(copied)


@pytest.mark.parametrize("file", [UNET, ENCODER])
def test_weights_of_another_shape(copied, file):
    weights = load_file(copied / file)
    key = next(key for key in sorted(weights) if key.endswith("bias"))
    weights[key] = torch.zeros(5)
    save_file(weights, copied / file, {"format": "pt"})
    with _refused(rf"model: .*{file.split('/')[0]} cannot be read: "):
        DiffusersModel.from_folder(copied)


@pytest.mark.parametrize("file", [UNET, ENCODER])
def test_files_cut_short(copied, file):
    content = (copied / file).read_bytes()
    (copied / file).write_bytes(content[: len(content) // 2])
    with _refused(rf"model: .*{file.split('/')[0]} cannot be read: "):
        DiffusersModel.from_folder(copied)


@pytest.mark.parametrize("file", [UNET, ENCODER])
def test_pickled_weights_are_not_read(copied, file):
    bad = (copied / file).with_suffix(".bin")
    torch.save(load_file(copied / file), bad)
    (copied / file).unlink()
    with _refused(f"has no safetensors, and {bad.name} is not read"):
        DiffusersModel.from_folder(copied)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("model_index.json", "has no model_index.json, needs a folder in diffusers' layout"),
        ("unet", "unet has no safetensors"),
        ("unet/config.json", "unet cannot be read: "),
        ("text_encoder/config.json", "text_encoder cannot be read: "),
        ("scheduler", "scheduler_config.json cannot be read: "),
        ("tokenizer", "tokenizer has no vocab.json, needs the files of a tokenizer"),
    ],
)
def test_what_is_not_there(copied, gone, message):
    place = copied / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with _refused(f"model: .*{message}"):
        DiffusersModel.from_folder(copied)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "cannot be read: "), ("[]", "holds a list, needs a JSON object")]
)
def test_an_index_that_is_no_index(copied, content, message):
    (copied / "model_index.json").write_text(content)
    with _refused(f"model: .*model_index.json {message}"):
        DiffusersModel.from_folder(copied)


def test_another_kind_of_pipeline(tmp_path):
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        norm_num_groups=4,
        down_block_types=["DownBlock2D"],
        up_block_types=["UpBlock2D"],
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "ddpm")
    with _refused("has None as its vae, needs AutoencoderKL; .* are Stable Diffusion 1, 2 and XL"):
        DiffusersModel.from_folder(tmp_path / "ddpm")


def test_a_pipeline_with_another_network(copied):
    index = json.loads((copied / "model_index.json").read_text())
    index["unet"] = ["diffusers", "UNetSpatioTemporalConditionModel"]
    (copied / "model_index.json").write_text(json.dumps(index))
    with _refused("has UNetSpatioTemporalConditionModel as its unet, needs UNet2DConditionModel"):
        DiffusersModel.from_folder(copied)


def test_a_controlnet_of_another_family(saved):
    other = saved("xl")
    with _refused("controlnet: its cross_attention_dim is 40, this model's unet needs 16"):
        DiffusersModel.from_folder(saved("sd1"), _control(other))


# what is no folder


@pytest.mark.parametrize("kind", ["model", "controlnet"])
def test_an_id_of_the_hub_is_not_fetched_unasked(saved, kind):
    places = ["someone/some-model"] if kind == "model" else [saved("sd1"), "someone/some-model"]
    with _refused(f"{kind}: someone/some-model is no local folder; --allow-download would fetch"):
        DiffusersModel.from_folder(*places)


def test_the_config_of_a_single_file_is_not_fetched_unasked(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with _refused("config: someone/some-model is no local folder; --allow-download would"):
        DiffusersModel.from_single_file(tmp_path / "model.safetensors", "someone/some-model")


@pytest.mark.parametrize("kind", ["model", "controlnet", "config"])
def test_an_id_that_cannot_be_fetched(saved, tmp_path, monkeypatch, kind):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    read, places = DiffusersModel.from_folder, ["someone/some-model"]
    if kind == "controlnet":
        places.insert(0, saved("sd1"))
    if kind == "config":
        save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
        read, places = DiffusersModel.from_single_file, [tmp_path / "model.safetensors", *places]
    with _refused(f"{kind}: someone/some-model cannot be fetched: "):
        read(*places, allow_download=True)


@pytest.mark.parametrize("path", ["nowhere", "/nowhere/at/all", "../up", "a/b/c"])
@pytest.mark.parametrize("allow", [False, True])
def test_a_folder_that_is_not_there(path, allow):
    with _refused(f"model: there is no folder {path}"):
        DiffusersModel.from_folder(path, allow_download=allow)


def test_a_file_in_place_of_a_folder(copied):
    with _refused("model: .* is a file, needs a folder in diffusers' layout"):
        DiffusersModel.from_folder(copied / UNET)


# single files


@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_file_gives_the_same_model(saved, tokenizers, tmp_path, family):
    file = tmp_path / "model.safetensors"
    save_file(original_layout.checkpoint(family, tiny_models.parts(family, tokenizers)), file)
    config = _configs(saved(family), tmp_path / "config")
    got = DiffusersModel.from_single_file(file, config, _control(saved(family)), steps=5)
    want = tiny_models.model(family, tokenizers)
    assert torch.allclose(_latents(got, hinted=True), _latents(want, hinted=True), atol=1e-5)


def test_the_autoencoder_of_a_single_file_is_read_in_full_precision(saved, tokenizers, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(original_layout.checkpoint("xl", tiny_models.parts("xl", tokenizers)), file)
    got = DiffusersModel.from_single_file(file, saved("xl"), dtype=torch.float16)
    full = tiny_models.model("xl", tokenizers)
    latents = torch.randn(1, 4, SIDE, SIDE)
    assert torch.allclose(got.decode(latents), full.decode(latents), atol=1e-6)


@pytest.mark.parametrize(
    "key",
    [
        "model.diffusion_model.middle_block.1.proj_in.weight",
        "model.diffusion_model.out.2.bias",
        "first_stage_model.decoder.mid.attn_1.q.bias",
        "cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1.bias",
    ],
)
def test_a_single_file_with_missing_weights(saved, tokenizers, tmp_path, key):
    weights = original_layout.checkpoint("sd1", tiny_models.parts("sd1", tokenizers))
    del weights[key]
    save_file(weights, tmp_path / "model.safetensors")
    with _refused(r"model: .*model.safetensors lacks (the )?weights "):
        DiffusersModel.from_single_file(tmp_path / "model.safetensors", saved("sd1"))


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "first_stage_model.", "cond_stage_"])
def test_a_single_file_without_a_whole_part(saved, tokenizers, tmp_path, prefix):
    weights = original_layout.checkpoint("sd1", tiny_models.parts("sd1", tokenizers))
    rest = {key: tensor for key, tensor in weights.items() if not key.startswith(prefix)}
    save_file(rest, tmp_path / "model.safetensors")
    config = _configs(saved("sd1"), tmp_path / "config")
    with _refused(r"model: .*model.safetensors (lacks|cannot be read: )"):
        DiffusersModel.from_single_file(tmp_path / "model.safetensors", config)


def test_a_single_file_with_the_config_of_another_family(saved, tokenizers, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(original_layout.checkpoint("sd1", tiny_models.parts("sd1", tokenizers)), file)
    for family in ("sd2", "xl"):
        config = _configs(saved(family), tmp_path / family)
        with _refused(r"model: .*model.safetensors (lacks|cannot be read: )"):
            DiffusersModel.from_single_file(file, config)


def test_single_files_that_cannot_be_read(saved, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"nothing of the kind")
    for name, message in (
        ("model.ckpt", "is no safetensors file, and no other weights are read"),
        ("nowhere.safetensors", "there is no file .*nowhere.safetensors"),
        ("broken.safetensors", "broken.safetensors cannot be read: "),
    ):
        with _refused(f"model: .*{message}"):
            DiffusersModel.from_single_file(tmp_path / name, saved("sd1"))
