"""Makes candidates: blends two neighbours under one noise, and denoises the blend (step 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...models.contract import Codec, LatentDiffusionModel, Sampled, Schedule
from ..blend import noisy_blend
from ..guide import Guide
from ..noise import draw_noise, row_seed
from ..path import Slot
from ..plan import Plan

Job = tuple[Slot, int]
"""A candidate to be made: of which frame, and its number."""

Neighbours = Callable[[Sequence[Job], Mapping[int, Tensor]], tuple[Tensor, Tensor]]
"""The clean latents `(n, c, h', w')` left and right of candidates, from those of all frames."""


def neighbours(jobs: Sequence[Job], latents: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the clean latents `(n, c, h', w')` of the left and of the right neighbours."""
    left = torch.stack([latents[slot.left] for slot, _ in jobs])
    right = torch.stack([latents[slot.right] for slot, _ in jobs])
    return left, right


class DecodeError(RuntimeError):
    """Raised when latents cannot be made pictures; the frames before them are not lost."""


@dataclass(frozen=True)
class CandidateSampler:
    """Makes the latents of candidates, all of one depth, from those of their `neighbours`."""

    model: LatentDiffusionModel
    guide: Guide
    plan: Plan
    neighbours: Neighbours = neighbours

    def sample(self, jobs: Sequence[Job], latents: Mapping[int, Tensor]) -> Sampled:
        """Return candidates as far as their ranking; `latents` are those of frames by number.

        Of candidates that are finished before the ranking, the prediction is the latent itself.
        """
        schedule, after = self.plan.schedules(jobs[0][0])
        noisy = self._blended(jobs, *self.neighbours(jobs, latents), schedule)
        sampled = self._denoised(jobs, noisy, schedule)
        return sampled if after else Sampled(sampled.latents, sampled.latents)

    def finish(self, jobs: Sequence[Job], partial: Tensor) -> Tensor:
        """Return the clean latents of candidates that were ranked as `partial` samples."""
        _, schedule = self.plan.schedules(jobs[0][0])
        # a sampler that adds noise would draw what it drew in the steps before the ranking
        return finite(self._denoised(jobs, partial, schedule, offset=1).latents)

    def _blended(
        self, jobs: Sequence[Job], left: Tensor, right: Tensor, schedule: Schedule
    ) -> Tensor:
        """Mix the latents `(n, c, h', w')` of both neighbours under one noise each."""
        settings = self.plan.settings
        noise = [draw_noise(left.shape[1:], settings.seed, s.position, n) for s, n in jobs]
        weights = torch.tensor([slot.weight for slot, _ in jobs])
        scales = self.model.scales(schedule)
        return noisy_blend(left, right, torch.stack(noise), weights, scales, settings.blend)

    def _denoised(
        self, jobs: Sequence[Job], noisy: Tensor, schedule: Schedule, offset: int = 0
    ) -> Sampled:
        """Take the steps of `schedule` with samplers' noise from each row's seed plus `offset`."""
        settings, places = self.plan.settings, [slot.position for slot, _ in jobs]
        guidance = self.guide.at(places, self.model, tuple(noisy.shape[2:]))
        seeds = [(row_seed(settings.seed, s.position, n) + offset) % 2**64 for s, n in jobs]
        noisy = noisy.to(self.model.device)
        return self.model.sample(noisy, schedule, replace(guidance, seeds=seeds))


def decode(codec: Codec, latents: Tensor) -> Tensor:
    """Return the pictures of latents; raise `DecodeError` where the autoencoder fails."""
    try:
        return codec.decode(latents)
    except RuntimeError as error:
        raise DecodeError(f"frames: a candidate cannot be decoded ({error})") from error


def finite(latents: Tensor) -> Tensor:
    """Return `latents`; raise `FloatingPointError` for numbers that are not finite."""
    if not latents.isfinite().all():
        raise FloatingPointError(
            "frames: the model gave numbers that are not finite; try float32, or a lower cfg"
        )
    return latents
