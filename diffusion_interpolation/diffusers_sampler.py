"""Denoises latents with the networks of diffusers by DDIM at eta 0."""

from __future__ import annotations

import torch
from torch import Tensor

from .diffusers_control import DiffusersControl, no_residuals
from .diffusers_network import DiffusersNetwork
from .diffusers_schedule import DiffusersSchedule
from .memory import Batches
from .model import Guidance, Sampled, Schedule, Text, stack


class DiffusersSampler:
    """A denoiser with its schedule, and a ControlNet if there is one.

    It works in batches of `batch_size`, which shrink when memory runs out.
    """

    def __init__(
        self,
        network: DiffusersNetwork,
        schedule: DiffusersSchedule,
        control: DiffusersControl | None,
        batch_size: int,
    ) -> None:
        self._network, self._control = network, control
        self._ddim, self._batches = schedule.ddim, Batches(batch_size)

    @property
    def batch_size(self) -> int:
        return self._batches.size

    @torch.no_grad()
    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Take all steps of `schedule` from `noisy` `(n, c, h', w')`.

        A row's result does not depend on the others. Raises `ValueError` for a guidance whose rows
        or hint do not match the latents.
        """
        self._check(noisy, guidance)

        def work(rows: list[int]) -> Tensor:
            latents = noisy[rows].to(self._network.device, torch.float32)
            return torch.stack(self._steps(latents, schedule, guidance.rows(rows)), dim=1)

        return Sampled(*self._batches.run(work, len(noisy)).unbind(1))

    def _steps(self, latents: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """All steps of one batch, both halves of guidance in one forward pass."""
        network, denoised = self._network, latents
        halves = 1 if guidance.cfg == 1 else 2
        text = stack([guidance.negative, guidance.positive][-halves:])
        conditions = network.conditions(text, latents)
        residuals = self._control.residuals(guidance, halves) if self._control else no_residuals
        for timestep in schedule.points[:-1]:
            rows = network.inputs(latents.repeat(halves, 1, 1, 1))
            time = torch.full((len(rows),), timestep, device=network.device)
            output = network(rows, time, conditions | residuals(rows, time, conditions))
            if halves == 2:
                negative, positive = output.chunk(2)
                output = negative + guidance.cfg * (positive - negative)
            step = self._ddim.step(output, timestep, latents)
            latents, denoised = step.prev_sample, step.pred_original_sample
        return Sampled(latents, denoised)

    def _check(self, noisy: Tensor, guidance: Guidance) -> None:
        count, hint, strength = len(noisy), guidance.hint, guidance.strength
        check_rows("positive", guidance.positive, count)
        check_rows("negative", guidance.negative, count)
        if hint is None:
            return
        if self._control is None:
            raise ValueError("hint: got one, but this model has no ControlNet, which it wants")
        want = count, 3, *(side * self._control.hint_scale for side in noisy.shape[-2:])
        if hint.shape != want:
            raise ValueError(f"hint: got {tuple(hint.shape)}, these latents want {want}")
        if strength is not None and strength.shape != (count,):
            raise ValueError(f"strength: got {tuple(strength.shape)}, the hints want ({count},)")


def check_rows(name: str, text: Text, count: int) -> None:
    """Raise `ValueError` unless a conditioning has a row for each of `count` latents, or one."""
    if len(text) not in (1, count):
        raise ValueError(f"{name}: has {len(text)} rows, {count} latents want {count} or 1")
