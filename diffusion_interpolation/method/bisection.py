"""Makes the frames of a path and streams them (method, steps 5 and 6).

The frame half-way between two keyframes is first, then those at the quarters, and so on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ..models.contract import LatentDiffusionModel
from ..scoring.contract import Scorer
from ..settings import FrameSettings
from .choice.candidate_sampler import CandidateSampler, finite
from .choice.candidates import Candidate, Candidates, Frame, thumbnails
from .choice.frame_cache import FrameCache
from .choice.judge import Finished, Judge, embeddings
from .choice.picks import NO_PICKS, Picks
from .choice.ranking import Terms
from .choice.recall import Recall
from .choice.viewer import Viewer
from .guide import Guide
from .matching.moved_neighbours import NO_MAP, AlongMap
from .path import Path, Slot
from .plan import Plan


@dataclass(frozen=True)
class Bisection:
    """Everything needed to make the frames of one path, except its keyframes.

    Without a `scorer` each frame has one candidate; `likeness_scorer` is one for any model. A
    picked candidate overrules the scorer, and a roll draws other candidates for it. Frames that the
    `cache` already has are not made again. `thumbnail` is the longer side in pixels of small
    pictures of all candidates; 0: none are made. `along` is what is done along correspondences: the
    latents that a frame is blended from are moved to the frame's place, and the colours of decoded
    pictures are corrected. The latents of frames are not.
    """

    model: LatentDiffusionModel
    path: Path
    guide: Guide
    settings: FrameSettings = field(default_factory=FrameSettings)
    scorer: Scorer | None = None
    picks: Picks = NO_PICKS
    cache: FrameCache | None = None
    thumbnail: int = 0
    along: AlongMap = NO_MAP

    @cached_property
    def plan(self) -> Plan:
        """How much noise, choice and work each frame gets."""
        # without a scorer there is nothing to choose by
        return Plan(self.model, self.path, self.settings, self.scorer is not None)

    @cached_property
    def _sampler(self) -> CandidateSampler:
        return CandidateSampler(self.model, self.guide, self.plan, self.along.neighbours)

    @cached_property
    def _view(self) -> Viewer:
        return Viewer(self.model, self.path, self.along.colours)

    @cached_property
    def _recall(self) -> Recall:
        return Recall(self.plan, self.picks, self.cache)

    def frames(
        self, keyframes: Tensor, finished: Mapping[int, Tensor] | None = None
    ) -> Iterator[Frame]:
        """Yield every frame between `keyframes` as soon as it is chosen, depth by depth.

        Within a depth, frames whose candidates are all in the cache come first. The keyframes are
        not yielded. `keyframes` are clean latents `(N, c, h', w')`. Frames in `finished` (frame
        number to latent) are taken as they are and not yielded. All candidates of one depth go
        through the model in batches of at most its `max_batch`. Besides the model, the guide
        and the settings, a frame depends on its position, the candidate and its neighbours; the
        batch changes no more than its last bits.

        Raises `ValueError` where the number of keyframes is not the path's, or a setting is out of
        range, `FloatingPointError` for a model whose numbers are not finite, and `DecodeError` for
        an autoencoder that fails. As this is a generator, nothing is raised before the first frame,
        or the frame at fault, is asked for.
        """
        self.settings.check()
        if len(keyframes) != len(self.path.keyframes):
            raise ValueError(
                f"keyframes: got {len(keyframes)}, needs {len(self.path.keyframes)} for this path"
            )
        done = Finished(self._ends(keyframes) | dict(finished or {}))
        self._recall.start()
        opened, _ = self._open(done.latents)
        for slots in self.path.slots():
            missing = [slot for slot in slots if slot.index not in done.latents]
            groups = [
                opened.pop(slot.index, None) or self._recall.candidates(slot, done.latents)
                for slot in missing
            ]
            for frame in self._depth(groups, done):
                done.add(frame)
                yield frame

    def known(self, keyframes: Tensor) -> dict[int, Tensor]:
        """Return the latents of all frames that need no work: keyframes, and those in the cache.

        The cache holds on to what it has of these frames until the next path starts.
        """
        return self._open(self._ends(keyframes))[1]

    def _open(
        self, finished: Mapping[int, Tensor]
    ) -> tuple[dict[int, Candidates], dict[int, Tensor]]:
        """Return the candidates of all frames that the cache can know, and all known latents."""
        latents, opened = dict(finished), {}
        if self.cache is None:
            return opened, latents
        for slot in (slot for slots in self.path.slots() for slot in slots):
            if slot.index in latents or not {slot.left, slot.right} <= latents.keys():
                continue
            group = opened[slot.index] = self._recall.candidates(slot, latents)
            if group.finished:
                latents[slot.index] = group.made[group.chosen].latent
        return opened, latents

    def _ends(self, keyframes: Tensor) -> dict[int, Tensor]:
        return dict(zip(self.path.keyframes, keyframes.cpu(), strict=True))

    def evaluations(self, slot: Slot) -> int:
        """Return the work of a frame (`Plan.evaluations`)."""
        return self.plan.evaluations(slot)

    def _depth(self, groups: list[Candidates], done: Finished) -> Iterator[Frame]:
        """Make the frames of one depth, whose neighbours are all `done`; known ones come first."""
        yield from self._choose([group for group in groups if group.complete])
        jobs = deque((group, number) for group in groups for number in group.missing)
        ready: list[Candidates] = []
        while jobs:
            # the model's batch may shrink on the way
            batch = [jobs.popleft() for _ in range(min(self.model.max_batch, len(jobs)))]
            ready += self._make(batch, done)
            early = self.plan.ranked_after(groups[0].slot) > 0
            # the best of an early ranking go on together
            if not early or len(ready) >= self.model.max_batch or not jobs:
                yield from self._choose(ready)
                ready = []

    def _make(self, batch: list[tuple[Candidates, int]], done: Finished) -> list[Candidates]:
        """Make a batch of candidates; return the groups that are complete with them."""
        jobs = [(group.slot, number) for group, number in batch]
        made = self._sampler.sample(jobs, done.latents)
        pictures = self._view(finite(made.denoised), [slot.index for slot, _ in jobs])
        terms, seen = self._judged([slot for slot, _ in jobs], pictures, done)
        small, partial = self._thumbnails(pictures), self.plan.ranked_after(jobs[0][0]) > 0
        for (group, number), latent, picture, *told in zip(
            batch, made.latents.cpu(), pictures.cpu(), terms, small, seen, strict=True
        ):
            candidate = Candidate(latent, *told, partial).copy()
            group.add(number, candidate, None if partial else picture)
            self._recall.keep(group, number)
        groups = {group.slot.index: group for group, _ in batch}
        return [group for group in groups.values() if group.complete]

    def _judged(
        self, slots: list[Slot], pictures: Tensor, done: Finished
    ) -> tuple[Sequence[Terms | None], Sequence[Tensor | None]]:
        """Return what ranks candidates, and their embeddings; None for each that is alone."""
        if self.scorer is None or self.plan.count(slots[0]) == 1:
            return [None] * len(slots), [None] * len(slots)
        return Judge(self._view, self.scorer, self.model.max_batch).terms(slots, pictures, done)

    def _choose(self, groups: list[Candidates]) -> Iterator[Frame]:
        """Yield the chosen candidates of complete groups, in batches of the model's size."""
        size = self.model.max_batch
        for start in range(0, len(groups), size):
            batch = groups[start : start + size]
            self._finish([group for group in batch if not group.finished])
            pictures = self._pictures(batch)
            # all of them first: who takes the frames may stop after any
            for group, picture in zip(batch, pictures, strict=True):
                self._recall.keep_chosen(group, picture)
            for group, picture in zip(batch, pictures, strict=True):
                yield group.frame(picture, self.plan.schedule(group.slot))

    def _finish(self, groups: list[Candidates]) -> None:
        """Denoise the chosen candidates of groups that were ranked early to clean latents."""
        groups = [group for group in groups if not self._recall.settle(group)]
        if not groups:
            return
        partial = torch.stack([group.made[group.chosen].latent for group in groups])
        latents = self._sampler.finish([(g.slot, g.chosen) for g in groups], partial)
        pictures = self._view(latents, [group.slot.index for group in groups])
        seen, small = embeddings(self.scorer, pictures), self._thumbnails(pictures)
        for group, latent, picture, *shown in zip(
            groups, latents.cpu(), pictures.cpu(), small, seen, strict=True
        ):
            group.settle(Candidate(latent, None, *shown).copy(), picture)

    def _thumbnails(self, pictures: Tensor) -> Sequence[Tensor | None]:
        """Small pictures, where they were asked for."""
        return thumbnails(pictures, self.thumbnail) if self.thumbnail else [None] * len(pictures)

    def _pictures(self, groups: list[Candidates]) -> list[Tensor]:
        """Return pictures of chosen candidates: at hand, in the cache, or decoded again."""
        pictures = [self._recall.picture(group) for group in groups]
        lost = [i for i, picture in enumerate(pictures) if picture is None]
        if lost:
            latents = torch.stack([groups[i].made[groups[i].chosen].latent for i in lost])
            numbers = [groups[i].slot.index for i in lost]
            shown = self._view(latents.to(self.model.device), numbers).cpu()
            for i, picture in zip(lost, shown, strict=True):
                pictures[i] = picture.clone()
        return pictures
