"""Makes the frames of a path from the middle outward and streams them (method, steps 5 and 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .blend import Blend, noisy_blend
from .guide import Guide
from .model import LatentDiffusionModel
from .path import (
    Curve,
    Path,
    Slot,
    candidate_count,
    check_levels,
    check_seed,
    draw_noise,
    noise_level,
    row_seed,
)

Scorer = Callable[[Tensor], Tensor]
"""Maps pictures `(n, 3, h, w)` in 0..1 to one number each `(n,)`; the highest wins."""


@dataclass(frozen=True)
class Settings:
    """How frames are made.

    Levels are shares of the noise schedule; the candidates fall by one each depth.
    """

    highest: float = 0.55
    lowest: float = 0.30
    curve: Curve = "linear"
    candidates: int = 8
    least_candidates: int = 3
    blend: Blend = "slerp"
    seed: int = 0

    def check(self) -> None:
        """Raise `ValueError` for settings out of range."""
        check_levels(self.highest, self.lowest)
        candidate_count(1, self.candidates, self.least_candidates)
        check_seed(self.seed)


class DecodeError(RuntimeError):
    """Finished latents could not be made pictures; the frames before them are not lost."""


@dataclass(frozen=True)
class Frame:
    """A finished frame, on the CPU.

    It has its latent `(c, h', w')`, its picture `(3, h, w)` in 0..1, and which of its candidates
    it was by `scores` (empty without a scorer).
    """

    index: int
    position: float
    depth: int
    latent: Tensor
    picture: Tensor
    candidate: int = 0
    scores: tuple[float, ...] = ()


@dataclass
class _Candidates:
    """The best of a frame's candidates so far."""

    slot: Slot
    expected: int
    scores: list[float] = field(default_factory=list)
    best: tuple[int, Tensor, Tensor] | None = None

    def add(self, candidate: int, latent: Tensor, picture: Tensor, score: float) -> None:
        if self.best is None or score > max(self.scores):
            self.best = candidate, latent.clone(), picture.clone()
        self.scores.append(score)

    @property
    def complete(self) -> bool:
        return len(self.scores) == self.expected

    def frame(self, scored: bool) -> Frame:
        assert self.best is not None
        candidate, latent, picture = self.best
        scores = tuple(self.scores) if scored else ()
        return Frame(
            self.slot.index, self.slot.position, self.slot.depth, latent, picture, candidate, scores
        )


@dataclass(frozen=True)
class Bisection:
    """Everything that makes the frames of one path but the keyframes themselves."""

    model: LatentDiffusionModel
    path: Path
    guide: Guide
    settings: Settings = Settings()
    scorer: Scorer | None = None

    def frames(
        self, keyframes: Tensor, finished: Mapping[int, Tensor] | None = None
    ) -> Iterator[Frame]:
        """Yield every frame between `keyframes` as soon as it is chosen, in the order of depth.

        `keyframes` are clean latents `(N, c, h', w')`. Frames in `finished` (frame number to
        latent) are taken as they are and not yielded. All candidates of one depth go through the
        model in batches of its size; a frame depends on the seed, its position and its neighbours,
        not on the batch. Raises `ValueError` where the number of keyframes is not the path's, or a
        setting is out of range, `FloatingPointError` for a model whose numbers are not finite, and
        `DecodeError` for an autoencoder that fails.
        """
        self.settings.check()
        if len(keyframes) != len(self.path.keyframes):
            raise ValueError(
                f"keyframes: got {len(keyframes)}, the path has {len(self.path.keyframes)}"
            )
        latents = dict(zip(self.path.keyframes, keyframes.cpu(), strict=True)) | dict(
            finished or {}
        )
        for slots in self.path.slots():
            for frame in self._depth(
                [slot for slot in slots if slot.index not in latents], latents
            ):
                latents[frame.index] = frame.latent
                yield frame

    def count(self, slot: Slot) -> int:
        """The candidates of a frame; without a scorer there is nothing to choose by, so one."""
        if self.scorer is None:
            return 1
        return candidate_count(slot.depth, self.settings.candidates, self.settings.least_candidates)

    def cost(self, slot: Slot) -> float:
        """The work of a frame, in denoisings from pure noise."""
        return self.count(slot) * self.level(slot)

    def level(self, slot: Slot) -> float:
        """The level a frame is noised to."""
        s = self.settings
        return noise_level(slot.depth, self.path.depths, s.highest, s.lowest, s.curve)

    def _depth(self, slots: list[Slot], latents: Mapping[int, Tensor]) -> Iterator[Frame]:
        """Frames of one depth, whose neighbours are all in `latents`."""
        jobs = [(slot, candidate) for slot in slots for candidate in range(self.count(slot))]
        waiting: dict[int, _Candidates] = {}
        done = 0
        while done < len(jobs):
            # the model's batch may shrink on the way
            batch = jobs[done : done + self.model.batch_size]
            done += len(batch)
            made = _finite(self._denoise(batch, latents))
            pictures = self._decode(made)
            scores = self._scores(pictures)
            for (slot, candidate), *result in zip(
                batch, made.cpu(), pictures.cpu(), scores, strict=True
            ):
                group = waiting.setdefault(slot.index, _Candidates(slot, self.count(slot)))
                group.add(candidate, *result)
                if group.complete:
                    yield waiting.pop(slot.index).frame(scored=self.scorer is not None)

    def _scores(self, pictures: Tensor) -> list[float]:
        """One number a picture; zeros without a scorer."""
        if self.scorer is None:
            return [0.0] * len(pictures)
        scores = self.scorer(pictures)
        if not scores.isfinite().all():
            raise FloatingPointError("reranker: it gave scores that are not finite")
        return scores.tolist()

    def _denoise(self, batch: list[tuple[Slot, int]], latents: Mapping[int, Tensor]) -> Tensor:
        """Clean latents of candidates (slot, number), all of one depth."""
        level = self.level(batch[0][0])
        left = torch.stack([latents[slot.left] for slot, _ in batch])
        right = torch.stack([latents[slot.right] for slot, _ in batch])
        noise = [
            draw_noise(left.shape[1:], self.settings.seed, slot.position, n) for slot, n in batch
        ]
        weights = torch.tensor([slot.weight for slot, _ in batch])
        scales = self.model.scales(level)
        noisy = noisy_blend(left, right, torch.stack(noise), weights, scales, self.settings.blend)
        guidance = self.guide.at(
            [slot.position for slot, _ in batch], self.model, tuple(left.shape[2:])
        )
        seeds = [row_seed(self.settings.seed, slot.position, n) for slot, n in batch]
        return self.model.denoise(
            noisy.to(self.model.device), level, replace(guidance, seeds=seeds)
        )

    def _decode(self, latents: Tensor) -> Tensor:
        try:
            return self.model.decode(latents)
        except RuntimeError as error:
            raise DecodeError(f"frames: a candidate cannot be decoded ({error})") from error


def _finite(latents: Tensor) -> Tensor:
    if not latents.isfinite().all():
        raise FloatingPointError(
            "frames: the model gave numbers that are not finite; try float32, or a lower cfg"
        )
    return latents
