"""What holds frames to their poses and to their keyframes: a ControlNet and reference latents.

The ControlNet is chained to those that prompts bring along.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from comfy.model_base import SDXL, SDXLRefiner

from ...diffusion_interpolation.models.contract import Guidance
from .codec import PictureVae, from_network


class PoseControl:
    """A CONTROL_NET of the host for `model`; None for frames without poses.

    Raises `ValueError` for one of another model family, and for one that works on latents where
    there is no `vae`.
    """

    def __init__(self, control_net: Any, model: Any, vae: Any) -> None:
        if control_net is not None:
            _check_family(control_net, model)
        works_on_latents = getattr(control_net, "latent_format", None) is not None
        if vae is None and works_on_latents:
            raise ValueError("vae: got none, but this control_net works on latents, needs one")
        self._control_net = control_net
        # each row of hints is of a frame of its own
        self._vae = PictureVae(vae) if works_on_latents else None

    @property
    def hint_scale(self) -> int:
        """Pixels of a hint a latent: the ControlNet's own, or its VAE's."""
        scale = getattr(self._control_net, "compression_ratio", 8)
        if self._vae is not None:
            scale *= self._vae.spacial_compression_encode()
        return scale

    def networks(self) -> list[Any]:
        """The networks that the host has to load for it."""
        if not hasattr(self._control_net, "get_models"):
            return []
        return self._control_net.get_models()

    def add(
        self, guidance: Guidance, positives: Sequence[dict[str, Any]], negative: dict[str, Any]
    ) -> None:
        """Put the hints of `guidance` on what its prompts hold; all rows have one strength.

        A prompt keeps the ControlNet that it had. Prompts that had the same one get one object, so
        that the halves of guidance batch.
        """
        if guidance.hint is None:
            return
        shared = next((rest for rest in positives if rest.get("control_apply_to_uncond")), {})
        earlier = [rest.get("control") for rest in positives]
        earlier.append(negative.get("control", shared.get("control")))
        with_pose: dict[int, Any] = {}
        for rest, control in zip([*positives, negative], earlier, strict=True):
            if id(control) not in with_pose:
                with_pose[id(control)] = self._after(control, guidance)
            rest["control"] = with_pose[id(control)]
            rest["control_apply_to_uncond"] = False

    def _after(self, earlier: Any, guidance: Guidance) -> Any:
        """A copy with the hints of `guidance`, which follows another ControlNet, or None."""
        [strength] = guidance.by_strength(len(guidance.hint))
        control = self._control_net.copy()
        control.set_cond_hint(guidance.hint, strength, (0.0, 1.0), vae=self._vae)
        control.set_previous_controlnet(earlier)
        return control


class References:
    """The keyframes as edit models see pictures, next to the prompt; None: they see none.

    `latents` `(keyframes, c, h', w')` are in the scale of the network of `model`. Raises
    `ValueError` for a model that takes no reference latents.
    """

    def __init__(self, model: Any, latents: Tensor | None) -> None:
        self._latents, self._method = None, {}
        if latents is None:
            return
        network = model.get_model_object("diffusion_model")
        if not _takes_references(network, latents.shape[1]):
            raise ValueError(
                f"reference_latents: this model ({type(model.model.model_config).__name__}) takes "
                "none, needs an edit model, such as Flux.1 Kontext, Flux.2 or Qwen-Image-Edit"
            )
        self._latents = from_network(model, latents)
        if getattr(network, "default_ref_method", "") is None:
            # such networks take no notice of reference latents without it
            self._method = {"reference_latents_method": "index"}

    @property
    def pictures(self) -> int:
        """How many pictures the network sees for each frame, the frame itself among them."""
        return 1 if self._latents is None else 3

    def add(self, positions: Sequence[float], rests: Sequence[dict[str, Any]]) -> None:
        """Put the keyframes left and right of each position on what prompts hold."""
        if self._latents is None:
            return
        left = [min(math.floor(position), len(self._latents) - 2) for position in positions]
        beside = [self._latents[left], self._latents[[place + 1 for place in left]]]
        for rest in rests:
            rest |= {**self._method, **rest}
            rest["reference_latents"] = [*rest.get("reference_latents", []), *beside]


def _takes_references(network: nn.Module, channels: int) -> bool:
    """Whether a network of the host has an argument for reference latents, and use for it."""
    calls = (getattr(network, name, None) for name in ("forward", "_forward"))
    if not any("ref_latents" in inspect.signature(call).parameters for call in calls if call):
        return False
    # Flux Fill sees a mask and a picture with the frame, Lumina 2 has no tokens to fill up with
    sees = getattr(getattr(network, "params", None), "in_channels", channels)
    return sees == channels and getattr(network, "pad_tokens_multiple", 1) is not None


_KINDS = {
    "comfy.cldm.cldm": ("UNetModel",),
    "comfy.cldm.mmdit": ("MMDiT",),
    "comfy.cldm.dit_embedder": ("MMDiT",),
    "comfy.ldm.flux.controlnet": ("Flux", "Chroma"),
    "comfy.ldm.hydit.controlnet": ("HunYuanDiT",),
    "comfy.ldm.qwen_image.controlnet": ("QwenImageTransformer2DModel",),
    "comfy.ldm.cascade.controlnet": ("StageC",),
    "comfy.t2i_adapter.adapter": ("UNetModel",),
}
"""The host's classes of networks that take what a ControlNet of a module of the host says."""

_WIDTHS = {
    "context_in_dim": "text of width",
    "hidden_size": "hidden states of width",
    "inner_dim": "hidden states of width",
}
"""Widths that a ControlNet and its model share, by the names of the host's networks."""


def _check_family(control_net: Any, model: Any) -> None:
    """Raise `ValueError` for a ControlNet or an adapter of another family than `model`'s."""
    network = getattr(control_net, "control_model", None)
    network = getattr(control_net, "t2i_model", network)
    ours = model.get_model_object("diffusion_model")
    module = _module_of(control_net, network)
    kinds = _KINDS.get(module)
    if kinds and not any(kind.__name__ in kinds for kind in type(ours).__mro__):
        raise _other_family(f"it is for a {' or '.join(kinds)}, this model is a {_name(ours)}")
    if module == "comfy.t2i_adapter.adapter":
        _check_adapter(network, model)
    _check_channels(control_net, model)
    for name, words in _WIDTHS.items():
        _check_width(words, _number(network, name), _number(ours, name))
    if module == "comfy.cldm.cldm" and network is not None:
        _check_width("text of width", _text_width(network), _text_width(ours))
    _check_union(control_net, network)


def _module_of(control_net: Any, network: nn.Module | None) -> str:
    """The module of the host that a ControlNet's network is from."""
    if network is None and hasattr(control_net, "control_weights"):
        # a Control-LoRA makes its network from the UNet of the model
        return "comfy.cldm.cldm"
    return type(network).__module__


def _name(network: nn.Module) -> str:
    """The name of a network's kind; the host wraps some to be called as others are."""
    names = [kind.__name__ for kind in type(network).__mro__]
    return next(name for name in names if "Wrapper" not in name)


def _check_adapter(adapter: nn.Module, model: Any) -> None:
    """Tell T2I-Adapters of SDXL from others: both are for UNets."""
    for_xl = bool(getattr(adapter, "xl", False))
    if for_xl != isinstance(model.model, SDXL) or isinstance(model.model, SDXLRefiner):
        names = {True: "SDXL", False: "Stable Diffusion 1.5"}
        ours = type(model.model.model_config).__name__
        raise _other_family(f"it is an adapter for {names[for_xl]}, this model is {ours}")


def _check_channels(control_net: Any, model: Any) -> None:
    """Compare the latents of a ControlNet that works on them with those of the model."""
    form = getattr(control_net, "latent_format", None)
    if form is not None:
        got, want = (one.latent_channels for one in (form, model.get_model_object("latent_format")))
        _check_width("latents of channels", got, want)


def _check_width(what: str, got: int | None, want: int | None) -> None:
    """Raise `ValueError` where both are known and differ."""
    if got is not None and want is not None and got != want:
        raise _other_family(f"it takes {what} {got}, this model {what} {want}")


def _other_family(why: str) -> ValueError:
    return ValueError(f"control_net: {why}; it was trained for another family of models")


def _number(network: nn.Module | None, name: str) -> int | None:
    """A width of a network, where it says one."""
    return getattr(getattr(network, "params", network), name, None)


def _text_width(network: nn.Module) -> int | None:
    """The width of the text that a UNet's cross-attention takes; None for other networks."""
    for name, weight in network.named_parameters():
        if name.endswith("attn2.to_k.weight"):
            return weight.shape[1]
    return None


def _check_union(control_net: Any, network: nn.Module | None) -> None:
    """Raise `ValueError` for a ControlNet of many types whose type nobody has set."""
    types = getattr(network, "num_control_type", None) or getattr(network, "num_union_modes", 0)
    if types and "control_type" not in getattr(control_net, "extra_args", {}):
        raise ValueError(
            "control_net: got a Union ControlNet without a type, needs one: "
            "SetUnionControlNetType sets openpose, or auto"
        )
