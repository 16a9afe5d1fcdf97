"""Example workflows of models whose network, text encoder and VAE are files of their own."""

from __future__ import annotations

from comfy_host import Node

from .sheet import PATH, Sheet, save

_FEW_STEPS = {**PATH, "scheduler": "simple", "cfg": 1.0}


def _loaders(sheet: Sheet, network: str, encoder: str, kind: str, vae: str) -> list[list]:
    """MODEL, CLIP and VAE of three files."""
    sheet.column("Model", 360)
    return [
        sheet.put("UNETLoader", unet_name=network, weight_dtype="default")[0],
        sheet.put("CLIPLoader", clip_name=encoder, type=kind, device="default")[0],
        sheet.put("VAELoader", vae_name=vae)[0],
    ]


def _morph(
    sheet: Sheet, model: list, clip: list, vae: list, note: str, steps: int, **more: bool
) -> Node:
    """The frames between two pictures under one prompt, without a negative one."""
    sheet.note(note, 260)
    sheet.column("Pictures", 340)
    first, last = (
        sheet.put("LoadImage", title=f"{name.title()} picture", room=220, image=f"{name}.png")[0]
        for name in ("first", "last")
    )
    words = sheet.prompt_of(clip, "a photo", "What all frames show")
    sheet.column("Frames between", 560)
    wires = {"model": model, "vae": vae, "positive": words, "first": first, "last": last}
    values = {**_FEW_STEPS, "steps": steps, "frames_per_gap": "15", **more}
    return sheet.put("FrameBisector", tall=850, **wires, **values)


def z_image_turbo(sheet: Sheet) -> None:
    model, clip, vae = _loaders(
        sheet,
        "z_image_turbo_bf16.safetensors",
        "qwen_3_4b.safetensors",
        "lumina2",
        "ae.safetensors",
    )
    note = (
        "# Z-Image-Turbo\n\n"
        "Choose two pictures and write what both show. Z-Image-Turbo draws in 8 steps at cfg 1, "
        "without a negative prompt. For Z-Image itself choose its file, and connect a negative "
        "prompt: the preset *balanced* then takes more steps and a higher cfg."
    )
    frames = _morph(sheet, model, clip, vae, note, steps=8)
    save(sheet, frames[0], "z_image_turbo", 8.0)


def qwen_image(sheet: Sheet) -> None:
    model, clip, vae = _loaders(
        sheet,
        "qwen_image_fp8_e4m3fn.safetensors",
        "qwen_2.5_vl_7b_fp8_scaled.safetensors",
        "qwen_image",
        "qwen_image_vae.safetensors",
    )
    lora = sheet.put(
        "LoraLoaderModelOnly",
        model=model,
        lora_name="Qwen-Image-Lightning-8steps-V1.0.safetensors",
        strength_model=1.0,
    )
    note = (
        "# Qwen-Image\n\n"
        "Choose two pictures and write what both show. The Lightning LoRA lets Qwen-Image draw in "
        "8 steps at cfg 1, without a negative prompt. Without the LoRA, connect a negative prompt: "
        "the preset *balanced* then takes more steps and a higher cfg."
    )
    frames = _morph(sheet, lora[0], clip, vae, note, steps=8)
    save(sheet, frames[0], "qwen_image", 8.0)


def flux2_klein(sheet: Sheet) -> None:
    model, clip, vae = _loaders(
        sheet,
        "flux-2-klein-4b.safetensors",
        "qwen_3_4b.safetensors",
        "flux2",
        "flux2-vae.safetensors",
    )
    note = (
        "# Flux.2 klein\n\n"
        "Choose two pictures and write what both show. Flux.2 klein draws in 4 steps at cfg 1. It "
        "can also edit pictures, so *reference_latents* is on: each frame sees the two pictures "
        "next to it, and keeps their subject more closely. Turn it off to be three times as fast."
    )
    frames = _morph(sheet, model, clip, vae, note, steps=4, reference_latents=True)
    save(sheet, frames[0], "flux2_klein", 8.0)
