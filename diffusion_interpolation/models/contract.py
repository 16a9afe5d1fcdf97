"""What the method asks of a latent diffusion model, and the things that pass between the two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..method.blend import slerp


@dataclass(frozen=True)
class PromptEmbeddings:
    """Conditioning of `n` rows.

    Token states `(n, tokens, width)` and, for SDXL, pooled states `(n, width)`.
    """

    embeddings: Tensor
    pooled: Tensor | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def map(self, change: Callable[[Tensor], Tensor]) -> PromptEmbeddings:
        """The same conditioning with `change` applied to every tensor in it."""
        return PromptEmbeddings(
            change(self.embeddings), None if self.pooled is None else change(self.pooled)
        )

    def rows(self, index: Iterable[int]) -> PromptEmbeddings:
        """The rows of `index`; a conditioning of one row serves every index."""
        wanted = [0 if len(self) == 1 else i for i in index]
        return self.map(lambda tensor: tensor[wanted])

    def at(self, positions: Tensor) -> PromptEmbeddings:
        """A row a position, on the great circle between two keyframes' rows (method, step 5).

        `positions` are on the CPU, in float64, which not every device has. One row serves every
        position. Raises `ValueError` for a position outside of `[0, n - 1]`.
        """
        if len(self) == 1:
            return self.rows([0] * len(positions))
        check_positions(positions.tolist(), len(self))
        left = positions.floor().clamp(0, len(self) - 2).long()
        share, left = positions - left, left.tolist()
        right = [row + 1 for row in left]
        return self.map(lambda tensor: slerp(tensor[left], tensor[right], share))


@dataclass(frozen=True)
class Guidance:
    """Everything that a batch of `n` latents is denoised under.

    `positive` and `negative` have `n` rows or one; `cfg` is the scale of classifier-free guidance
    (1: none). `hint` `(n, 3, H, W)` in 0..1 goes to the ControlNet with the strengths `(n,)`, for
    both halves of guidance. `seeds`, one a row, are for samplers that add noise on the way.
    `positions`, one a row, say where on the path the latents are, in keyframes.
    """

    positive: PromptEmbeddings
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

    A whole schedule ends clean. The points are numbers of the sampler that made them, which fall:
    timesteps, or sigmas. `len` is the number of steps, which lead from each point to the next one.
    A slice takes some of the steps, so that `s[:k]` and then `s[k:]` are all steps of `s`.
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

    Both are `(n, c, h', w')`. At the end of a whole schedule the two are the same, but for samplers
    that do something else in their last step.
    """

    latents: Tensor
    denoised: Tensor


class Sampler(Protocol):
    """Takes noise off latents under a guidance. Latents are in the model's own scale.

    `denoise`, in (0, 1], says how much noise a latent gets: a noise-to-signal ratio, the same in
    every model (`noise_ratio`); 1 is pure noise. Latents go to `device` and come from it.
    `max_batch` is how many of them `sample` should get at once; it may shrink while memory runs
    out. `hint_scale` is the pixels of a ControlNet hint for each step of the latent grid.
    """

    device: torch.device
    max_batch: int
    hint_scale: int

    def schedule(self, denoise: float, min_steps: int = 1) -> Schedule:
        """The steps from exactly `denoise` to clean latents, at least `min_steps` of them."""

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        """`(a, s)` such that `a * latent + s * noise` is a latent at the first point."""

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Take all steps of `schedule` from `noisy` `(n, c, h', w')` at its first point.

        A row's result does not depend on the others.
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

        `levels` `(n,)` are values of `denoise`, as `schedule` takes them. The first `negatives`
        rows are those under the negative prompt, for models to which the two halves of guidance
        differ in more than their text.
        """


class LatentDiffusionModel(Sampler, Codec, Protocol):
    """What frames are made with."""


class LearnableModel(LatentDiffusionModel, NoisePredictor, Protocol):
    """What inversion works on. It calls `schedule`, `scales`, `encode` and `predict_noise`."""


def check_positions(positions: Sequence[float], rows: int) -> None:
    """Raise `ValueError` for a position, in keyframes, that lies outside of `rows` keyframes."""
    first, last = min(positions), max(positions)
    if not 0 <= first <= last <= rows - 1:
        raise ValueError(
            f"position: got {first:g} to {last:g}, needs 0 to {rows - 1}: there are {rows} rows"
        )


def move(text: PromptEmbeddings, like: Tensor) -> PromptEmbeddings:
    """`text` on the device and in the type of `like`."""
    return text.map(lambda tensor: tensor.to(like))


def stack(texts: list[PromptEmbeddings]) -> PromptEmbeddings:
    """Rows of several conditionings, one after the other."""
    pooled = [text.pooled for text in texts if text.pooled is not None]
    return PromptEmbeddings(
        torch.cat([text.embeddings for text in texts]), torch.cat(pooled) if pooled else None
    )
