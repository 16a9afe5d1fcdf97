"""What other packs may change in the host's objects while they stay the same objects.

A MODEL is often changed without a copy, in its options or its patches; frames of before the change
are not those of after it. `fingerprint`, taken from here, sees such changes.
"""

from __future__ import annotations

from typing import Any

import comfy.clip_vision
import comfy.controlnet
import comfy.model_patcher
import comfy.sd

from ...diffusion_interpolation.fingerprint import fingerprint, state

__all__ = ["fingerprint"]

_PATCHER = (
    "model",
    # new whenever weights are patched
    "patches_uuid",
    "model_options",
    "object_patches",
    "weight_wrapper_patches",
    "wrappers",
    "callbacks",
    "injections",
    "forced_hooks",
    "additional_models",
)
_OF_MODEL = ("model_sampling", "latent_format")
_CONTROL = (
    "cond_hint_original",
    "strength",
    "strength_type",
    "timestep_percent_range",
    "global_average_pooling",
    "compression_ratio",
    "upscale_algorithm",
    "latent_format",
    "vae",
    "extra_args",
    "extra_conds",
    "extra_concat_orig",
    "extra_hooks",
    "concat_mask",
    "preprocess_image",
    "control_model_wrapped",
    "previous_controlnet",
)
_PLAIN = (bool, int, float, str, tuple, type(None))


@state.register
def _of_patcher(patcher: comfy.model_patcher.ModelPatcher) -> Any:
    parts = [_facts(getattr(patcher.model, name, None)) for name in _OF_MODEL]
    return _named(patcher, _PATCHER), parts


@state.register
def _of_vae(vae: comfy.sd.VAE) -> Any:
    # it has functions for its latents' scale, and a patcher; running changes none of it
    return vars(vae)


@state.register
def _of_control_net(control_net: comfy.controlnet.ControlBase) -> Any:
    return _named(control_net, _CONTROL)


@state.register(comfy.sd.CLIP)
@state.register(comfy.clip_vision.ClipVisionModel)
def _of_clip(clip: Any) -> Any:
    return clip.patcher, getattr(clip, "layer_idx", None), getattr(clip, "tokenizer_options", None)


def _named(thing: Any, names: tuple[str, ...]) -> list[Any]:
    """Not every host, and not every class, has all of them."""
    return [getattr(thing, name, None) for name in names]


def _facts(thing: Any) -> Any:
    """Return numbers and words of an object, and a module's buffers, such as its sigmas."""
    if thing is None:
        return None
    facts = {name: value for name, value in vars(thing).items() if isinstance(value, _PLAIN)}
    return thing, facts, getattr(thing, "_buffers", None)
