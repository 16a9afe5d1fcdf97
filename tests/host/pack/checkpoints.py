"""Loaders of tiny models, and of the embedded demo's CLIP."""

from __future__ import annotations

from typing import Any

import comfy.supported_models
from comfy_api.latest import io

from . import families, models
from .family_list import FAMILIES
from .node import node


@node(
    "TestCheckpoint",
    [io.Combo.Input("kind", options=models.KINDS), io.Int.Input("seed", default=0)],
    io.Model.Output(),
    io.Clip.Output(),
    io.Vae.Output(),
)
def checkpoint(kind: str, seed: int) -> tuple[Any, ...]:
    """A tiny model with random weights."""
    return models.model(kind, seed), models.clip(kind, seed), models.vae(kind, seed)


_KNOWN = [name for name, one in FAMILIES.items() if hasattr(comfy.supported_models, one.config)]
"""Families that this host has."""


@node(
    "TestFamily",
    [io.Combo.Input("family", options=_KNOWN), io.String.Input("flag", optional=True)],
    io.Model.Output(),
    io.Vae.Output(),
)
def family(family: str, flag: str = "") -> tuple[Any, ...]:
    """The tiny model and VAE of a family; weights are of the type that a flag of the host sets."""
    known = FAMILIES[family]
    model = families.flagged(known, flag) if flag else families.model(known)
    return model, families.vae(known.vae)


@node(
    "TestFamilyPrompt",
    [io.Combo.Input("family", options=_KNOWN), io.Int.Input("seed", default=1)],
    io.Conditioning.Output(),
)
def family_prompt(family: str, seed: int) -> Any:
    """A random prompt in the form of a family's text encoder."""
    prompt = FAMILIES[family].prompt
    return prompt.conditioning(seed, prompt.tokens[0])


@node("TestQuantised", [io.Combo.Input("kind", options=models.KINDS)], io.Model.Output())
def quantised(kind: str) -> Any:
    """A tiny model whose linear layers are stored in 8 bits, on newer hosts."""
    return models.quantised(kind)


@node(
    "TestControlNet",
    [io.Combo.Input("kind", options=models.CONTROLLED_KINDS), io.Int.Input("seed", default=0)],
    io.ControlNet.Output(),
)
def controlnet(kind: str, seed: int) -> Any:
    """A ControlNet with random weights for a tiny model."""
    return models.controlnet(kind, seed)


@node(
    "TestDemoClip",
    [io.Clip.Input("clip"), io.Boolean.Input("projection", default=True)],
    io.Clip.Output(),
    io.ClipVision.Output(),
)
def demo_clip(clip: Any, projection: bool) -> tuple[Any, Any]:
    """Both halves of the embedded demo's CLIP in the host's own classes."""
    return models.demo_clip(clip, projection)


@node("TestNoVAE", [], io.Vae.Output())
def no_vae() -> tuple[None]:
    """What a checkpoint without a VAE gives for one."""
    return (None,)
