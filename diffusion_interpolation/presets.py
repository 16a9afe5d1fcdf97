"""Values of options that fit together: for a first try, for a family of models, as in the paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .settings import PAPER, FrameSettings

Preset = Literal["fast try", "balanced", "best", "as in the paper", "custom"]
CUSTOM = "custom"
PAPER_STEPS, PAPER_CFG = 200, 7.5


@dataclass(frozen=True)
class Family:
    """What a family of models is sampled with, from ComfyUI's templates or the models' authors.

    `few` is the number of steps of its distilled relative, which works at cfg 1 without a negative
    prompt; where it is 0 there is none. `flow` says that the family is one of flow models.
    """

    name: str
    steps: int
    cfg: float
    few: int = 0
    flow: bool = True

    @property
    def scheduler(self) -> str:
        return "simple" if self.flow else "ddim_uniform"

    def sampling(self, has_negative: bool) -> tuple[int, float]:
        """Return steps and cfg, of the distilled relative where there is no negative prompt."""
        if self.few and not has_negative:
            return self.few, 1.0
        return self.steps, self.cfg


FAMILIES = {
    "Puppet": Family("the embedded UNet", 20, 2.0, flow=False),
    "PuppetFlow": Family("the embedded flow transformer", 20, 2.0, few=8),
    "SD15": Family("Stable Diffusion 1.5", 20, 7.5, flow=False),
    "SD20": Family("Stable Diffusion 2", 20, 7.5, flow=False),
    "LotusD": Family("Lotus", 1, 1.0, flow=False),
    "SDXL": Family("Stable Diffusion XL", 20, 7.0, flow=False),
    "SDXLRefiner": Family("the refiner of Stable Diffusion XL", 20, 7.0, flow=False),
    "SSD1B": Family("SSD-1B", 25, 7.0, flow=False),
    "Segmind_Vega": Family("Segmind Vega", 25, 7.0, flow=False),
    "KOALA_700M": Family("KOALA", 25, 7.0, flow=False),
    "KOALA_1B": Family("KOALA", 25, 7.0, flow=False),
    "Stable_Cascade_C": Family("Stable Cascade", 20, 4.0, flow=False),
    "Stable_Cascade_B": Family("stage B of Stable Cascade", 10, 1.1, flow=False),
    "SD3": Family("Stable Diffusion 3", 30, 4.5),
    "AuraFlow": Family("AuraFlow", 25, 3.5),
    "PixArtAlpha": Family("PixArt", 20, 4.5, flow=False),
    "HunyuanDiT": Family("HunyuanDiT", 30, 6.0, flow=False),
    "Flux": Family("Flux.1", 20, 1.0),
    "FluxSchnell": Family("Flux.1 schnell", 4, 1.0),
    "LongCatImage": Family("LongCat-Image", 20, 4.0),
    "Flux2": Family("Flux.2", 20, 5.0, few=4),
    "Lens": Family("Lens", 20, 5.0, few=4),
    "HunyuanImage21": Family("HunyuanImage", 20, 3.5),
    "Lumina2": Family("Lumina Image 2", 30, 4.0),
    "ZImage": Family("Z-Image", 25, 4.0, few=8),
    "PixelDiTT2I": Family("PixelDiT", 30, 4.0),
    "HiDream": Family("HiDream I1", 50, 5.0, few=16),
    "HiDreamO1": Family("HiDream O1", 40, 5.0, few=28),
    "Chroma": Family("Chroma", 26, 3.5),
    "Omnigen2": Family("OmniGen2", 20, 5.0),
    "Boogu": Family("Boogu", 25, 4.0, few=4),
    "MageFlow": Family("Mage-Flow", 30, 5.0, few=4),
    "Ideogram4": Family("Ideogram 4", 20, 4.0),
    "ErnieImage": Family("ERNIE-Image", 20, 4.0, few=8),
    "Kandinsky5": Family("Kandinsky 5", 50, 3.5),
    "QwenImage": Family("Qwen-Image", 20, 2.5, few=8),
    "Krea2": Family("Krea 2", 8, 1.0),
    "JoyImage": Family("JoyImage", 40, 4.0),
    "CosmosT2IPredict2": Family("Cosmos Predict2", 35, 4.0),
    "Anima": Family("Anima", 30, 4.0),
    "WAN21_T2V": Family("Wan", 20, 3.5),
}
"""By the name of the class that ComfyUI has for the family; subclasses may have their own."""

# Flow models whose guidance is distilled need no cfg.
_DISTILLED = {"Flux2": Family("Flux.2 dev", 20, 1.0)}
UNKNOWN = {
    True: Family("a flow model", 20, 4.0, few=8),
    False: Family("a diffusion model", 20, 7.0, flow=False),
}
"""Families of which nothing is known but whether they are flow models."""


def family_of(classes: Iterable[str], is_flow: bool, guidance_is_distilled: bool) -> Family:
    """Return the family of the first of `classes`, from a class to its bases, that has one."""
    for name in classes:
        if guidance_is_distilled and name in _DISTILLED:
            return _DISTILLED[name]
        if name in FAMILIES:
            return FAMILIES[name]
    return UNKNOWN[is_flow]


def values_of(preset: Preset, family: Family, has_negative: bool) -> dict[str, Any]:
    """Return the values of all options that a preset decides, by name; none for `custom`.

    Raises `ValueError` for a name that is no preset.
    """
    if preset == CUSTOM:
        return {}
    steps, cfg = family.sampling(has_negative)
    patient = steps > 10
    made = {
        "fast try": FrameSettings(candidates=1, min_steps=2),
        "balanced": FrameSettings(candidates=4, min_steps=4 if patient else 2),
        "best": FrameSettings(candidates=8, min_steps=6 if patient else 4),
        "as in the paper": PAPER,
    }
    if preset not in made:
        raise ValueError(f"preset: got {preset!r}, needs one of {', '.join((*made, CUSTOM))}")
    if preset == "as in the paper":
        sampling = PAPER_STEPS, PAPER_CFG, "ddim_uniform"
    else:
        factor = {"fast try": 0.5, "balanced": 1, "best": 1.5}[preset] if patient else 1
        sampling = round(factor * steps), cfg, family.scheduler
    frames = {name: asdict(made[preset])[name] for name in _FRAME_OPTIONS}
    return {
        **dict(zip(_SAMPLING_OPTIONS, sampling, strict=True)),
        "sampler_name": "euler",
        **frames,
    }


_SAMPLING_OPTIONS = "steps", "cfg", "scheduler"
_FRAME_OPTIONS = (
    "candidates",
    "max_denoise",
    "min_denoise",
    "denoise_curve",
    "min_steps",
    "blend",
    "smoothness_weight",
    "rank_fraction",
)
MATCHED = {"max_denoise": 0.35, "min_denoise": 0.15}
"""What is enough where neighbours are moved along a correspondence (`docs/measurements.md`)."""
DECIDED = (*_SAMPLING_OPTIONS, "sampler_name", *_FRAME_OPTIONS)
"""The options that a preset decides."""
