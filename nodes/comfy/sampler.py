"""Denoises latents with a MODEL and a SAMPLER of ComfyUI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import comfy.model_management as memory
import comfy.sampler_helpers
import comfy.samplers

from ...diffusion_interpolation.models.contract import Guidance, Sampled, Schedule
from ...diffusion_interpolation.models.memory import Batches
from .codec import carry_noisy, check_flat, take_noisy
from .conditioning import Conditioning, Places, write_conditioning
from .control import PoseControl
from .noise import row_wise
from .schedule import as_sigmas

OnStep = Callable[[int, Tensor], None]
"""Called after every step of a sampler with the number of latents and their denoised state."""

MAX_ROWS = 32


class ComfySampler:
    """A SAMPLER that denoises with `model`.

    `positive` and `negative` are what a CONDITIONING holds beside its token and pooled states; they
    go with every text. `rows` is the most latents denoised at once, 0: as many as fit in memory.
    Where the `mask` `(rows, h, w)` of any size is 0, latents stay as they are; its rows are
    repeated, as the host repeats those of a `noise_mask`. Raises `ValueError` for a model of video.
    """

    def __init__(
        self,
        model: Any,
        sampler: Any,
        control: PoseControl,
        *,
        positive: dict[str, Any] | None = None,
        negative: dict[str, Any] | None = None,
        rows: int = 0,
        mask: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        check_flat(model)
        self._model, self._sampler, self._control = model, sampler, control
        self._rest, self._mask = (positive or {}, negative or {}), mask
        self.on_step = on_step
        self._batches: Batches | None = Batches(rows, memory.soft_empty_cache) if rows else None

    @property
    def device(self) -> torch.device:
        """Latents wait where the host keeps its results."""
        return memory.intermediate_device()

    @property
    def max_batch(self) -> int:
        return MAX_ROWS if self._batches is None else self._batches.size

    @property
    def hint_scale(self) -> int:
        return self._control.hint_scale

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Take all steps of `schedule` from `noisy` `(n, c, h', w')`, in batches that fit.

        A ControlNet of the host has one strength, so rows of different strength go separately. A
        sampler that remembers its steps starts again at the first of `schedule`.
        """
        if self._batches is None:
            self._batches = Batches(self._rows_that_fit(noisy), memory.soft_empty_cache)
        mask, sigmas = self._prepared_mask(noisy), as_sigmas(schedule)
        both = torch.stack([noisy, noisy], dim=1)
        for rows in guidance.by_strength(len(noisy)).values():

            def work(part: list[int], rows: list[int] = rows) -> Tensor:
                index = [rows[i] for i in part]
                masked = None if mask is None else mask[index]
                found = self._sample(noisy[index], sigmas, guidance.rows(index), masked)
                return torch.stack(found, dim=1)

            both[rows] = self._batches.run(work, len(rows)).to(both)
        return Sampled(*both.unbind(1))

    def _prepared_mask(self, noisy: Tensor) -> Tensor | None:
        """The mask in the size of the latents, with a row for each."""
        if self._mask is None:
            return None
        # one channel, as the host will repeat it once more
        return comfy.sampler_helpers.prepare_mask(self._mask, noisy.shape, noisy.device)[:, :1]

    def _sample(
        self, noisy: Tensor, sigmas: Tensor, guidance: Guidance, mask: Tensor | None
    ) -> Sampled:
        if len(sigmas) < 2:
            return Sampled(noisy, noisy)
        predicted = []

        def stepped(step: int, denoised: Tensor, x: Tensor, steps: int) -> None:
            predicted[:] = [denoised]
            self._stepped(denoised)

        start = carry_noisy(self._model, noisy, sigmas[0])
        guider = comfy.samplers.CFGGuider(self._model)
        guider.set_conds(*self._conditionings(guidance))
        guider.set_cfg(guidance.cfg)
        sampled = guider.sample(
            torch.zeros_like(start),  # the noise is in there already
            start,
            row_wise(self._sampler, guidance.seeds, start.to(self._model.load_device), sigmas),
            sigmas,
            denoise_mask=mask,
            callback=stepped,
            disable_pbar=True,
            seed=guidance.seeds[0] if guidance.seeds else 0,
        )
        latents = take_noisy(self._model, sampled.to(noisy), sigmas[-1])
        # the samplers of other packs may tell nothing of their steps
        return Sampled(latents, predicted[0].to(noisy) if predicted else latents)

    def _stepped(self, denoised: Tensor) -> None:
        memory.throw_exception_if_processing_interrupted()
        if self.on_step:
            self.on_step(len(denoised), denoised)

    def _conditionings(self, guidance: Guidance) -> list[Conditioning]:
        """Positive and negative, with all that goes with them."""
        places = Places(guidance.positions or [])
        positive, negative = (places.rest(rest) for rest in self._rest)
        self._control.add(guidance, positive, negative)
        return [
            write_conditioning(guidance.positive, positive),
            write_conditioning(guidance.negative, negative),
        ]

    def _rows_that_fit(self, latents: Tensor) -> int:
        """How many latents the free memory holds beside the networks, both halves of guidance."""
        needed = _needed(self._model, latents.shape)
        memory.load_models_gpu(
            [self._model, *self._control.networks()],
            memory_required=MAX_ROWS * needed,
            minimum_memory_required=needed,
        )
        free = memory.get_free_memory(self._model.load_device)
        return max(1, min(MAX_ROWS, int(free / needed)))


def _needed(patcher: Any, latent_shape: Sequence[int]) -> float:
    """Bytes that one latent needs in the sampler, both halves of guidance."""
    return patcher.model.memory_required([2, *latent_shape[1:]])
