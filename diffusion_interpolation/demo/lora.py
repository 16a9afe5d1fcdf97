"""The student as a LoRA of the flow transformer, in diffusers' names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

PREFIX, DOWN, UP = "transformer.", "lora_A.weight", "lora_B.weight"


def low_rank(base: nn.Module, tuned: nn.Module, rank: int) -> dict[str, Tensor]:
    """The difference of two networks' linear layers as a LoRA in fp16."""
    before = dict(base.named_parameters())
    lora: dict[str, Tensor] = {}
    for name, module in tuned.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        change = (module.weight - before[f"{name}.weight"]).detach().float().cpu()
        left, sizes, right = torch.linalg.svd(change, full_matrices=False)
        root = sizes[:rank].sqrt()
        lora[f"{PREFIX}{name}.{DOWN}"] = (root[:, None] * right[:rank]).half().contiguous()
        lora[f"{PREFIX}{name}.{UP}"] = (left[:, :rank] * root).half().contiguous()
    return lora


def with_lora(weights: Mapping[str, Tensor], lora: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with a LoRA of `low_rank` added, in float32 where it changes them."""
    changed = dict(weights)
    for key, up in lora.items():
        if key.endswith(UP):
            down = lora[key.removesuffix(UP) + DOWN]
            name = key.removeprefix(PREFIX).removesuffix(UP) + "weight"
            changed[name] = weights[name].float() + up.float() @ down.float()
    return changed
