"""Features of what ComfyUI has loaded: activations of a MODEL's blocks, tokens of a CLIP_VISION."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

import comfy.samplers

from ...diffusion_interpolation.method.matching.features import FeatureExtractor
from ...diffusion_interpolation.models.activations import (
    FEATURE_DENOISE,
    captured,
    reduced,
    shared_noise,
    token_grid,
    transformer_block,
    unet_levels,
)
from ...diffusion_interpolation.models.contract import Guidance, Schedule
from ...diffusion_interpolation.models.prompts import PromptEmbeddings
from .codec import ComfyCodec, check_pictures, has_frames
from .control import PoseControl
from .patches import plain_copy
from .sampler import ComfySampler
from .schedule import ComfySchedule

STEPS = 20
"""Of a schedule of which only one point is used."""
_BLOCKS = (
    "double_blocks",
    "double_layers",
    "joint_blocks",
    "transformer_blocks",
    "visual_transformer_blocks",
    "blocks",
    "layers",
    "single_blocks",
    "single_layers",
)
"""The host's names for the lists of a transformer's blocks, in the order in which they run."""
_PICTURE_FIRST = ("ErnieImageModel",)
"""Transformers that put the tokens of the picture before those of the text."""
_LEFT_OUT = (
    "control",
    "reference_latents",
    "mask",
    "area",
    "gligen",
    "unclip_conditioning",
    "hooks",
    "start_percent",
    "end_percent",
)
"""What a prompt may hold that brings other pictures in, or uses the prompt in parts only."""


class ComfyFeatures:
    """A `FeatureModel` of a MODEL and its VAE, both of which stay as they are.

    Raises `ValueError` for a network without blocks of a known kind.
    """

    def __init__(self, model: Any, vae: Any) -> None:
        _check_flat(model)
        self._model, self._codec = plain_copy(model), ComfyCodec(model, vae)
        self._network, self._control = model.model.diffusion_model, PoseControl(None, model, vae)
        self._blocks = _feature_blocks(self._network)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures in the network's scale, as `ComfyCodec.encode` makes them."""
        return self._codec.encode(pictures)

    def features(self, latents: Tensor, text: PromptEmbeddings, draws: int) -> list[Tensor]:
        """Grids `(n, c, rows, columns)`, one of each block, for clean latents `(n, c, h', w')`.

        They are means over `draws` noises. Raises `ValueError` where a block gives something else
        than was expected.
        """
        count, schedule = len(latents), ComfySchedule(self._model, "simple", STEPS)
        [noisiest, *_] = schedule.schedule(FEATURE_DENOISE).points
        step = Schedule((noisiest, 0.0))
        signal, sigma = schedule.scales(step)
        noisy = [signal * latents + sigma * shared_noise(latents, draw) for draw in range(draws)]
        rows, plain = list(range(count)) * draws, text.map_extras(_without_pictures)
        guidance = Guidance(plain.rows(rows), plain.rows(rows), 1.0, positions=rows)
        grids = self._read(torch.cat(noisy), step, guidance)
        return [grid.unflatten(0, (draws, count)).mean(0) for grid in grids]

    def _read(self, noisy: Tensor, step: Schedule, guidance: Guidance) -> list[Tensor]:
        """Grids of noisy latents, by one `step` of the host's own sampling."""
        with captured(self._blocks) as outputs:
            probe = _Probe(outputs, self._grid)
            sampler = comfy.samplers.KSAMPLER(probe)
            ComfySampler(self._model, sampler, self._control).sample(noisy, step, guidance)
        return [torch.cat(grids) for grids in zip(*probe.grids, strict=True)]

    def _grid(self, output: Any, latents: Tensor) -> Tensor:
        """The part of a block's output that is of the picture, as a grid on the CPU."""
        grid = _picture_part(output, self._network, latents)
        if grid is None:
            raise ValueError(
                f"model: the blocks of {type(self._network).__name__} give nothing that is known "
                "as a picture's features; connect a clip_vision in its place"
            )
        # both halves of guidance are of the same prompt
        return reduced(grid[: len(latents)]).cpu()


def _without_pictures(extras: dict[str, Any] | None) -> dict[str, Any]:
    """What a prompt holds in addition, without what is left out of features."""
    return {key: value for key, value in (extras or {}).items() if key not in _LEFT_OUT}


class _Probe:
    """A sampler's function that runs the network once, and keeps what its blocks gave."""

    def __init__(self, outputs: list[Any], read: Any) -> None:
        self._outputs, self._read = outputs, read
        self.grids: list[list[Tensor]] = []

    def __call__(self, model: Any, x: Tensor, sigmas: Tensor, **options: Any) -> Tensor:
        # of a batch that did not fit in memory
        self._outputs.clear()
        model(x, sigmas[0] * x.new_ones(len(x)), **(options.get("extra_args") or {}))
        self.grids.append([self._read(output, x) for output in self._outputs])
        return x


def _check_flat(model: Any) -> None:
    """Raise `ValueError` for a model whose latents are no pictures, or have a frame axis."""
    check_pictures(model)
    if has_frames(model):
        raise ValueError(
            f"model: {type(model.model).__name__} has latents with an axis of frames, needs "
            "latents without"
        )


def vision_features(clip_vision: Any) -> FeatureExtractor:
    """The features of a CLIP_VISION: its patches' tokens, of the picture squeezed into a square."""

    def extract(pictures: Tensor, draws: int) -> list[Tensor]:
        output = clip_vision.encode_image(pictures.movedim(1, -1), crop=False)
        tokens = output["last_hidden_state"].float()
        # tokens of the whole picture come first
        side = math.isqrt(tokens.shape[1])
        return [reduced(token_grid(tokens[:, -side * side :], side, side))]

    return extract


def _feature_blocks(network: nn.Module) -> list[nn.Module]:
    """The modules whose outputs are features."""
    if hasattr(network, "output_blocks"):
        ends = accumulate(count + 1 for count in reversed(network.num_res_blocks))
        # the host calls the layers of a block, not the block
        return unet_levels([network.output_blocks[end - 1][-1] for end in ends])
    found = [getattr(network, name, None) for name in _BLOCKS]
    blocks = [block for some in found if isinstance(some, nn.ModuleList) for block in some]
    if not blocks:
        raise ValueError(
            f"model: {type(network).__name__} has no blocks of a known kind to read features from; "
            "connect a clip_vision in its place"
        )
    return [transformer_block(blocks)]


def _picture_part(output: Any, network: nn.Module, latents: Tensor) -> Tensor | None:
    """What of a block's output is of the picture, as a grid, or None where nothing is."""
    parts = [part for part in _listed(output) if isinstance(part, Tensor)]
    for part in parts:
        if hasattr(network, "output_blocks"):
            return part
        if part.ndim == 5:
            # (n, frames, rows, columns, c)
            return part[:, 0].movedim(-1, 1)
    rows, columns = _token_rows(network, latents)
    count = rows * columns
    for part in sorted(parts, key=lambda part: part.shape[1:2] != (count,)):
        if part.ndim == 3 and part.shape[1] >= count:
            return token_grid(_tokens_of_picture(part, network, count), rows, columns)
    return None


def _listed(output: Any) -> list[Any]:
    return list(output) if isinstance(output, (tuple, list)) else [output]


def _token_rows(network: nn.Module, latents: Tensor) -> tuple[int, int]:
    """Rows and columns of a transformer's tokens of a picture."""
    patch = getattr(network, "patch_size", 1)
    side = patch if isinstance(patch, int) else patch[-1]
    rows, columns = (math.ceil(length / side) for length in latents.shape[-2:])
    return rows, columns


def _tokens_of_picture(tokens: Tensor, network: nn.Module, count: int) -> Tensor:
    """The `count` tokens of the picture among tokens that may be of the text, too."""
    if type(network).__name__ in _PICTURE_FIRST or tokens.shape[1] == count:
        return tokens[:, :count]
    # Z-Image fills the picture's tokens up to a multiple
    multiple = getattr(network, "pad_tokens_multiple", None) or 1
    start = tokens.shape[1] - math.ceil(count / multiple) * multiple
    return tokens[:, start : start + count]
