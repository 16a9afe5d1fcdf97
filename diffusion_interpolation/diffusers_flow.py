"""The method's latent diffusion model over a flow transformer of diffusers, Lumina 2's NextDiT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .diffusers_model import DiffusersModel, token_ids
from .model import Begun, Guidance, Text, stack

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, Lumina2Transformer2DModel
    from transformers import CLIPTextModel, CLIPTokenizer


class DiffusersFlow(DiffusersModel):
    """A flow transformer on latents `(1 - sigma) x + sigma noise`, sampled with Euler steps.

    A noise level is a time of flow matching before its shift, as it is in ComfyUI. `scheduler` is
    the configuration of a `FlowMatchEulerDiscreteScheduler` with a fixed shift. There is one text
    encoder and no ControlNet. Everything else is as in `DiffusersModel`.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        transformer: Lumina2Transformer2DModel,
        scheduler: Mapping[str, Any],
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        *,
        steps: int = 20,
        batch_size: int = 8,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._check_parts(vae, transformer, text_encoder)
        self._shift_of_time = float(scheduler.get("shift", 1.0))
        self._sigmas = _sigmas(scheduler, steps)
        self._take(vae, [text_encoder], [tokenizer], batch_size, device, dtype)
        self._transformer = self._place("transformer", transformer, dtype)
        self._controlnet = None

    @staticmethod
    def _check_parts(
        vae: AutoencoderKL, transformer: Lumina2Transformer2DModel, text_encoder: CLIPTextModel
    ) -> None:
        for got, want, what in (
            (
                transformer.config.in_channels,
                vae.config.latent_channels,
                "number of channels of the vae",
            ),
            (transformer.config.cap_feat_dim, text_encoder.config.hidden_size, "width of the text"),
        ):
            if got != want:
                raise ValueError(f"transformer: takes {got}, but the {what} is {want}")

    @property
    def _latent_unit(self) -> int:
        return self._transformer.config.patch_size

    def checkpointing(self, on: bool) -> None:
        """Whether `predict_noise` recomputes activations for the backward pass or keeps them."""
        if on:
            self._transformer.enable_gradient_checkpointing()
        else:
            self._transformer.disable_gradient_checkpointing()

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Text:
        """The conditioning of prompts, one row each, without the padding of the text encoder.

        Where prompts differ in length, the states after the end of a shorter one are 0, which no
        state of a token is; the transformer does not see them. Raises `ValueError` for a prompt
        longer than the encoder can read.
        """
        [encoder], [tokenizer] = self._text_encoders, self._tokenizers
        tokens = token_ids(prompts, tokenizer, encoder.config.max_position_embeddings)
        lengths = torch.tensor([len(ids) for ids in tokenizer(prompts).input_ids])
        states = encoder(tokens.to(self._device)).last_hidden_state.float()
        inside = torch.arange(int(lengths.max())) < lengths[:, None]
        return Text(states[:, : inside.shape[1]] * inside[:, :, None].to(states))

    def scales(self, level: float) -> tuple[float, float]:
        """`(1 - sigma, sigma)` at the last sigma of the schedule not above that of `level`.

        Below the lowest sigma it is the lowest. Raises `ValueError` outside (0, 1].
        """
        sigma = self._sigmas[self._timestep(level)].item()
        return 1 - sigma, sigma

    def timesteps(self, level: float, until: float | None = None) -> list[int]:
        """The places in the schedule that `denoise` visits from `level` on, down to `until`."""
        last = len(self._sigmas) - 1 if until is None else self._timestep(until)
        return list(range(self._timestep(level), last))

    def _timestep(self, level: float) -> int:
        if not 0 < level <= 1:
            raise ValueError(f"noise level: got {level}, it must be above 0 and at most 1")
        sigma = _shifted(level, self._shift_of_time)
        # a level that went through float32 stays where it was
        above = self._sigmas > sigma * (1 + 1e-5)
        return min(int(above.sum()), len(self._sigmas) - 2)

    def _sample(self, latents: Tensor, timesteps: list[int], guidance: Guidance) -> Begun:
        """`latents` taken down all of `timesteps`, both halves of guidance in one forward pass."""
        clean = latents
        halves = 1 if guidance.cfg == 1 else 2
        text = _stacked([guidance.negative, guidance.positive][-halves:])
        for place in timesteps:
            sigma, lower = self._sigmas[place].item(), self._sigmas[place + 1].item()
            sigmas = latents.new_full((halves * len(latents),), sigma)
            way = self._velocity(latents.repeat(halves, 1, 1, 1), sigmas, text)
            if halves == 2:
                negative, positive = way.chunk(2)
                way = negative + guidance.cfg * (positive - negative)
            clean = latents - sigma * way
            latents = latents + (lower - sigma) * way
        return Begun(latents, clean)

    def _velocity(self, noisy: Tensor, sigmas: Tensor, text: Text) -> Tensor:
        """`d latents / d sigma` at `sigmas` `(n,)`; Lumina's time runs from noise to picture."""
        states = text.states.to(self._device, self._dtype)
        seen = states.detach().ne(0).any(-1)
        latents = noisy.to(self._dtype)
        output = self._transformer(
            latents, (1 - sigmas).to(latents), states, seen, return_dict=False
        )
        return -output[0].float()

    def predict_noise(
        self, noisy: Tensor, levels: Tensor, text: Text, negatives: int = 0
    ) -> Tensor:
        """The noise in `(n, c, h', w')` at `levels` `(n,)`, unguided, differentiable in `text`.

        It is `x + (1 - sigma) v` of the velocity `v`; `negatives` changes nothing.
        """
        if len(text) not in (1, len(noisy)):
            raise ValueError(
                f"text: has {len(text)} rows, {len(noisy)} latents want {len(noisy)} or 1"
            )
        noisy = noisy.to(self._device, torch.float32)
        places = [self._timestep(level) for level in levels.tolist()]
        sigmas = self._sigmas[places].to(self._device)
        way = self._velocity(noisy, sigmas, text.rows(range(len(noisy))))
        return noisy + (1 - sigmas)[:, None, None, None] * way


def _sigmas(config: Mapping[str, Any], steps: int) -> Tensor:
    """`(steps + 1,)`: times spread evenly over 1 to 0, shifted as the scheduler shifts them."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    if config.get("use_dynamic_shifting"):
        raise ValueError("scheduler: it shifts by the size of the picture, want a fixed shift")
    if steps < 1:
        raise ValueError(f"steps: got {steps}, want at least 1")
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(dict(config))
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, steps + 1)[:-1].tolist())
    return scheduler.sigmas


def _shifted(time: float, shift: float) -> float:
    return shift * time / (1 + (shift - 1) * time)


def _stacked(texts: list[Text]) -> Text:
    """Rows of several conditionings; shorter ones are filled up with states that are not seen."""
    longest = max(text.states.shape[1] for text in texts)

    def filled(states: Tensor) -> Tensor:
        return F.pad(states, (0, 0, 0, longest - states.shape[1]))

    return stack([text.map(filled) for text in texts])
