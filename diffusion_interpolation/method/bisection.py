"""Makes the frames of a path from the middle outward and streams them (method, steps 5 and 6)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..models.contract import Guidance, LatentDiffusionModel, Sampled, Schedule
from ..scoring.contract import Scorer, encoder_of, judge
from .blend import Blend, noisy_blend
from .candidates import Candidate, Candidates, Frame, steps_before_ranking, thumbnails
from .frame_cache import FrameCache, once_finished
from .guide import Guide
from .path import (
    Curve,
    Path,
    Slot,
    candidate_count,
    check_denoise_range,
    check_seed,
    denoise_at_depth,
    draw_noise,
    row_seed,
)
from .picks import NO_PICKS, Picks
from .ranking import Terms

_Job = tuple[Candidates, int]
"""A candidate to be made: of which frame, and its number."""


@dataclass(frozen=True)
class Settings:
    """How frames are made.

    `max_denoise` and `min_denoise` are the denoise of the first depth and of the last one, `curve`
    is how it falls in between. The first depth has `candidates`, each later depth has one fewer,
    but not fewer than `min_candidates`. `smoothness_weight` is the weight of a candidate's
    similarity to its neighbours; the similarity and the scorer's number are both counted in
    standard deviations of the frame's candidates (`ranking.py`). `rank_fraction`, in (0, 1], is the fraction of the steps
    after which candidates are ranked by their denoised predictions; only the best one takes the
    other steps. Candidates of very few steps are finished first (`steps_before_ranking`).
    """

    max_denoise: float = 0.55
    min_denoise: float = 0.30
    curve: Curve = "linear"
    candidates: int = 4
    min_candidates: int = 3
    blend: Blend = "lerp"
    seed: int = 0
    smoothness_weight: float = 4.0
    rank_fraction: float = 0.5

    def check(self) -> None:
        """Raise `ValueError` for settings out of range."""
        check_denoise_range(self.max_denoise, self.min_denoise)
        candidate_count(1, self.candidates, self.min_candidates)
        check_seed(self.seed)
        if not 0 <= self.smoothness_weight < math.inf:
            raise ValueError(
                f"smoothness_weight: got {self.smoothness_weight}, needs 0 or more, and finite"
            )
        if not 0 < self.rank_fraction <= 1:
            raise ValueError(
                f"rank_fraction: got {self.rank_fraction}, needs more than 0, and 1 at most"
            )


PAPER = Settings(blend="slerp", candidates=8, smoothness_weight=0.0, rank_fraction=1.0)
"""The settings of the paper."""


@dataclass
class _Finished:
    """Frames by number: their latents, and the embeddings of those that a scorer has seen."""

    latents: dict[int, Tensor]
    embeddings: dict[int, Tensor] = field(default_factory=dict)

    def add(self, frame: Frame) -> None:
        self.latents[frame.info.index] = frame.latent
        if frame.embedding is not None:
            self.embeddings[frame.info.index] = frame.embedding


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
        if self.cache is not None:
            self.cache.start()
            self.known(keyframes)
        known = _Finished(self._ends(keyframes) | dict(finished or {}))
        for slots in self.path.slots():
            missing = [slot for slot in slots if slot.index not in known.latents]
            for frame in self._depth(missing, known):
                known.add(frame)
                yield frame

    def known(self, keyframes: Tensor) -> dict[int, Tensor]:
        """Return the latents of all frames that need no work: keyframes, and those in the cache.

        The cache holds on to what it has of these frames until the next path starts.
        """
        latents = self._ends(keyframes)
        if self.cache is None:
            return latents
        for slot in (slot for slots in self.path.slots() for slot in slots):
            if slot.left not in latents or slot.right not in latents:
                continue
            group = self._candidates(slot, latents)
            if group.complete and (found := self._kept(group)) is not None:
                latents[slot.index] = found
                self.cache.pictures.get(group.keys[group.chosen], needed=True)
        return latents

    def _ends(self, keyframes: Tensor) -> dict[int, Tensor]:
        return dict(zip(self.path.keyframes, keyframes.cpu(), strict=True))

    def count(self, slot: Slot) -> int:
        """The candidates of a frame; without a scorer there is nothing to choose by, so one."""
        if self.scorer is None:
            return 1
        return candidate_count(slot.depth, self.settings.candidates, self.settings.min_candidates)

    def evaluations(self, slot: Slot) -> int:
        """The work of a frame: runs of the denoiser on one latent, both halves of guidance as one.

        Of samplers that run it several times a step, steps.
        """
        before, after = self._schedules(slot)
        return self.count(slot) * len(before) + len(after)

    def _schedules(self, slot: Slot) -> tuple[Schedule, Schedule]:
        """The steps before candidates are ranked, and those that only the best takes after that."""
        schedule = self.model.schedule(self.level(slot))
        ranked = len(schedule)
        if self.settings.rank_fraction < 1 and self.count(slot) > 1:
            ranked = steps_before_ranking(ranked, self.settings.rank_fraction)
        return schedule[:ranked], schedule[ranked:]

    def _ranked_after(self, slot: Slot) -> int:
        """The steps after which candidates are ranked early; 0: they are finished first."""
        before, after = self._schedules(slot)
        return len(before) if after else 0

    def level(self, slot: Slot) -> float:
        """The level a frame is noised to."""
        s = self.settings
        return denoise_at_depth(slot.depth, self.path.depths, s.max_denoise, s.min_denoise, s.curve)

    def _depth(self, slots: list[Slot], finished: _Finished) -> Iterator[Frame]:
        """Frames of one depth, whose neighbours are all `finished`; known ones come first."""
        ready, jobs = self._open(slots, finished.latents)
        yield from self._finished(ready)
        ready = []
        while jobs:
            # the model's batch may shrink on the way
            batch = [jobs.popleft() for _ in range(min(self.model.max_batch, len(jobs)))]
            ready += self._make(batch, finished)
            # the best of an early ranking go on together
            if not self._ranked_after(slots[0]) or len(ready) >= self.model.max_batch or not jobs:
                yield from self._finished(ready)
                ready = []

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
        numbers = range(first, first + count)
        group = Candidates(slot, numbers, choice.candidate, self.settings.smoothness_weight)
        if self.cache is not None:
            ends = latents[slot.left], latents[slot.right]
            level, ranked_after = self.level(slot), self._ranked_after(slot)
            group.keys = self.cache.keys(slot, level, ranked_after, ends, group.numbers)
            for number, key in group.keys.items():
                candidate = self.cache.find(key)
                # one that was made alone, and so not looked at, cannot be ranked beside others
                if candidate is not None and (count == 1 or candidate.terms):
                    group.add(number, candidate)
            self._leave_out_lost(group)
        return group

    def _leave_out_lost(self, group: Candidates) -> None:
        """Have those made again whose latents the cache has dropped, where they are needed."""
        if group.complete:
            chosen = group.made[group.chosen]
            if chosen.latent is not None or (chosen.partial and self._kept(group) is not None):
                return
            if group.picked is not None:
                del group.made[group.picked]
                return
        group.made = {n: made for n, made in group.made.items() if made.latent is not None}

    def _kept(self, group: Candidates) -> Tensor | None:
        """The finished latent of the chosen candidate, where the cache has it."""
        candidate = self.cache.find(self._key(group), needed=True)
        return None if candidate is None else candidate.latent

    def _key(self, group: Candidates) -> bytes:
        """Where the chosen candidate is kept once it is finished."""
        key = group.keys[group.chosen]
        return once_finished(key) if self._ranked_after(group.slot) else key

    def _make(self, batch: list[_Job], finished: _Finished) -> list[Candidates]:
        """Make a batch of candidates; the frames that they complete."""
        made = self._sample(batch, finished.latents)
        pictures = self._decode(_finite(made.denoised))
        terms, seen = self._terms(batch, pictures, finished)
        small, partial = self._thumbnails(pictures), self._ranked_after(batch[0][0].slot) > 0
        for (group, number), latent, picture, *told in zip(
            batch, made.latents.cpu(), pictures.cpu(), terms, small, seen, strict=True
        ):
            candidate = Candidate(latent, *told, partial).copy()
            group.add(number, candidate, None if partial else picture)
            if self.cache is not None:
                self.cache.keep(group.keys[number], candidate)
        groups = {group.slot.index: group for group, _ in batch}
        return [group for group in groups.values() if group.complete]

    def _finished(self, groups: list[Candidates]) -> Iterator[Frame]:
        """The chosen candidates of frames that are complete, in batches of the model's size."""
        size = self.model.max_batch
        for start in range(0, len(groups), size):
            batch = groups[start : start + size]
            self._complete([group for group in batch if group.made[group.chosen].partial])
            for group, picture in zip(batch, self._pictures(batch), strict=True):
                if self.cache is not None:
                    self.cache.keep(self._key(group), group.made[group.chosen], needed=True)
                    self.cache.pictures.put(group.keys[group.chosen], picture, needed=True)
                yield group.frame(picture)

    def _complete(self, groups: list[Candidates]) -> None:
        """Take the chosen candidates of frames that were ranked early down to clean latents."""
        batch = [(group, group.chosen) for group in groups if not self._recall(group)]
        if not batch:
            return
        partial = torch.stack([group.made[number].latent for group, number in batch])
        guidance, (_, schedule) = self._guidance(batch, partial), self._schedules(batch[0][0].slot)
        # a sampler that adds noise would draw what it drew in the steps before the ranking
        guidance = replace(guidance, seeds=[(seed + 1) % 2**64 for seed in guidance.seeds])
        sampled = self.model.sample(partial.to(self.model.device), schedule, guidance)
        latents = _finite(sampled.latents)
        pictures = self._decode(latents)
        seen, small = self._embeddings(pictures), self._thumbnails(pictures)
        for (group, number), latent, picture, *shown in zip(
            batch, latents.cpu(), pictures.cpu(), small, seen, strict=True
        ):
            terms = group.made[number].terms
            group.settle(Candidate(latent, terms, *shown).copy(), picture)
            if self.cache is not None:
                self.cache.keep(self._key(group), group.made[number], needed=True)

    def _recall(self, group: Candidates) -> bool:
        """Settle the chosen candidate if an earlier run has finished it."""
        if self.cache is None:
            return False
        known = self.cache.find(self._key(group), needed=True)
        if known is None or known.latent is None:
            return False
        group.settle(known)
        return True

    def _thumbnails(self, pictures: Tensor) -> Sequence[Tensor | None]:
        """Small pictures, where they were asked for."""
        return thumbnails(pictures, self.thumbnail) if self.thumbnail else [None] * len(pictures)

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

    def _terms(
        self, batch: list[_Job], pictures: Tensor, finished: _Finished
    ) -> tuple[Sequence[Terms | None], Sequence[Tensor | None]]:
        """What candidates are ranked by, and what the scorer sees in them.

        Both are None of candidates that are alone. The similarity is there at any weight, so that
        another weight ranks the same candidates again.
        """
        slots = [group.slot for group, _ in batch]
        if self.count(slots[0]) == 1:
            return [None] * len(batch), [None] * len(batch)
        scores, seen = judge(self.scorer, pictures)
        if seen is None:
            # equal for all candidates, so it changes no rank
            similarity, shown = torch.zeros_like(scores), [None] * len(batch)
        else:
            similarity, shown = self._similarity(slots, seen, finished), seen.cpu()
        both = torch.stack([scores, similarity], 1)
        if not both.isfinite().all():
            raise FloatingPointError("reranker: it gave scores that are not finite")
        return [Terms(*numbers) for numbers in both.tolist()], shown

    def _similarity(self, slots: list[Slot], seen: Tensor, finished: _Finished) -> Tensor:
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
        for start in range(0, len(unseen), self.model.max_batch):
            part = unseen[start : start + self.model.max_batch]
            latents = torch.stack([finished.latents[i] for i in part])
            seen = self._embeddings(self._decode(latents.to(self.model.device)))
            finished.embeddings.update(zip(part, seen, strict=True))

    def _embeddings(self, pictures: Tensor) -> Sequence[Tensor | None]:
        """Return the embeddings of pictures, or None of each if the scorer has no encoder."""
        encoder = encoder_of(self.scorer)
        return [None] * len(pictures) if encoder is None else encoder(pictures).cpu()

    def _sample(self, batch: list[_Job], latents: Mapping[int, Tensor]) -> Sampled:
        """Candidates, all of one depth, denoised until they are ranked."""
        slots = [(group.slot, number) for group, number in batch]
        schedule, after = self._schedules(slots[0][0])
        left = torch.stack([latents[slot.left] for slot, _ in slots])
        right = torch.stack([latents[slot.right] for slot, _ in slots])
        noise = [
            draw_noise(left.shape[1:], self.settings.seed, slot.position, n) for slot, n in slots
        ]
        weights = torch.tensor([slot.weight for slot, _ in slots])
        scales = self.model.scales(schedule)
        noisy = noisy_blend(left, right, torch.stack(noise), weights, scales, self.settings.blend)
        noisy, guidance = noisy.to(self.model.device), self._guidance(batch, left)
        sampled = self.model.sample(noisy, schedule, guidance)
        # candidates that are finished are ranked by what they are, not by a prediction
        return sampled if after else Sampled(sampled.latents, sampled.latents)

    def _guidance(self, batch: list[_Job], like: Tensor) -> Guidance:
        """What candidates are denoised under, whose latents are of the size of `like`."""
        slots = [(group.slot, number) for group, number in batch]
        places = [slot.position for slot, _ in slots]
        seeds = [row_seed(self.settings.seed, slot.position, n) for slot, n in slots]
        guidance = self.guide.at(places, self.model, tuple(like.shape[2:]))
        return replace(guidance, seeds=seeds)

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
