"""Where the files of the example workflows are, so that ComfyUI offers to download them."""

from __future__ import annotations

from typing import Any

_HUB = "https://huggingface.co"
_COMFY = f"{_HUB}/Comfy-Org"

LINKS = {
    "v1-5-pruned-emaonly-fp16.safetensors": (
        "checkpoints",
        f"{_COMFY}/stable-diffusion-v1-5-archive/resolve/main",
    ),
    "sd_xl_base_1.0.safetensors": (
        "checkpoints",
        f"{_HUB}/stabilityai/stable-diffusion-xl-base-1.0/resolve/main",
    ),
    "z_image_turbo_bf16.safetensors": (
        "diffusion_models",
        f"{_COMFY}/z_image_turbo/resolve/main/split_files/diffusion_models",
    ),
    "qwen_3_4b.safetensors": (
        "text_encoders",
        f"{_COMFY}/z_image_turbo/resolve/main/split_files/text_encoders",
    ),
    "ae.safetensors": ("vae", f"{_COMFY}/z_image_turbo/resolve/main/split_files/vae"),
    "qwen_image_fp8_e4m3fn.safetensors": (
        "diffusion_models",
        f"{_COMFY}/Qwen-Image_ComfyUI/resolve/main/split_files/diffusion_models",
    ),
    "qwen_2.5_vl_7b_fp8_scaled.safetensors": (
        "text_encoders",
        f"{_COMFY}/Qwen-Image_ComfyUI/resolve/main/split_files/text_encoders",
    ),
    "qwen_image_vae.safetensors": (
        "vae",
        f"{_COMFY}/Qwen-Image_ComfyUI/resolve/main/split_files/vae",
    ),
    "Qwen-Image-Lightning-8steps-V1.0.safetensors": (
        "loras",
        f"{_HUB}/lightx2v/Qwen-Image-Lightning/resolve/main",
    ),
    "flux-2-klein-4b.safetensors": (
        "diffusion_models",
        f"{_COMFY}/flux2-klein/resolve/main/split_files/diffusion_models",
    ),
    "flux2-vae.safetensors": ("vae", f"{_COMFY}/flux2-dev/resolve/main/split_files/vae"),
}
"""The folder in `models/` of each file, and the address of the folder that it is downloaded from.

The addresses are those of ComfyUI's own templates."""


def add_links(workflow: dict[str, Any]) -> None:
    """Write the addresses of a workflow's files where the front end looks for them."""
    for node in workflow["nodes"]:
        named = [value for value in node.get("widgets_values", []) if value in LINKS]
        if named:
            node["properties"]["models"] = [_told(name) for name in named]


def _told(name: str) -> dict[str, str]:
    directory, address = LINKS[name]
    return {"name": name, "url": f"{address}/{name}", "directory": directory}
