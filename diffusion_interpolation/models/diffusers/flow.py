"""The method's latent diffusion model over a flow transformer of diffusers, Lumina 2's NextDiT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..contract import Guidance, Sampled, Schedule
from ..denoise import schedule_from
from ..prompts import PromptEmbeddings, stack
from .features import DiffusersFeatures, FlowBlocks
from .files import load_flow_folder
from .flow_text import FlowText
from .model import DiffusersModel
from .parts import placed, placed_codec, placed_encoders, with_defaults
from .sampling.sampler import DiffusersSampler, check_rows

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, Lumina2Transformer2DModel
    from transformers import CLIPTextModel, Gemma2Model, PreTrainedTokenizerBase
    from typing_extensions import Unpack

    from .parts import Options


class DiffusersFlow(DiffusersModel):
    """A flow transformer on latents `(1 - sigma) x + sigma noise`, sampled with Euler steps.

    `scheduler` is the configuration of a `FlowMatchEulerDiscreteScheduler` with a fixed shift. It
    spreads the steps; a `denoise` is the same amount of noise under any shift. There is one text
    encoder and no ControlNet. Everything else is as in `DiffusersModel`.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        transformer: Lumina2Transformer2DModel,
        scheduler: Mapping[str, Any],
        text_encoder: CLIPTextModel | Gemma2Model,
        tokenizer: PreTrainedTokenizerBase,
        **options: Unpack[Options],
    ) -> None:
        _check_parts(vae, transformer, text_encoder)
        told = with_defaults(options)
        self._device, dtype = torch.device(told["device"]), told["dtype"]
        max_batch = told["max_batch"]
        self._schedule = FlowSchedule(scheduler, told["steps"])
        patch = transformer.config.patch_size
        self._codec = placed_codec(vae, patch, max_batch, self._device, dtype)
        [text_encoder] = placed_encoders([text_encoder], self._device, dtype)
        self._text = FlowText(text_encoder, tokenizer)
        self._network = FlowNetwork(placed("transformer", transformer, self._device, dtype))
        steps_of_batch = EulerSteps(self._network)
        self._sampler = DiffusersSampler(steps_of_batch, self._device, max_batch, None)
        blocks = FlowBlocks(self._network, self._schedule)
        self._features = DiffusersFeatures(blocks, self._device, max_batch)
        self.hint_scale = self._codec.scale

    @staticmethod
    def _read(
        path: str | Path, controlnet: str | Path | None, dtype: torch.dtype, allow_download: bool
    ) -> dict[str, Any]:
        if controlnet is not None:
            raise ValueError(f"controlnet: got {controlnet}, but Lumina 2 takes none")
        return load_flow_folder(path, dtype, allow_download)

    def encode_text(self, prompts: list[str], negative: bool = False) -> PromptEmbeddings:
        """The conditioning of prompts, one row each, without padding (`FlowText`)."""
        return self._text.encode(prompts, negative)

    def predict_noise(
        self, noisy: Tensor, levels: Tensor, text: PromptEmbeddings, negatives: int = 0
    ) -> Tensor:
        """Return the noise in `noisy` `(n, c, h', w')`, unguided and differentiable in `text`.

        `levels` `(n,)` are values of `denoise`, as `schedule` takes them, and not sigmas. With the
        sigma of a level and the velocity `v`, the noise is `noisy + (1 - sigma) v`. `negatives`
        changes nothing. Raises `ValueError` for levels outside (0, 1] and for a text of another
        number of rows.
        """
        check_rows("text", text, len(noisy))
        noisy = noisy.to(self._device, torch.float32)
        points = [self.schedule(level).points[0] for level in levels.tolist()]
        sigmas = torch.tensor(points, device=self._device)
        way = self._network.velocity(noisy, sigmas, text.repeated(len(noisy)))
        return noisy + (1 - sigmas)[:, None, None, None] * way


class FlowSchedule:
    """The sigmas of a whole schedule of `steps` Euler steps, from 1 to 0.

    They are even in time and then shifted, as `scheduler`, the configuration of a
    `FlowMatchEulerDiscreteScheduler`, says. A frame takes the part below its denoise. Raises
    `ValueError` for a dynamic shift.
    """

    def __init__(self, scheduler: Mapping[str, Any], steps: int) -> None:
        self._shift = float(scheduler.get("shift", 1.0))
        self.grid = _sigmas(scheduler, steps).tolist()

    def schedule(self, denoise: float, min_steps: int = 1) -> Schedule:
        """The sigmas from that of `denoise` down to 0 (`schedule_from`)."""
        return schedule_from(self, denoise, min_steps)

    def point(self, ratio: float) -> float:
        """The sigma with this noise-to-signal ratio: `sigma / (1 - sigma)`."""
        return 1 / (1 + 1 / ratio)

    def spread(self, start: float, steps: int) -> list[float]:
        """Sigmas from `start` to 0 that are even in time before the shift."""
        time = start / (self._shift - (self._shift - 1) * start)
        times = torch.linspace(time, 0, steps + 1, dtype=torch.float64)
        sigmas = self._shift * times / (1 + (self._shift - 1) * times)
        return [start, *sigmas[1:].tolist()]

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        """`(1 - sigma, sigma)` at the first sigma."""
        sigma = schedule.points[0]
        return 1 - sigma, sigma


class FlowNetwork:
    """A transformer that predicts the velocity of flow matching."""

    def __init__(self, transformer: Lumina2Transformer2DModel) -> None:
        self.transformer = transformer

    def checkpointing(self, on: bool) -> None:
        """Whether activations are recomputed for the backward pass or kept."""
        if on:
            self.transformer.enable_gradient_checkpointing()
        else:
            self.transformer.disable_gradient_checkpointing()

    def velocity(self, noisy: Tensor, sigmas: Tensor, text: PromptEmbeddings) -> Tensor:
        """`d latents / d sigma` at `sigmas` `(n,)`; Lumina's time runs from noise to picture."""
        like = self.transformer
        states = text.embeddings.to(like.device, like.dtype)
        seen = states.detach().ne(0).any(-1)
        latents = noisy.to(like.dtype)
        output = like(latents, (1 - sigmas).to(latents), states, seen, return_dict=False)
        return -output[0].float()


class EulerSteps:
    """Euler steps of flow matching for one batch of latents."""

    def __init__(self, network: FlowNetwork) -> None:
        self._network = network

    def __call__(self, latents: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """All steps of `schedule`, under all prompts in one forward pass."""
        texts = [text.repeated(len(latents)) for text in guidance.texts()]
        denoised, text, passes = latents, _stacked(texts), len(texts)
        for sigma, lower in zip(schedule.points, schedule.points[1:], strict=False):
            sigmas = latents.new_full((passes * len(latents),), sigma)
            ways = self._network.velocity(latents.repeat(passes, 1, 1, 1), sigmas, text)
            way = guidance.guided(ways.chunk(passes))
            denoised = latents - sigma * way
            latents = latents + (lower - sigma) * way
        return Sampled(latents, denoised)


def _check_parts(
    vae: AutoencoderKL,
    transformer: Lumina2Transformer2DModel,
    text_encoder: CLIPTextModel | Gemma2Model,
) -> None:
    """Raise `ValueError` unless the parts are of one model."""
    takes, text = transformer.config, text_encoder.config
    for got, want, what in (
        (takes.in_channels, vae.config.latent_channels, "number of channels of the vae"),
        (takes.cap_feat_dim, text.hidden_size, "width of the text"),
    ):
        if got != want:
            raise ValueError(f"transformer: takes {got}, but the {what} is {want}")


def _sigmas(config: Mapping[str, Any], steps: int) -> Tensor:
    """`(steps + 1,)`: times spread evenly over 1 to 0, shifted as the scheduler shifts them."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    if config.get("use_dynamic_shifting"):
        raise ValueError("scheduler: it shifts by the size of the picture, needs a fixed shift")
    if steps < 1:
        raise ValueError(f"steps: got {steps}, needs at least 1")
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(dict(config))
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, steps + 1)[:-1].tolist())
    return scheduler.sigmas


def _stacked(texts: list[PromptEmbeddings]) -> PromptEmbeddings:
    """Rows of several conditionings; shorter ones are filled up with states that are not seen."""
    longest = max(text.embeddings.shape[1] for text in texts)

    def filled(states: Tensor) -> Tensor:
        return F.pad(states, (0, 0, 0, longest - states.shape[1]))

    return stack([text.map(filled) for text in texts])
