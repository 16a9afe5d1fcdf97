"""Makes the frames of a path from the middle outward and streams them (method, steps 5 and 6)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .blend import Blend, noisy_blend
from .candidates import Candidate, Candidates, Frame, thumbnails
from .frame_cache import FrameCache
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
from .picks import NO_PICKS, Picks
from .rerank import Scorer

_Job = tuple[Candidates, int]
"""A candidate to be made: of which frame, and its number."""


@dataclass(frozen=True)
class Settings:
    """How frames are made.

    Levels are shares of the noise schedule; the candidates fall by one each depth. `closeness` is
    how much a candidate's likeness to its neighbours counts beside the scorer's number: the mean
    cosine between what the scorer sees in it and in them.
    """

    highest: float = 0.55
    lowest: float = 0.30
    curve: Curve = "linear"
    candidates: int = 4
    least_candidates: int = 3
    blend: Blend = "lerp"
    seed: int = 0
    closeness: float = 4.0

    def check(self) -> None:
        """Raise `ValueError` for settings out of range."""
        check_levels(self.highest, self.lowest)
        candidate_count(1, self.candidates, self.least_candidates)
        check_seed(self.seed)
        if not 0 <= self.closeness < math.inf:
            raise ValueError(f"closeness: got {self.closeness}, want 0 or more, and finite")


PAPER = Settings(blend="slerp", candidates=8, closeness=0.0)
"""As the paper has them."""


@dataclass
class _Finished:
    """Frames by number: their latents, and the embeddings of those that a scorer has seen."""

    latents: dict[int, Tensor]
    embeddings: dict[int, Tensor] = field(default_factory=dict)

    def add(self, frame: Frame) -> None:
        self.latents[frame.index] = frame.latent
        if frame.embedding is not None:
            self.embeddings[frame.index] = frame.embedding


class DecodeError(RuntimeError):
    """Finished latents could not be made pictures; the frames before them are not lost."""


@dataclass(frozen=True)
class Bisection:
    """Everything that makes the frames of one path but the keyframes themselves.

    `picks` overrule the scorer. With a `cache` only what it lacks is made. `thumbnail` is the
    longer side in pixels of small pictures of all candidates; 0: none are made.
    """

    model: LatentDiffusionModel
    path: Path
    guide: Guide
    settings: Settings = Settings()
    scorer: Scorer | None = None
    picks: Picks = NO_PICKS
    cache: FrameCache | None = None
    thumbnail: int = 0

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
        ends = dict(zip(self.path.keyframes, keyframes.cpu(), strict=True))
        known = _Finished(ends | dict(finished or {}))
        for slots in self.path.slots():
            missing = [slot for slot in slots if slot.index not in known.latents]
            for frame in self._depth(missing, known):
                known.add(frame)
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

    def _depth(self, slots: list[Slot], finished: _Finished) -> Iterator[Frame]:
        """Frames of one depth, whose neighbours are all `finished`; known ones come first."""
        known, jobs = self._open(slots, finished.latents)
        yield from self._finish(known)
        while jobs:
            # the model's batch may shrink on the way
            batch = [jobs.popleft() for _ in range(min(self.model.batch_size, len(jobs)))]
            yield from self._finish(self._make(batch, finished))

    def _open(
        self, slots: list[Slot], latents: Mapping[int, Tensor]
    ) -> tuple[list[Candidates], deque[_Job]]:
        """The frames whose candidates are all in the cache, and the candidates that are not."""
        known, jobs = [], deque()
        for slot in slots:
            group = self._candidates(slot, latents)
            if group.complete:
                known.append(group)
            jobs.extend((group, number) for number in group.missing)
        return known, jobs

    def _candidates(self, slot: Slot, latents: Mapping[int, Tensor]) -> Candidates:
        """The candidates of a frame, with those that are in the cache."""
        choice, count = self.picks.at(slot.position), self.count(slot)
        first = choice.first(count)
        group = Candidates(slot, range(first, first + count), choice.candidate)
        if self.cache is not None:
            ends = latents[slot.left], latents[slot.right]
            group.keys = self.cache.keys(slot, self.level(slot), ends, group.numbers)
            for number, key in group.keys.items():
                if (candidate := self.cache.candidates.get(key)) is not None:
                    group.add(number, candidate)
        return group

    def _make(self, batch: list[_Job], finished: _Finished) -> list[Candidates]:
        """Make a batch of candidates; the frames that they complete."""
        made = _finite(self._denoise(batch, finished.latents))
        pictures = self._decode(made)
        scores, seen = self._scores(batch, pictures, finished)
        small = thumbnails(pictures, self.thumbnail) if self.thumbnail else [None] * len(batch)
        for (group, number), latent, picture, *told in zip(
            batch, made.cpu(), pictures.cpu(), scores, small, seen, strict=True
        ):
            candidate = Candidate(latent, *told).copy()
            group.add(number, candidate, picture)
            if self.cache is not None:
                self.cache.candidates.put(group.keys[number], candidate)
        groups = {group.slot.index: group for group, _ in batch}
        return [group for group in groups.values() if group.complete]

    def _finish(self, groups: list[Candidates]) -> Iterator[Frame]:
        """The chosen candidates of frames that are complete, in batches of the model's size."""
        size = self.model.batch_size
        for start in range(0, len(groups), size):
            batch = groups[start : start + size]
            for group, picture in zip(batch, self._pictures(batch), strict=True):
                if self.cache is not None:
                    self.cache.pictures.put(group.keys[group.chosen], picture)
                yield group.frame(picture, scored=self.scorer is not None)

    def _pictures(self, groups: list[Candidates]) -> list[Tensor]:
        """Pictures of chosen candidates: at hand, in the cache, or decoded again."""
        pictures = [self._picture(group) for group in groups]
        lost = [i for i, picture in enumerate(pictures) if picture is None]
        if lost:
            latents = torch.stack([groups[i].made[groups[i].chosen].latent for i in lost])
            decoded = self._decode(latents.to(self.model.device)).cpu()
            for i, picture in zip(lost, decoded, strict=True):
                pictures[i] = picture.clone()
        return pictures

    def _picture(self, group: Candidates) -> Tensor | None:
        """The picture of a chosen candidate, if there still is one."""
        if group.picture is None and self.cache is not None:
            return self.cache.pictures.get(group.keys[group.chosen])
        return group.picture

    def _scores(
        self, batch: list[_Job], pictures: Tensor, finished: _Finished
    ) -> tuple[list[float], Sequence[Tensor | None]]:
        """A number a picture, and what the scorer sees in it; zeros and None without a scorer."""
        if self.scorer is None:
            return [0.0] * len(batch), [None] * len(batch)
        seen = self.scorer.embed(pictures)
        scores = self.scorer.rank(seen)
        if self.settings.closeness:
            slots = [group.slot for group, _ in batch]
            scores = scores + self.settings.closeness * self._closeness(slots, seen, finished)
        if not scores.isfinite().all():
            raise FloatingPointError("reranker: it gave scores that are not finite")
        return scores.tolist(), seen.cpu()

    def _closeness(self, slots: list[Slot], seen: Tensor, finished: _Finished) -> Tensor:
        """Mean cosine `(n,)` of embeddings with those of both neighbours, by their weights."""
        self._see([i for slot in slots for i in (slot.left, slot.right)], finished)
        left, right = (
            torch.stack([finished.embeddings[i] for i in side]).to(seen)
            for side in ([slot.left for slot in slots], [slot.right for slot in slots])
        )
        weights = torch.tensor([slot.weight for slot in slots]).to(seen)
        return (seen * left.lerp(right, weights[:, None])).sum(1)

    def _see(self, frames: list[int], finished: _Finished) -> None:
        """Have embeddings of all of `frames`: no scorer has seen keyframes and resumed ones yet."""
        unseen = sorted({i for i in frames if i not in finished.embeddings})
        for start in range(0, len(unseen), self.model.batch_size):
            part = unseen[start : start + self.model.batch_size]
            latents = torch.stack([finished.latents[i] for i in part])
            seen = self.scorer.embed(self._decode(latents.to(self.model.device)))
            finished.embeddings.update(zip(part, seen.cpu(), strict=True))

    def _denoise(self, batch: list[_Job], latents: Mapping[int, Tensor]) -> Tensor:
        """Clean latents of candidates, all of one depth."""
        slots = [(group.slot, number) for group, number in batch]
        level = self.level(slots[0][0])
        left = torch.stack([latents[slot.left] for slot, _ in slots])
        right = torch.stack([latents[slot.right] for slot, _ in slots])
        noise = [
            draw_noise(left.shape[1:], self.settings.seed, slot.position, n) for slot, n in slots
        ]
        weights = torch.tensor([slot.weight for slot, _ in slots])
        scales = self.model.scales(level)
        noisy = noisy_blend(left, right, torch.stack(noise), weights, scales, self.settings.blend)
        guidance = self.guide.at(
            [slot.position for slot, _ in slots], self.model, tuple(left.shape[2:])
        )
        seeds = [row_seed(self.settings.seed, slot.position, n) for slot, n in slots]
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
