"""Writes the weights that the package carries."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from .. import networks
from ..lora import low_rank
from .batches import tokenizer
from .workshop import Workshop, read

LORA_RANK = 16
STANDARD = "vae_standard.pt"  # the autoencoder after the bank has scaled its latents


def export(shop: Workshop) -> None:
    """Write the stages that are finished to the folder `weights`, in fp16.

    That folder is a Stable Diffusion pipeline of diffusers. In it are also `controlnet/`, `clip/`,
    `reader.safetensors` and, in `flow/`, the transformer with its scheduler and the student as a
    LoRA. One tokenizer serves all of them. `training.json` says how each stage was trained.
    """
    folder = shop.folder / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    done = [stage for stage in shop.plans if shop.completed(stage)]
    for part, needed in PARTS.items():
        if set(needed) <= set(done) and (part is not _vae or (shop.folder / STANDARD).exists()):
            part(shop, folder)
    stages = {stage: {**asdict(shop.plans[stage]), **shop.record(stage)} for stage in done}
    device = torch.cuda.get_device_name() if shop.large else "cpu"
    record = {"seed": shop.seed, "bank": shop.bank, "device": device, "stages": stages}
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def _vae(shop: Workshop, folder: Path) -> None:
    vae = networks.autoencoder()
    vae.load_state_dict(read(shop.folder / STANDARD))
    vae.half().save_pretrained(folder / "vae")


def _clip(shop: Workshop, folder: Path) -> None:
    words = tokenizer(shop)
    clip = shop.load("clip", networks.clip(len(words))).half()
    clip.save_pretrained(folder / "clip")
    words.save_pretrained(folder / "tokenizer")


def _reader(shop: Workshop, folder: Path) -> None:
    from safetensors.torch import save_file

    reader = shop.load("reader", networks.Reader()).half()
    save_file(reader.state_dict(), folder / "reader.safetensors")


def _pipeline(shop: Workshop, folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    words = tokenizer(shop)
    vae = networks.autoencoder()
    vae.load_state_dict(read(shop.folder / STANDARD))
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=shop.load("clip", networks.clip(len(words))).text_model,
        tokenizer=words,
        unet=shop.load("unet", networks.unet()),
        scheduler=networks.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder)


def _controlnet(shop: Workshop, folder: Path) -> None:
    from diffusers import ControlNetModel

    control = shop.load("controlnet", ControlNetModel.from_unet(networks.unet()))
    control.half().save_pretrained(folder / "controlnet")


def _flow(shop: Workshop, folder: Path) -> None:
    networks.flow_scheduler().save_pretrained(folder / "flow" / "scheduler")
    flow = shop.load("flow", networks.transformer())
    flow.half().save_pretrained(folder / "flow" / "transformer")


def _student(shop: Workshop, folder: Path) -> None:
    from safetensors.torch import save_file

    flow = shop.load("flow", networks.transformer())
    student = shop.load("student", networks.transformer())
    lora = low_rank(flow, student, LORA_RANK)
    (folder / "flow").mkdir(exist_ok=True)
    save_file(lora, folder / "flow" / "student_lora.safetensors")


# each part of what is exported, and the stages that it comes from
PARTS = {
    _vae: ("vae",),
    _clip: ("clip",),
    _reader: ("reader",),
    _pipeline: ("vae", "clip", "unet"),
    _controlnet: ("controlnet",),
    _flow: ("flow",),
    _student: ("flow", "student"),
}
