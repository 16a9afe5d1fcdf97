"""This package's own way with parts of the peers'.

These are AID's attention to both keyframes, for which no inversion is needed: the keyframes of a
frame's gap go through the network beside it, under the frame's own noise, and are put back on that
noise at every step. And DiffMorpher's LoRAs and even speed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from diffusion_interpolation.lora_settings import LoraSettings
from diffusion_interpolation.method.path import Path, Slot
from diffusion_interpolation.models.contract import Guidance, Sampled, Schedule
from diffusion_interpolation.models.lora import KeyframeLora
from diffusion_interpolation.presets import MATCHED

from .attention import fused, hooked
from .corresponding import moved, moved_with_anchors
from .diffmorpher import learned, respaced
from .ours import bisection
from .peers import denoiser, places
from .registry import ROWS, Maker, Task, maker


@maker("attention to keyframes", rows="endpoint attention")
def attending(task: Task) -> Tensor:
    """Make frames as `bisection` does, on a model that looks at the keyframes."""
    keyframes = task.model.encode(task.pictures)
    return bisection(replace(task, model=AttendingModel(task.model, keyframes)))


ROWS["endpoint attention"]["attention to keyframes, denoise 0.75 to 0.4"] = {
    "maker": "attention to keyframes",
    "max_denoise": 0.75,
    "min_denoise": 0.40,
}


def _in_batches(
    size: int,
    sample: Callable[[Tensor, Schedule, Guidance], Sampled],
    noisy: Tensor,
    schedule: Schedule,
    guidance: Guidance,
) -> Sampled:
    """Sample `size` rows at a time."""
    batches = [batch.tolist() for batch in torch.arange(len(noisy)).split(size)]
    parts = [sample(noisy[rows], schedule, guidance.rows(rows)) for rows in batches]
    return Sampled(*(torch.cat(both) for both in zip(*parts, strict=True)))


class AttendingModel:
    """A model whose rows attend to the `keyframes` `(N, c, h', w')` before and after them."""

    def __init__(self, model: Any, keyframes: Tensor) -> None:
        self._model, self._keyframes = model, keyframes
        self._noise: dict[int, Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Take the steps one by one, in batches of whole groups of three."""
        size = max(1, self._model.max_batch // 3)
        return _in_batches(size, self._sampled, noisy, schedule, guidance)

    def _sampled(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        positions = torch.tensor(guidance.positions)
        before = positions.floor().long().clamp_max(len(self._keyframes) - 2)
        share = (positions - before).to(noisy)
        weights = torch.stack([torch.zeros_like(share), share, torch.ones_like(share)], 1)
        noise = torch.stack([self._noise_of(seed, noisy[0]) for seed in guidance.seeds])
        tripled = guidance.rows([row for row in range(len(noisy)) for _ in range(3)])
        denoised = noisy
        for step in range(len(schedule)):
            signal, sigma = self._model.scales(schedule[step:])
            ends = [signal * self._keyframes[before + end] + sigma * noise for end in (0, 1)]
            rows = torch.stack([ends[0], noisy, ends[1]], 1).flatten(0, 1)
            with hooked(denoiser(self._model), fused(weights), 3):
                sampled = self._model.sample(rows, schedule[step : step + 1], tripled)
            noisy, denoised = sampled.latents[1::3], sampled.denoised[1::3]
        return Sampled(noisy, denoised)

    def _noise_of(self, seed: int, like: Tensor) -> Tensor:
        """The noise that a frame began with; after the ranking, its seed is one higher."""
        first = seed if (seed - 1) % 2**64 not in self._noise else (seed - 1) % 2**64
        if first not in self._noise:
            drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(first))
            self._noise[first] = drawn.to(like)
        return self._noise[first]


class AdaptedModel:
    """A model whose network has, for each latent, the mix of its two keyframes' LoRAs."""

    def __init__(self, model: Any, lora: KeyframeLora) -> None:
        self._model, self._lora = model, lora

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Denoise in the model's own batches, so that a batch of the network has one LoRA a row."""
        return _in_batches(self._model.max_batch, self._sampled, noisy, schedule, guidance)

    def _sampled(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        with self._lora.on(denoiser(self._model), self._lora.weights(guidance.positions)):
            return self._model.sample(noisy, schedule, guidance)


def with_lora(task: Task) -> Task:
    """The task with a model that draws each frame under the mix of two LoRAs."""
    lora = learned(task, task.model.encode(task.pictures), LoraSettings())
    return replace(task, model=AdaptedModel(task.model, lora))


@maker("moved, LoRA", rows="identity", posed=False, **MATCHED)
def moved_with_lora(task: Task) -> Tensor:
    """Move along a correspondence, under LoRAs of the keyframes."""
    return moved(with_lora(task))


@maker("moved, joints are anchors, LoRA", rows="identity", **MATCHED)
def moved_with_anchors_and_lora(task: Task) -> Tensor:
    """Move along the features and the true joints, under LoRAs of the keyframes."""
    return moved_with_anchors(with_lora(task))


@dataclass(frozen=True)
class PlacedSlot(Slot):
    """A frame with a weight of its own between its neighbours."""

    share: float = 0.5

    @property
    def weight(self) -> float:
        return self.share


@dataclass(frozen=True)
class PlacedPath(Path):
    """A path whose frames lie at `positions`, in keyframes."""

    positions: tuple[float, ...] = ()

    def position(self, frame: int) -> float:
        return self.positions[frame]

    def slots(self) -> list[list[Slot]]:
        return [[self._placed(slot) for slot in slots] for slots in super().slots()]

    def _placed(self, slot: Slot) -> PlacedSlot:
        left, here, right = (self.positions[i] for i in (slot.left, slot.index, slot.right))
        share = (here - left) / (right - left) if right > left else 0.5
        return PlacedSlot(slot.index, here, slot.depth, slot.left, slot.right, share)


def evenly(task: Task, make: Maker) -> Tensor:
    """Make frames, find the places between which they would take equal steps, and make these."""
    frames = make(task)
    frames[task.path.keyframes] = task.pictures
    found = respaced(task, frames, places(task)).tolist()
    positions = [2 * pair + place for pair, each in enumerate(found) for place in each]
    return make(replace(task, path=PlacedPath(task.path.between, tuple(positions))))


@maker("moved, even speed", rows="even speed", **MATCHED)
def moved_evenly(task: Task) -> Tensor:
    """Make frames of even speed along what the model's features say."""
    return evenly(task, moved)


@maker("moved, joints are anchors, even speed", rows="even speed", **MATCHED)
def moved_with_anchors_evenly(task: Task) -> Tensor:
    """Make frames of even speed along the features and the true joints."""
    return evenly(task, moved_with_anchors)
