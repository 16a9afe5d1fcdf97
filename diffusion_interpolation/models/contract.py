"""What the method asks of a latent diffusion model, and the things that pass between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .prompts import PromptEmbeddings, PromptMix


@dataclass(frozen=True)
class Guidance:
    """Everything that a batch of `n` latents is denoised under.

    `positive` and `negative` have `n` rows, or one that serves all; `positive` may be a mix of
    several prompts. `cfg` is the scale of classifier-free guidance (1: none). `hint` `(n, 3, H, W)`
    in 0..1 goes to the ControlNet with the strengths `(n,)`, for all prompts. `seeds`, one a row,
    are for samplers that add noise on the way. `positions`, one a row, say where on the path the
    latents are, in keyframes; they serve what prompts carry for each keyframe, such as hints of
    ControlNets, while `positive` is interpolated already.
    """

    positive: PromptEmbeddings | PromptMix
    negative: PromptEmbeddings
    cfg: float
    hint: Tensor | None = None
    strength: Tensor | None = None
    seeds: Sequence[int] | None = None
    positions: Sequence[float] | None = None

    def rows(self, index: list[int]) -> Guidance:
        """The guidance of some of the rows."""
        return replace(
            self,
            positive=self.positive.rows(index),
            negative=self.negative.rows(index),
            hint=None if self.hint is None else self.hint[index],
            strength=None if self.strength is None else self.strength[index],
            seeds=None if self.seeds is None else [self.seeds[i] for i in index],
            positions=None if self.positions is None else [self.positions[i] for i in index],
        )

    def positives(self) -> list[tuple[PromptEmbeddings, Tensor | None]]:
        """The positive prompts, with their weights `(n,)`; None for the weight of a single one."""
        if isinstance(self.positive, PromptEmbeddings):
            return [(self.positive, None)]
        used = self.positive.used()
        return used if len(used) > 1 else [(used[0][0], None)]

    def texts(self) -> list[PromptEmbeddings]:
        """The prompts to predict under: the negative, unless `cfg` is 1, and the positives."""
        positives = [text for text, _ in self.positives()]
        return positives if self.cfg == 1 else [self.negative, *positives]

    def guided(self, predictions: Sequence[Tensor]) -> Tensor:
        """Combine predictions `(n, c, h', w')`, one under each of `texts`, into the guided one."""
        *negative, towards = predictions
        weights = [weight for _, weight in self.positives()]
        if len(weights) > 1:
            negative, positives = predictions[: -len(weights)], predictions[-len(weights) :]
            pairs = zip(weights, positives, strict=True)
            towards = sum(weight.to(one)[:, None, None, None] * one for weight, one in pairs)
        if self.cfg == 1:
            return towards
        [away] = negative
        return away + self.cfg * (towards - away)

    def by_prompts(self, count: int) -> list[list[int]]:
        """The rows, of `count`, in groups that are denoised under the same prompts."""
        if isinstance(self.positive, PromptEmbeddings):
            return [list(range(count))]
        return self.positive.groups()

    def by_strength(self, count: int) -> dict[float, list[int]]:
        """The rows, of `count`, of each strength of the ControlNet, in order.

        It is rounded, because positions as far from a keyframe may differ in their last bit.
        """
        if self.hint is None or self.strength is None:
            return {1.0: list(range(count))}
        groups: dict[float, list[int]] = {}
        for row, strength in enumerate(self.strength.tolist()):
            groups.setdefault(round(strength, 4), []).append(row)
        return groups


@dataclass(frozen=True)
class Schedule:
    """The noise points that a sampler visits, noisiest first.

    The last point of a whole schedule has no noise. The points are falling numbers, timesteps or
    sigmas, whose meaning only the sampler that made them knows. `len` is the number of steps, which
    lead from each point to the next one. A slice takes some of the steps, so that `s[:k]` and then
    `s[k:]` are all steps of `s`. Raises `ValueError` for a slice with a stride.
    """

    points: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.points) - 1

    def __getitem__(self, steps: slice) -> Schedule:
        start, stop, stride = steps.indices(len(self))
        if stride != 1:
            raise ValueError(f"schedule: got a slice with a stride of {stride}, needs 1")
        return Schedule(self.points[start : max(start, stop) + 1])


class Sampled(NamedTuple):
    """Latents at the last point of a schedule, and the denoised prediction of the last step.

    Both are `(n, c, h', w')`. At the end of a whole schedule the two are equal, except with
    samplers whose last step does something else.
    """

    latents: Tensor
    denoised: Tensor


class Sampler(Protocol):
    """Takes noise off latents under a guidance. Latents are in the model's own scale.

    `denoise`, in (0, 1], says how much noise a latent gets; 1 is pure noise. It is not the
    noise-to-signal ratio: `models.denoise.noise_ratio` converts it, in the same way for every
    model. Latents go to `device` and come from it. `max_batch` is the most latents that one call of
    `sample` should get; it shrinks when memory runs out. `hint_scale` is how many pixels of a
    ControlNet hint lie along one cell of the latent grid.
    """

    device: torch.device
    max_batch: int
    hint_scale: int

    def schedule(self, denoise: float, min_steps: int = 1) -> Schedule:
        """The steps from exactly `denoise` to clean latents, at least `min_steps` of them."""

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        """`(a, s)` such that `a * latent + s * noise` is noisy as at the first point."""

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Take all steps of `schedule` from `noisy` `(n, c, h', w')` at its first point.

        A row's result does not depend on the others, except in its last bits.
        """


class Codec(Protocol):
    """Makes latents of pictures, and pictures of latents."""

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents `(n, c, h', w')` of pictures `(n, 3, h, w)` in 0..1."""

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures `(n, 3, h, w)` in 0..1 of latents `(n, c, h', w')`."""


class NoisePredictor(Protocol):
    """The network alone, which inversion differentiates."""

    def predict_noise(
        self, noisy: Tensor, levels: Tensor, text: PromptEmbeddings, negatives: int = 0
    ) -> Tensor:
        """The noise in `(n, c, h', w')`, unguided, differentiable in `text`.

        `levels` `(n,)` are values of `denoise`, as `schedule` takes them. Rows `0` to
        `negatives - 1` are under the negative prompt. Some models treat these rows differently in
        more than the text.
        """


class LatentDiffusionModel(Sampler, Codec, Protocol):
    """What frames are made with."""


class LearnableModel(LatentDiffusionModel, NoisePredictor, Protocol):
    """What inversion works on.

    Inversion calls `schedule`, `scales`, `encode` and `predict_noise`, and reads `device` and
    `max_batch`.
    """
