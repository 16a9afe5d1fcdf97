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
from .codec import carry_noisy, check_pictures, has_frames, take_noisy, without_frames
from .conditioning import Conditioning, Places, mixed, write_entry
from .control import PoseControl, References
from .lora import told_positions
from .noise import row_wise
from .schedule import as_sigmas

OnStep = Callable[[int, Tensor], None]
"""Called after every step of a sampler with the number of latents and their denoised state."""

MAX_ROWS = 32


class ComfySampler:
    """A SAMPLER that denoises with `model`.

    `rows` is the most latents denoised at once, 0: as many as fit in memory. Where the `mask`
    `(rows, h, w)` of any size is 0, latents stay as they are; its rows are repeated, as the host
    repeats those of a `noise_mask`. Raises `ValueError` for a model of sound.
    """

    def __init__(
        self,
        model: Any,
        sampler: Any,
        control: PoseControl,
        *,
        references: References | None = None,
        rows: int = 0,
        mask: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        check_pictures(model)
        self._model, self._sampler, self._control, self._mask = model, sampler, control, mask
        self._references = references or References(model, None)
        self.on_step = on_step
        self._batches: Batches | None = Batches(rows, memory.soft_empty_cache) if rows else None

    @property
    def network(self) -> str:
        """The name of the network's class."""
        return type(self._model.model.diffusion_model).__name__

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

        Rows of different prompts go separately, so that no row is predicted under a prompt without
        weight; so do rows of different strength, since a ControlNet of the host has one strength.
        A sampler that remembers its steps starts again at the first of `schedule`.
        """
        if self._batches is None:
            rows = self._rows_that_fit(noisy, guidance)
            self._batches = Batches(rows, memory.soft_empty_cache)
        mask, sigmas = self._prepared_mask(noisy), as_sigmas(schedule)

        def work(rows: list[int]) -> Tensor:
            masked = None if mask is None else mask[rows]
            found = self._sample(noisy[rows], sigmas, guidance.rows(rows), masked)
            return torch.stack(found, dim=1)

        groups = _alike(guidance, len(noisy))
        return Sampled(*self._batches.run_groups(work, groups).unbind(1))

    def _prepared_mask(self, noisy: Tensor) -> Tensor | None:
        """The mask in the size of the latents, with a row for each."""
        if self._mask is None:
            return None
        # one channel, as the host will repeat it once more
        mask = comfy.sampler_helpers.prepare_mask(self._mask, noisy.shape, noisy.device)[:, :1]
        return mask.unsqueeze(2) if has_frames(self._model) else mask

    def _sample(
        self, noisy: Tensor, sigmas: Tensor, guidance: Guidance, mask: Tensor | None
    ) -> Sampled:
        if len(sigmas) < 2:
            return Sampled(noisy, noisy)
        predicted = []

        def stepped(step: int, denoised: Tensor, x: Tensor, steps: int) -> None:
            predicted[:] = [without_frames(denoised)]
            self._stepped(denoised)

        start = carry_noisy(self._model, noisy, sigmas[0])
        guider = comfy.samplers.CFGGuider(self._model)
        guider.set_conds(*self._conditionings(guidance, start.shape[2:]))
        guider.set_cfg(guidance.cfg)
        guider.model_options = told_positions(guider.model_options, guidance.positions or [])
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

    def _conditionings(self, guidance: Guidance, grid: Sequence[int]) -> list[Conditioning]:
        """Positive and negative, with all that goes with them, for latents of `grid`."""
        places = Places(guidance.positions or [])
        texts, weights = zip(*guidance.positives(), strict=True)
        rests = [places.rest(text.extras or {}) for text in texts]
        negative = places.rest(guidance.negative.extras or {})
        self._control.add(guidance, rests, negative)
        self._references.add(guidance.positions or [], [*rests, negative])
        if len(texts) > 1:
            rests = [mixed(*pair, grid) for pair in zip(rests, weights, strict=True)]
        positive = [write_entry(*pair) for pair in zip(texts, rests, strict=True)]
        return [positive, [write_entry(guidance.negative, negative)]]

    def _rows_that_fit(self, latents: Tensor, guidance: Guidance) -> int:
        """How many latents the free memory holds beside the networks, under all their prompts."""
        seen = max(2, len(guidance.texts())) * self._references.pictures
        needed = self._model.model.memory_required([seen, *latents.shape[1:]])
        memory.load_models_gpu(
            [self._model, *self._control.networks()],
            memory_required=MAX_ROWS * needed,
            minimum_memory_required=needed,
        )
        free = memory.get_free_memory(self._model.load_device)
        return max(1, min(MAX_ROWS, int(free / needed)))


def _alike(guidance: Guidance, count: int) -> list[list[int]]:
    """The rows, of `count`, in groups of one strength of the ControlNet and the same prompts."""
    return [
        [rows[i] for i in group]
        for rows in guidance.by_strength(count).values()
        for group in guidance.rows(rows).by_prompts(len(rows))
    ]
