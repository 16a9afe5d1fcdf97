"""The ControlNet that holds frames to their poses, chained to those that prompts bring along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ...diffusion_interpolation.models.contract import Guidance
from .codec import PictureVae


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


def _check_family(control_net: Any, model: Any) -> None:
    """Raise `ValueError` where text of another width is wanted: the mark of another family."""
    network = getattr(control_net, "control_model", None)
    if network is None:
        return
    got, want = _text_width(network), _text_width(model.get_model_object("diffusion_model"))
    if got != want:
        raise ValueError(
            f"control_net: it takes {_of_width(got)}, this model {_of_width(want)}; "
            "it was trained for another family of models"
        )


def _text_width(network: nn.Module) -> int | None:
    """The width of the text that a UNet's cross-attention takes; None for other networks."""
    for name, weight in network.named_parameters():
        if name.endswith("attn2.to_k.weight"):
            return weight.shape[1]
    return None


def _of_width(width: int | None) -> str:
    return "another kind of text" if width is None else f"text of width {width}"
