"""Real model sizes in half precision inside ComfyUI: `python benchmarks/gpu.py`

The networks have the shapes of Stable Diffusion 1.5, SDXL and Z-Image (a NextDiT of 6 billion
parameters) and random weights, so nothing is downloaded and the frames show nothing. Each family
makes one path and learns for a few steps. `ratio` is the wall time against the time in forward
passes; `peak` is the highest GPU memory of all tensors, weights included.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from support.in_host import add_options, load_pack, run_inside
from support.report import parser, publish
from support.watch import watched

_UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
    "legacy": False,
}
_VAE = {
    "double_z": True,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}


@dataclass(frozen=True)
class Family:
    """The shapes of a family of models: its host class, network, picture side, and text."""

    host_class: str
    network: dict[str, Any]
    side: int
    text: tuple[int, int]
    pooled: int = 0
    latent_channels: int = 4
    cfg: float = 7.0
    dtype: str = "float16"
    extras: dict[str, Any] = field(default_factory=dict)


FAMILIES = {
    "sd15": Family(
        "SD15",
        {
            **_UNET,
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": [1, 2, 4, 4],
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_middle": 1,
            "transformer_depth_output": [1] * 9 + [0] * 3,
            "use_linear_in_transformer": False,
            "context_dim": 768,
            "adm_in_channels": None,
        },
        side=512,
        text=(77, 768),
    ),
    "sdxl": Family(
        "SDXL",
        {
            **_UNET,
            "num_res_blocks": [2, 2, 2],
            "channel_mult": [1, 2, 4],
            "transformer_depth": [0, 0, 2, 2, 10, 10],
            "transformer_depth_middle": 10,
            "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
            "use_linear_in_transformer": True,
            "context_dim": 2048,
            "num_head_channels": 64,
            "num_classes": "sequential",
            "adm_in_channels": 2816,
        },
        side=1024,
        text=(77, 2048),
        pooled=1280,
    ),
    "z-image": Family(
        "Lumina2",
        {
            "image_model": "lumina2",
            "patch_size": 2,
            "in_channels": 16,
            "dim": 3840,
            "cap_feat_dim": 2560,
            "n_layers": 30,
            "n_heads": 30,
            "n_kv_heads": 30,
            "qk_norm": True,
            "axes_dims": [32, 48, 48],
            "axes_lens": [1536, 512, 512],
        },
        side=1024,
        text=(77, 2560),
        latent_channels=16,
        cfg=1.0,
        dtype="bfloat16",
        extras={"attention_mask": torch.ones(1, 77, dtype=torch.long)},
    ),
}


def main() -> None:
    words = parser(__doc__)
    add_options(words)
    words.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    words.add_argument("--frames-per-gap", type=int, default=7)
    words.add_argument("--steps", type=int, default=8)
    words.add_argument("--learning-steps", type=int, default=4)
    words.add_argument("--dtype", choices=["float16", "bfloat16", "float32"], help="the family's")
    words.add_argument("--side", type=int, help="side of the pictures; the family's, if not given")
    options = words.parse_args()
    if not options.inside:
        run_inside(__file__, options.host)
    nodes = load_pack(options.host, options.device)
    with torch.inference_mode():
        publish([row(name, nodes, options) for name in options.families], options.json)


def row(name: str, nodes: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Make a path with a family's shapes and learn for a few steps; return what it cost."""
    import comfy.model_management

    family = FAMILIES[name]
    comfy.model_management.unload_all_models()
    inputs = _inputs(family, options)
    _path(nodes, family, inputs, options, seed=0)  # loads and warms up
    dtype, side = options.dtype or family.dtype, inputs["keyframes"].shape[1]
    found = {"family": name, "dtype": dtype, "side": side}
    found |= _path(nodes, family, inputs, options, seed=1)
    if options.learning_steps:
        found |= _learning(nodes, family, inputs, options)
    return found


def _path(
    nodes: dict[str, Any],
    family: Family,
    inputs: dict[str, Any],
    options: argparse.Namespace,
    seed: int,
) -> dict[str, Any]:
    """Seconds and memory of one path, and the fraction of time in the networks."""
    _reset_peak()
    with watched() as watch:
        begun = time.perf_counter()
        nodes["FrameBisector"].execute(
            **inputs,
            frames_per_gap=options.frames_per_gap,
            max_denoise=0.55,
            min_denoise=0.30,
            denoise_curve="linear",
            candidates=1,
            scheduler="simple",
            steps=options.steps,
            sampler_name="euler",
            cfg=family.cfg,
            blend="lerp",
            seed=seed,
        )
        wall = time.perf_counter() - begun
    return {
        "path s": wall,
        "ratio": wall / watch.seconds,
        "passes": watch.passes,
        "peak GiB": _peak(),
    }


def _learning(
    nodes: dict[str, Any], family: Family, inputs: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Seconds and memory of a few steps of TextualInvert."""
    _reset_peak()
    begun = time.perf_counter()
    nodes["TextualInvert"].execute(
        **inputs,
        steps=options.learning_steps,
        learning_rate=1e-4,
        cfg=family.cfg,
        min_denoise=0.33,
        max_denoise=0.67,
        seed=0,
        augmentations=0,
    )
    seconds = time.perf_counter() - begun
    return {"learning s": seconds, "learning peak GiB": _peak()}


def _inputs(family: Family, options: argparse.Namespace) -> dict[str, Any]:
    """Random networks, pictures and prompts of a family's shapes."""
    side = options.side or family.side
    generator = torch.Generator().manual_seed(options.seed)
    pictures = torch.rand(2, side // 64, side // 64, 3, generator=generator)
    keyframes = pictures.repeat_interleave(64, 1).repeat_interleave(64, 2)

    def prompt() -> list[Any]:
        rest = dict(family.extras)
        if family.pooled:
            rest["pooled_output"] = torch.randn(1, family.pooled, generator=generator)
        return [[torch.randn(1, *family.text, generator=generator), rest]]

    return {
        "model": _model(family, options),
        "vae": _vae(family, options),
        "keyframes": keyframes,
        "positive": prompt(),
        "negative": prompt() if family.cfg != 1 else None,
    }


def _model(family: Family, options: argparse.Namespace) -> Any:
    import comfy.model_management as memory
    import comfy.model_patcher
    import comfy.supported_models

    device = memory.get_torch_device()
    config = getattr(comfy.supported_models, family.host_class)(dict(family.network))
    config.set_inference_dtype(getattr(torch, options.dtype or family.dtype), None)
    if family.network.get("adm_in_channels") is None and "context_dim" in family.network:
        config.unet_config |= config.unet_extra_config
    model = config.get_model({}, "", device=device)
    _fill(model.diffusion_model, options.seed)
    return comfy.model_patcher.ModelPatcher(model, device, memory.unet_offload_device())


def _vae(family: Family, options: argparse.Namespace) -> Any:
    import comfy.ldm.models.autoencoder
    import comfy.sd

    channels = family.latent_channels
    params = {"ddconfig": {**_VAE, "z_channels": channels}, "embed_dim": channels}
    network = comfy.ldm.models.autoencoder.AutoencoderKL(**params)
    weights = _fill(network, options.seed).state_dict()
    vae = comfy.sd.VAE(sd=weights, config={"params": params})
    vae.latent_channels = channels
    return vae


def _fill(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Random weights that keep the size of what passes through; the host leaves them unset."""
    for name, weight in network.state_dict().items():
        if weight.ndim > 1:
            weight.normal_(std=weight[0].numel() ** -0.5)
        elif weight.is_floating_point():
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
    return network


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak() -> float:
    """Highest GPU memory of all tensors in GiB; not a number on a CPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else float("nan")


if __name__ == "__main__":
    main()
