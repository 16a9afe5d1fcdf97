"""LoRAs of keyframes: low-rank changes of a network's attention, mixed for each row of a batch.

A frame is drawn under the LoRAs of the two keyframes beside it, mixed by its position, as in
DiffMorpher (Zhang et al. 2023, arXiv 2312.07409). The weights of the network stay as they are, so
that frames of several positions go in one batch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn

from .prompts import check_positions

# Names of modules of attention, such as attn1, img_attn and self_attention.
_ATTENTION = re.compile(r"(\w+_)?(attn|attention)\d*")
# Names of parts in which rows are other things than latents: PixArt joins the texts of all latents
# in one row, and Krea 2 makes a row of each token.
_OTHER_ROWS = ("kv_linear", "txtfusion")


@dataclass(frozen=True, eq=False)
class KeyframeLora:
    """A LoRA for each of `N` keyframes.

    `layers` are linear layers of a network by name, each with its tensors "down"
    `(N, rank, inputs)` and "up" `(N, outputs, rank)`.
    """

    layers: Mapping[str, tuple[Tensor, Tensor]]

    @classmethod
    def fresh(
        cls, network: nn.Module, keyframes: int, rank: int, generator: Generator
    ) -> KeyframeLora:
        """LoRAs that change nothing yet, float32, to be learned.

        All begin with the same "down", so that what lies between two of them means something.
        Raises `ValueError` for a network without linear layers in its attention.
        """
        layers = {}
        for name, layer in attention_layers(network).items():
            down = torch.randn(1, rank, layer.in_features, generator=generator) / rank
            up = torch.zeros(keyframes, layer.out_features, rank)
            layers[name] = down.repeat(keyframes, 1, 1), up
        if not layers:
            kind = type(network).__name__
            raise ValueError(f"model: {kind} has no attention of a known name to put a LoRA on")
        return cls(layers)

    def tensors(self) -> list[Tensor]:
        """All tensors, layer by layer."""
        return [tensor for both in self.layers.values() for tensor in both]

    def of(self, tensors: Sequence[Tensor]) -> KeyframeLora:
        """The same layers with other `tensors`, in the order of `tensors()`."""
        pairs = zip(tensors[::2], tensors[1::2], strict=True)
        return KeyframeLora(dict(zip(self.layers, pairs, strict=True)))

    @property
    def keyframes(self) -> int:
        """How many keyframes there are LoRAs of."""
        return len(next(iter(self.layers.values()))[1])

    def weights(self, positions: Sequence[float]) -> Tensor:
        """The weights `(n, N)` of the keyframes at `positions`, counted in keyframes.

        After the last keyframe comes the first again, at `N`. Raises `ValueError` for positions
        outside of 0 to `N`.
        """
        check_positions(positions, self.keyframes + 1)
        places = torch.tensor(positions, dtype=torch.float32)[:, None]
        away = (places - torch.arange(self.keyframes)).abs()
        return (1 - away.minimum(self.keyframes - away)).clamp_min(0)

    @contextmanager
    def on(self, network: nn.Module, weights: Tensor) -> Iterator[None]:
        """Within, each row of a batch has the LoRAs mixed by its `weights` `(n, N)`.

        A batch may hold the `n` rows several times over, one time for each prompt. Raises
        `ValueError` for a layer that gets another number of rows.
        """
        with ExitStack() as stack:
            for name, (down, up) in self.layers.items():
                hook = partial(_changed, name, down, up, weights)
                layer = network.get_submodule(name)
                stack.callback(layer.register_forward_hook(hook).remove)
            yield


def attention_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The linear layers within the attention of a network of diffusers or ComfyUI, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if hasattr(module, "in_features")
        and hasattr(module, "out_features")
        and any(_ATTENTION.fullmatch(part) for part in name.split(".")[:-1])
        and not any(part in _OTHER_ROWS for part in name.split("."))
    }


def _changed(
    name: str,
    down: Tensor,
    up: Tensor,
    weights: Tensor,
    layer: nn.Module,
    inputs: tuple[Tensor, ...],
    output: Tensor,
) -> Tensor:
    """The output of a linear layer with what the LoRAs of its rows add."""
    rows = inputs[0]
    times, rest = divmod(len(rows), len(weights))
    if rest or not times:
        raise ValueError(
            f"model: its layer {name} gets {len(rows)} rows for {len(weights)} latents, and a LoRA "
            "for each needs as many, or a multiple"
        )
    mixed = (
        torch.einsum("nk,kab->nab", weights.to(tensor), tensor).to(rows).repeat(times, 1, 1)
        for tensor in (down, up)
    )
    flat = rows.flatten(1, -2) if rows.ndim > 2 else rows.unsqueeze(1)
    for matrix in mixed:
        flat = flat @ matrix.mT
    return output + flat.reshape(output.shape)
