"""LoRAs of keyframes on a MODEL of ComfyUI: which rows have them, and how they come to the network.

The sampler of this pack says where on the path the latents of a batch are. A wrapper around the
network reads that, so that the LoRAs go with the MODEL through other nodes. Other samplers say
nothing, and draw with the model as it was.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from comfy.model_patcher import create_model_options_clone
from comfy.patcher_extension import WrappersMP

from ...diffusion_interpolation.models.lora import KeyframeLora

POSITIONS_KEY = "interpolation_positions"
"""Under `transformer_options`: the positions of the latents of a batch, in keyframes."""
WRAPPER_KEY = "interpolation_lora"


def told_positions(options: dict[str, Any], positions: Sequence[float]) -> dict[str, Any]:
    """A copy of a model's options that tells its wrappers the `positions` of the latents."""
    options = create_model_options_clone(options)
    options["transformer_options"][POSITIONS_KEY] = list(positions)
    return options


def with_lora(model: Any, lora: KeyframeLora) -> Any:
    """A copy of a MODEL that draws each frame under the LoRAs of its position."""
    copy = model.clone()
    copy.add_wrapper_with_key(WrappersMP.APPLY_MODEL, WRAPPER_KEY, _AtPositions(lora))
    return copy


def check_lora(model: Any, keyframes: int) -> None:
    """Raise `ValueError` where a MODEL has LoRAs of another number of keyframes than the path."""
    by_key = model.wrappers.get(WrappersMP.APPLY_MODEL, {})
    for wrapper in by_key.get(WRAPPER_KEY, []):
        if wrapper.lora.keyframes != keyframes:
            raise ValueError(
                f"model: has LoRAs of {wrapper.lora.keyframes} keyframes for a path of "
                f"{keyframes}; KeyframeLora needs the keyframes of the path"
            )


class _AtPositions:
    """A wrapper around a network that puts the LoRAs on it while it runs."""

    def __init__(self, lora: KeyframeLora) -> None:
        self.lora = lora

    def __call__(self, executor: Any, *args: Any, **options: Any) -> Any:
        told = inspect.signature(executor.original).bind(*args, **options).arguments
        positions = (told.get("transformer_options") or {}).get(POSITIONS_KEY)
        if not positions:
            return executor(*args, **options)
        latents = told["x"]
        # stays there, and is moved once
        self.lora = self.lora.of([tensor.to(latents.device) for tensor in self.lora.tensors()])
        network, weights = executor.class_obj.diffusion_model, self.lora.weights(positions)
        with self.lora.on(network, weights.to(latents.device)):
            return executor(*args, **options)
