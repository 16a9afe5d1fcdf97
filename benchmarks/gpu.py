"""Real model sizes in half precision inside ComfyUI: `python benchmarks/gpu.py`

The networks have the shapes of Stable Diffusion 1.5, SDXL and Z-Image (a NextDiT of 6 billion
parameters) and random weights, so nothing is downloaded and the frames show nothing. Each family
makes one path and learns for a few steps. `ratio` is the wall time against the time in forward
passes; `peak` is the highest GPU memory of all tensors, weights included, or on a CPU the highest
resident memory of the process until then. With `--dtype host` the host chooses the type of the
weights, by its own flags if there are any: `--flags=--fp8_e4m3fn-unet`.

With `--count-learning` nothing is run. The tensors hold no data, so any machine counts what a GPU
would keep while it learns. `picture` is one picture with all that its guidance takes: as
TextualInvert does it where there is room, with checkpoints, and with the halves of guidance one
after the other. What passes through without being kept is the host's own estimate.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from typing import Any

import torch
from support.in_host import PACK, add_options, load_pack, run_inside
from support.report import parser, publish
from support.shapes import FAMILIES, VAE, Family
from support.watch import watched
from torch._subclasses.fake_tensor import FakeTensorMode

TYPES, HOST = ("float16", "bfloat16", "float32"), "host"
TIMED = "sd15", "sdxl", "z-image"
"""Families whose networks fit in the memory of one GPU."""


def main() -> None:
    words = parser(__doc__)
    add_options(words)
    words.add_argument("--families", nargs="+", choices=FAMILIES)
    words.add_argument("--frames-per-gap", type=int, default=7)
    words.add_argument("--steps", type=int, default=8)
    words.add_argument("--learning-steps", type=int, default=4)
    words.add_argument("--dtype", choices=[*TYPES, HOST], help="of weights (the family's)")
    words.add_argument("--flags", nargs="*", default=[], help="the host's own, after an =")
    words.add_argument("--sides", type=int, nargs="+", help="of pictures (the family's)")
    words.add_argument("--count-learning", action="store_true", help="count memory, run nothing")
    options = words.parse_args()
    if not options.inside:
        run_inside(__file__, options.host)
    sides = options.sides or [None]
    if options.count_learning:
        load_pack(options.host, "cpu")
        found = [counted(name, side) for name in options.families or FAMILIES for side in sides]
    else:
        nodes = load_pack(options.host, options.device, options.flags)
        with torch.inference_mode():
            found = [
                row(name, side, nodes, options)
                for name in options.families or TIMED
                for side in sides
            ]
    publish(found, options.json)


def row(
    name: str, side: int | None, nodes: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Make a path with a family's shapes and learn for a few steps; return what it cost."""
    import comfy.model_management

    family = FAMILIES[name]
    comfy.model_management.unload_all_models()
    inputs = _inputs(family, side or family.side, options)
    _path(nodes, family, inputs, options, seed=0)  # loads and warms up
    dtype = str(inputs["model"].model_dtype()).removeprefix("torch.")
    found = {"family": name, "dtype": dtype, "side": inputs["keyframes"].shape[1]}
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


def _inputs(family: Family, side: int, options: argparse.Namespace) -> dict[str, Any]:
    """Random networks, pictures and prompts of a family's shapes."""
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
    config.set_inference_dtype(*_types(config, options.dtype or family.dtype, device))
    if family.network.get("adm_in_channels") is None and "context_dim" in family.network:
        config.unet_config |= config.unet_extra_config
    model = config.get_model({}, "", device=device)
    _fill(model.diffusion_model, options.seed)
    return comfy.model_patcher.ModelPatcher(model, device, memory.unet_offload_device())


def _types(config: Any, name: str, device: torch.device) -> tuple[Any, Any]:
    """The type of the weights and the one they are cast to; the host's choice for `HOST`."""
    import comfy.model_management as memory

    if name != HOST:
        return getattr(torch, name), None
    known = config.supported_inference_dtypes
    weights = memory.unet_dtype(device, supported_dtypes=known)
    return weights, memory.unet_manual_cast(weights, device, known)


def _vae(family: Family, options: argparse.Namespace) -> Any:
    import comfy.ldm.models.autoencoder
    import comfy.sd

    channels = family.latent_channels
    params = {"ddconfig": {**VAE, "z_channels": channels}, "embed_dim": channels}
    network = comfy.ldm.models.autoencoder.AutoencoderKL(**params)
    weights = _fill(network, options.seed).state_dict()
    vae = comfy.sd.VAE(sd=weights, config={"params": params})
    vae.latent_channels = channels
    return vae


def _fill(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Random weights that keep the size of what passes through; the host leaves them unset."""
    for name, weight in network.state_dict().items():
        if weight.ndim > 1:
            # types of one byte know no random numbers
            drawn = torch.empty(weight.shape, device=weight.device, dtype=torch.float16)
            weight.copy_(drawn.normal_(std=weight[0].numel() ** -0.5))
        elif weight.is_floating_point():
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
    return network


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak() -> float:
    """Highest memory in GiB: of all tensors on a GPU, of the process on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    # the kernel counts in KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def counted(name: str, side: int | None) -> dict[str, Any]:
    """Count what a family's network keeps of one row, and what a picture takes."""
    checkpointing = sys.modules[f"{PACK}.diffusion_interpolation.models.checkpointing"]
    differentiable = sys.modules[f"{PACK}.nodes.comfy.learning.differentiable"]
    family, kept = FAMILIES[name], checkpointing.Kept()
    side = side or family.side
    with FakeTensorMode(), differentiable.plain_kernels():
        model, call = _without_data(family, side)
        network = model.diffusion_model
        with (
            checkpointing.saving_copies(kept),
            checkpointing.checkpoints(checkpointing.blocks(network), kept=kept),
        ):
            network(**call)
        weights = sum(weight.nbytes for weight in network.parameters())
    shape = [1, family.latent_channels, side // 8, side // 8]
    halves, working = (1 if family.cfg == 1 else 2), _working(model, shape)
    plan = checkpointing.plan(kept, working, 0, halves)
    apart = plan.bytes_checkpointed / halves
    return {
        "family": name,
        "dtype": family.dtype,
        "side": side,
        "weights GiB": weights / 2**30,
        "picture GiB": plan.bytes_plain / 2**30,
        "checkpoints GiB": plan.bytes_checkpointed / 2**30,
        "halves apart GiB": apart / 2**30,
    }


def _without_data(family: Family, side: int) -> tuple[Any, dict[str, Any]]:
    """A family's model, and the arguments of its network for one row."""
    import comfy.ldm.flux.model
    import comfy.supported_models

    dtype = getattr(torch, family.dtype)
    network = dict(family.network)
    if not hasattr(comfy.ldm.flux.model.FluxParams, "txt_ids_dims"):
        # older hosts do not know it
        network.pop("txt_ids_dims", None)
    config = getattr(comfy.supported_models, family.host_class)(network)
    config.set_inference_dtype(dtype, None)
    if family.network.get("adm_in_channels") is None and "context_dim" in family.network:
        config.unet_config |= config.unet_extra_config
    model = config.get_model({}, "", device=torch.device("cpu"))
    model.diffusion_model.requires_grad_(False)

    def normal(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype)

    def learned(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, requires_grad=True) * 1

    call = {
        "x": normal(1, family.latent_channels, side // 8, side // 8),
        "timesteps": torch.empty(1),
        "context": learned(1, *family.text),
        "transformer_options": {},
        **family.extras,
    }
    if family.host_class == "Flux":
        call |= {"timestep": call.pop("timesteps"), "guidance": torch.empty(1)}
    if family.pooled:
        width = family.network.get("adm_in_channels") or family.pooled
        call["y"] = learned(1, width)
    return model, call


def _working(model: Any, shape: list[int]) -> float:
    """What the host counts with for one row on a GPU with PyTorch's attention."""
    import comfy.model_management as memory

    before = memory.pytorch_attention_flash_attention
    memory.pytorch_attention_flash_attention = lambda: True
    try:
        return model.memory_required(shape)
    finally:
        memory.pytorch_attention_flash_attention = before


if __name__ == "__main__":
    main()
