"""How much memory does learning need? `python benchmarks/learning_memory.py`

The networks have the shapes of real models inside ComfyUI, and their tensors hold no data, so any
machine counts what a GPU would keep. `picture` is one picture with all that its guidance takes:
as TextualInvert does it where there is room, with checkpoints, and with the halves of guidance one
after the other. What passes through without being kept is the host's own estimate.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from gpu import FAMILIES, Family
from support.in_host import PACK, add_options, load_pack, run_inside
from support.report import parser, publish
from torch._subclasses.fake_tensor import FakeTensorMode

SHAPES = {
    **FAMILIES,
    "flux": Family(
        "Flux",
        {
            "image_model": "flux",
            "in_channels": 16,
            "out_channels": 16,
            "patch_size": 2,
            "vec_in_dim": 768,
            "context_in_dim": 4096,
            "hidden_size": 3072,
            "num_heads": 24,
            "axes_dim": [16, 56, 56],
            "theta": 10000,
            "mlp_ratio": 4.0,
            "depth": 19,
            "depth_single_blocks": 38,
            "qkv_bias": True,
            "guidance_embed": True,
            "txt_ids_dims": [],
        },
        side=1024,
        text=(256, 4096),
        pooled=768,
        latent_channels=16,
        cfg=1.0,
        dtype="bfloat16",
    ),
}


def main() -> None:
    words = parser(__doc__)
    add_options(words)
    words.add_argument("--families", nargs="+", choices=SHAPES, default=list(SHAPES))
    words.add_argument(
        "--sides", type=int, nargs="+", help="sides of the pictures; the family's, if not given"
    )
    options = words.parse_args()
    if not options.inside:
        run_inside(__file__, options.host)
    load_pack(options.host, "cpu")
    sides = options.sides or [None]
    publish([row(name, side) for name in options.families for side in sides], options.json)


def row(name: str, side: int | None) -> dict[str, Any]:
    """Count what a family's network keeps of one row, and what a picture takes."""
    checkpointing = sys.modules[f"{PACK}.diffusion_interpolation.models.checkpointing"]
    differentiable = sys.modules[f"{PACK}.nodes.comfy.learning.differentiable"]
    family, kept = SHAPES[name], checkpointing.Kept()
    side = side or family.side
    with FakeTensorMode(), differentiable.plain_kernels():
        model, call = _network(family, side)
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


def _network(family: Family, side: int) -> tuple[Any, dict[str, Any]]:
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
