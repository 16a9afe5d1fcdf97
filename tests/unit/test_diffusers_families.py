"""Models of several families from folders, by the pipeline they were saved from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from torch import Tensor

from diffusion_interpolation.command.cli import main
from diffusion_interpolation.demo import load_flow, weights_folder
from diffusion_interpolation.models.contract import Guidance
from diffusion_interpolation.models.denoise import noise_ratio
from diffusion_interpolation.models.diffusers.families import FAMILIES, load_model
from diffusion_interpolation.models.diffusers.flow import DiffusersFlow
from diffusion_interpolation.models.diffusers.model import DiffusersModel

PROMPTS, NEGATIVE = ["a red puppet", "a dog"], "sleeps"
STEPS, SIDE = 4, 8


@pytest.fixture(scope="module")
def lumina() -> Any:
    """A tiny Lumina 2 in diffusers' own pipeline."""
    return tiny_models.lumina()


@pytest.fixture(scope="module")
def folder(lumina: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lumina") / "model"
    lumina.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> DiffusersModel:
    return load_model(folder, steps=STEPS)


def noise() -> Tensor:
    return torch.randn(2, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def guidance(model: DiffusersModel, cfg: float = 3.0) -> Guidance:
    return Guidance(model.encode_text(PROMPTS), model.encode_text([NEGATIVE], negative=True), cfg)


@torch.no_grad()
def test_a_flow_model_reads_prompts_as_its_pipeline(lumina, model):
    for prompts, negative in ((PROMPTS, False), ([NEGATIVE], True)):
        text = model.encode_text(prompts, negative)
        if negative:
            want, seen = lumina._get_gemma_prompt_embeds(prompts)
        else:
            want, seen, *_ = lumina.encode_prompt(prompts, do_classifier_free_guidance=False)
        lengths = seen.sum(1).tolist()
        assert text.embeddings.shape[1] == max(lengths)
        for row, length in enumerate(lengths):
            assert torch.allclose(text.embeddings[row, :length], want[row, :length], atol=1e-5)
            assert not text.embeddings[row, length:].any()


def test_a_flow_model_draws_what_its_pipeline_draws(lumina, model):
    want = lumina(
        PROMPTS,
        negative_prompt=[NEGATIVE] * 2,
        height=8 * SIDE,
        width=8 * SIDE,
        num_inference_steps=STEPS,
        guidance_scale=3.0,
        cfg_normalization=False,
        latents=noise(),
        output_type="latent",
    ).images
    got = model.sample(noise(), model.schedule(1.0), guidance(model)).latents
    assert isinstance(model, DiffusersFlow) and got.std() > 0.1
    assert (got - want).abs().max() < 1e-4


def test_a_flow_models_pictures_go_there_and_back(lumina, model):
    pictures = torch.rand(1, 3, 8 * SIDE, 8 * SIDE, generator=torch.Generator().manual_seed(1))
    vae = lumina.vae
    with torch.no_grad():
        mode = vae.encode(pictures * 2 - 1).latent_dist.mode()
    latents = (mode - vae.config.shift_factor) * vae.config.scaling_factor
    assert torch.allclose(model.encode(pictures), latents, atol=1e-5)


def test_the_demos_flow_transformer_from_a_folder(tmp_path):
    """With CLIP in place of Gemma 2, it is the very same model."""
    weights = weights_folder()
    places = {"vae": "vae", "text_encoder": "text_encoder", "tokenizer": "tokenizer"}
    places |= {"transformer": "flow/transformer", "scheduler": "flow/scheduler"}
    for name, place in places.items():
        (tmp_path / name).symlink_to(weights / place)
    index = {
        "_class_name": "Lumina2Pipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "transformer": ["diffusers", "Lumina2Transformer2DModel"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    noisy = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    got, want = (
        model.sample(noisy, model.schedule(0.3, 2), guidance(model)).latents
        for model in (load_model(tmp_path, steps=STEPS), load_flow(steps=STEPS))
    )
    assert torch.equal(got, want)


def test_stable_diffusion_is_found_by_any_of_its_pipelines(tmp_path):
    tokenizers = tiny_models.save_tokenizer(tmp_path / "tokenizers")
    parts = tiny_models.parts("sd1", tokenizers)
    tiny_models.pipeline("sd1", parts).save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "model_index.json"
    for name in ("StableDiffusionPipeline", "LatentConsistencyModelPipeline"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "_class_name": name}))
        assert type(load_model(tmp_path / "model", steps=STEPS)) is DiffusersModel


def test_a_family_that_is_not_known_is_refused_with_those_that_are(folder, tmp_path):
    index = json.loads((folder / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps({**index, "_class_name": "WanPipeline"}))
    with pytest.raises(ValueError, match=r"model: .* is a WanPipeline, needs one of ") as error:
        load_model(tmp_path)
    assert all(name in str(error.value) for name in FAMILIES)


def test_another_text_encoder_is_refused(folder, tmp_path):
    index = json.loads((folder / "model_index.json").read_text())
    index["text_encoder"] = ["transformers", "T5EncoderModel"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    message = "has T5EncoderModel as its text_encoder, needs Gemma2Model or CLIPTextModel; the mod"
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)


def test_a_flow_model_takes_no_controlnet(folder):
    with pytest.raises(ValueError, match="controlnet: got poses, but Lumina 2 takes none"):
        load_model(folder, "poses")


def test_a_prompt_that_is_too_long_for_the_family(model):
    with pytest.raises(ValueError, match="the text encoder reads at most 256"):
        model.encode_text(["puppet " * 300])


def test_the_command_makes_frames_with_a_flow_model(folder, tmp_path):
    from PIL import Image

    pictures = [tmp_path / f"{name}.png" for name in ("first", "second")]
    for picture, colour in zip(pictures, ("red", "blue"), strict=True):
        Image.new("RGB", (64, 64), colour).save(picture)
    options = f"--out {tmp_path / 'out'} --model {folder} --frames 3 --steps {STEPS} --cfg 2"
    words = [*map(str, pictures), *options.split(), "--inversion-steps", "2", "--prompt", "a dog"]
    assert main(words) == 0
    record = json.loads((tmp_path / "out" / "path.json").read_text())
    [made] = [frame for frame in record["frames"] if frame["depth"] == 1]
    ratio = noise_ratio(0.55)
    assert made["start"] == pytest.approx(ratio / (1 + ratio)) and made["steps"] >= 2
