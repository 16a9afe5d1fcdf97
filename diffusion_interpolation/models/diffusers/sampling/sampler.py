"""Denoises latents with the networks of diffusers, in batches that fit in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...contract import Guidance, Sampled, Schedule
from ...memory import Batches
from ...prompts import PromptEmbeddings, PromptMix

Steps = Callable[[Tensor, Schedule, Guidance], Sampled]
"""All steps of a schedule for one batch of latents, as a family of models takes them."""


class DiffusersSampler:
    """Takes `steps` on `device`, in batches of `max_batch`, which shrink when memory runs out.

    `hint_scale` is the pixels of a hint for each step of the latent grid; None for a model without
    a ControlNet.
    """

    def __init__(
        self, steps: Steps, device: torch.device, max_batch: int, hint_scale: int | None
    ) -> None:
        self._steps, self._device, self._hint_scale = steps, device, hint_scale
        self._batches = Batches(max_batch)

    @property
    def max_batch(self) -> int:
        return self._batches.size

    @torch.no_grad()
    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Take all steps of `schedule` from `noisy` `(n, c, h', w')`.

        A row's result does not depend on the others. Raises `ValueError` for a guidance whose rows
        or hint do not match the latents.
        """
        self._check(noisy, guidance)

        def work(rows: list[int]) -> Tensor:
            latents = noisy[rows].to(self._device, torch.float32)
            return torch.stack(self._steps(latents, schedule, guidance.rows(rows)), dim=1)

        groups = guidance.by_prompts(len(noisy))
        return Sampled(*self._batches.run_groups(work, groups).unbind(1))

    def _check(self, noisy: Tensor, guidance: Guidance) -> None:
        count, hint, strength = len(noisy), guidance.hint, guidance.strength
        check_rows("positive", guidance.positive, count)
        check_rows("negative", guidance.negative, count)
        if hint is None:
            return
        if self._hint_scale is None:
            raise ValueError("hint: got one, but this model has no ControlNet, which it needs")
        want = count, 3, *(side * self._hint_scale for side in noisy.shape[-2:])
        if hint.shape != want:
            raise ValueError(f"hint: got {tuple(hint.shape)}, these latents need {want}")
        if strength is not None and strength.shape != (count,):
            raise ValueError(f"strength: got {tuple(strength.shape)}, the hints need ({count},)")


def check_rows(name: str, text: PromptEmbeddings | PromptMix, count: int) -> None:
    """Raise `ValueError` unless a conditioning has a row for each of `count` latents, or one."""
    if len(text) not in (1, count):
        raise ValueError(f"{name}: has {len(text)} rows, {count} latents need {count} or 1")
