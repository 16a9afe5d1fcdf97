"""The method's latent diffusion model over the parts of diffusers: Stable Diffusion 1, 2 and XL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..contract import Guidance, Sampled, Schedule
from ..prompts import PromptEmbeddings
from .codec import shrinking_of
from .control import DiffusersControl
from .features import DiffusersFeatures, UnetBlocks
from .files import load_controlnet, load_folder, load_single_file
from .parts import (
    check_controlnet,
    check_fit,
    placed,
    placed_codec,
    placed_encoders,
    with_defaults,
)
from .sampling.ddim import DdimSteps
from .sampling.network import DiffusersNetwork
from .sampling.sampler import DiffusersSampler, check_rows
from .sampling.schedule import DiffusersSchedule
from .text import encode_text

if TYPE_CHECKING:
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        SchedulerMixin,
        UNet2DConditionModel,
    )
    from transformers import CLIPTokenizer
    from typing_extensions import Unpack

    from .parts import Options
    from .text import TextEncoder


class DiffusersModel:
    """A `LearnableModel` made of diffusers parts, sampled with DDIM at eta 0.

    Stable Diffusion 1 and 2 have one text encoder; XL has two, the second with a projection. The
    parts are taken over: moved, frozen, put in evaluation mode. `scheduler` gives the noise
    schedule and what the denoiser predicts. Inputs may lie anywhere; results lie on `device`, in
    float32 whatever the type of the weights, and carry no graph except those of `predict_noise`.
    Raises `ValueError` where the parts do not fit together or a weight is NaN or infinite.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin | Mapping[str, Any],
        text_encoders: Sequence[TextEncoder],
        tokenizers: Sequence[CLIPTokenizer],
        controlnet: ControlNetModel | None = None,
        **options: Unpack[Options],
    ) -> None:
        check_fit(vae, unet, text_encoders, tokenizers)
        if controlnet is not None:
            check_controlnet(controlnet, unet)
        told = with_defaults(options)
        self._device, dtype = torch.device(told["device"]), told["dtype"]
        max_batch = told["max_batch"]
        self._schedule = DiffusersSchedule(scheduler, told["steps"])
        self._codec = placed_codec(vae, shrinking_of(unet), max_batch, self._device, dtype)
        unet, control = placed("unet", unet, self._device, dtype), None
        if controlnet is not None:
            control = DiffusersControl(placed("controlnet", controlnet, self._device, dtype))
        self._text_encoders = placed_encoders(text_encoders, self._device, dtype)
        self._tokenizers = list(tokenizers)
        self._network = DiffusersNetwork(unet, self._codec.scale)
        steps_of_batch = DdimSteps(self._network, self._schedule, control)
        scale = None if control is None else control.hint_scale
        self._sampler = DiffusersSampler(steps_of_batch, self._device, max_batch, scale)
        blocks = UnetBlocks(self._network, self._schedule)
        self._features = DiffusersFeatures(blocks, self._device, max_batch)
        # without a ControlNet, pixels of a picture
        self.hint_scale = scale or self._codec.scale

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        controlnet: str | Path | None = None,
        allow_download: bool = False,
        **options: Unpack[Options],
    ) -> DiffusersModel:
        """The model in a folder of diffusers' layout, and a ControlNet in another.

        Only safetensors are read. With `allow_download`, either may be an id on the Hugging Face
        hub. Raises `ValueError` for what is not there, not supported, not whole, or does not fit.
        """
        dtype = options.get("dtype", torch.float32)
        return cls(**cls._read(path, controlnet, dtype, allow_download), **options)

    @staticmethod
    def _read(
        path: str | Path, controlnet: str | Path | None, dtype: torch.dtype, allow_download: bool
    ) -> dict[str, Any]:
        """The parts of the model in a folder, by the names of `__init__`."""
        parts = load_folder(path, dtype, allow_download)
        return {**parts, "controlnet": load_controlnet(controlnet, dtype, allow_download)}

    @classmethod
    def from_single_file(
        cls,
        path: str | Path,
        config: str | Path,
        controlnet: str | Path | None = None,
        allow_download: bool = False,
        **options: Unpack[Options],
    ) -> DiffusersModel:
        """The model in one `.safetensors` file of Stable Diffusion's original layout.

        `config` is a folder of diffusers' layout with the configurations and tokenizers of such a
        model; it needs no weights. The rest is as in `from_folder`.
        """
        dtype = options.get("dtype", torch.float32)
        parts = load_single_file(path, config, dtype, allow_download)
        control = load_controlnet(controlnet, dtype, allow_download)
        return cls(**parts, controlnet=control, **options)

    @property
    def device(self) -> torch.device:
        """Where the model is and leaves its results."""
        return self._device

    @property
    def max_batch(self) -> int:
        """How many latents go in one batch; it shrinks when memory runs out."""
        return self._sampler.max_batch

    def encode_text(self, prompts: list[str], negative: bool = False) -> PromptEmbeddings:
        """The conditioning of prompts, one row each (`text.encode_text`).

        Some families read `negative` prompts in another way; these do not.
        """
        return encode_text(prompts, self._text_encoders, self._tokenizers)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents `(n, c, h', w')` of pictures `(n, 3, h, w)` in 0..1 (`DiffusersCodec`)."""
        return self._codec.encode(pictures)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures `(n, 3, h, w)` in 0..1 of latents `(n, c, h', w')` (`DiffusersCodec`)."""
        return self._codec.decode(latents)

    def schedule(self, denoise: float, min_steps: int = 1) -> Schedule:
        """The steps from `denoise` in (0, 1] to clean latents (`schedule_from`)."""
        return self._schedule.schedule(denoise, min_steps)

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        """`(a, s)` such that `a * latent + s * noise` is a latent at the first timestep."""
        return self._schedule.scales(schedule)

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Take all steps of `schedule` from `noisy` `(n, c, h', w')` (`DiffusersSampler`)."""
        return self._sampler.sample(noisy, schedule, guidance)

    def features(self, latents: Tensor, text: PromptEmbeddings, draws: int) -> list[Tensor]:
        """Activations of some blocks for clean latents (`DiffusersFeatures`)."""
        return self._features(latents, text, draws)

    def checkpointing(self, on: bool) -> None:
        """Whether `predict_noise` recomputes activations for the backward pass or keeps them."""
        self._network.checkpointing(on)

    def predict_noise(
        self, noisy: Tensor, levels: Tensor, text: PromptEmbeddings, negatives: int = 0
    ) -> Tensor:
        """Return the noise in `noisy` `(n, c, h', w')`, unguided and differentiable in `text`.

        `levels` `(n,)` are values of `denoise`, as `schedule` takes them, and not sigmas. The
        halves of guidance differ in text alone, so that `negatives` changes nothing.

        It is the noise whatever the network predicts. Raises `ValueError` for levels outside (0, 1]
        and for a text of another number of rows.
        """
        check_rows("text", text, len(noisy))
        network = self._network
        noisy = noisy.to(self._device, torch.float32)
        schedules = [self.schedule(level) for level in levels.tolist()]
        timesteps = torch.tensor([schedule.points[0] for schedule in schedules])
        conditions = network.conditions(text.repeated(len(noisy)), noisy)
        output = network(network.inputs(noisy), timesteps.to(self._device), conditions)
        scales = torch.tensor([self.scales(schedule) for schedule in schedules])
        scales = scales.to(self._device)[:, :, None, None, None].unbind(1)
        return self._schedule.read(output, noisy, scales)[1]
