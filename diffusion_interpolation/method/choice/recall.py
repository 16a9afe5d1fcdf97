"""Finds in a cache what an earlier run has made of a path, and keeps what this run makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ...settings import FrameSettings
from ..path import Slot
from ..plan import Plan
from .candidates import Candidate, Candidates
from .frame_cache import FrameCache, once_finished
from .picks import Picks

_OF_ONE_FRAME = (
    "candidates",
    "min_candidates",
    "max_denoise",
    "min_denoise",
    "denoise_curve",
    "min_steps",
    "rank_fraction",
    "smoothness_weight",
)
"""Settings that keys of single frames hold, or that only choose among candidates."""


def of_all_frames(settings: FrameSettings) -> FrameSettings:
    """Return the settings that every frame depends on, for the context of a `FrameCache`.

    The others have their defaults, so that a change of them drops no frame that stays the same.
    """
    defaults = FrameSettings()
    return replace(settings, **{name: getattr(defaults, name) for name in _OF_ONE_FRAME})


@dataclass(frozen=True)
class Recall:
    """The candidates of a path's frames, with those that a cache has; `cache` may be None."""

    plan: Plan
    picks: Picks
    cache: FrameCache | None = None

    def start(self) -> None:
        """Begin a run: the cache may drop what an earlier run needed."""
        if self.cache is not None:
            self.cache.start()

    def candidates(self, slot: Slot, latents: Mapping[int, Tensor]) -> Candidates:
        """Return the candidates of a frame, whose neighbours are among `latents`.

        Where the cache has the chosen candidate finished, it is so in the group.
        """
        choice, count = self.picks.at(slot.position), self.plan.count(slot)
        first = choice.first(count)
        numbers = range(first, first + count)
        weight = self.plan.settings.smoothness_weight
        group = Candidates(slot, numbers, choice.candidate, weight)
        if self.cache is not None:
            self._find(group, (latents[slot.left], latents[slot.right]))
        return group

    def _find(self, group: Candidates, ends: tuple[Tensor, Tensor]) -> None:
        slot = group.slot
        steps = tuple(part.points for part in self.plan.schedules(slot))
        group.keys = self.cache.keys(slot, steps, ends, group.numbers)
        for number, key in group.keys.items():
            candidate = self.cache.find(key)
            # one that was made alone, and so not looked at, cannot be ranked among others
            if candidate is not None and (len(group.numbers) == 1 or candidate.terms):
                group.add(number, candidate)
        if group.complete and (finished := self._finished(group)) is not None:
            group.settle(finished)
            self.cache.pictures.get(group.keys[group.chosen], needed=True)
        self._leave_out_lost(group)

    def _finished(self, group: Candidates) -> Candidate | None:
        """Return the finished chosen candidate, where the cache has its latent."""
        found = self.cache.find(self._key(group), needed=True)
        return None if found is None or found.latent is None else found

    def _leave_out_lost(self, group: Candidates) -> None:
        """Have those made again whose latents the cache has dropped, where they are needed."""
        if group.complete and group.made[group.chosen].latent is not None:
            group.keep_chosen_latent()
        elif group.complete and group.picked is not None:
            del group.made[group.picked]
        else:
            group.made = {n: made for n, made in group.made.items() if made.latent is not None}

    def keep(self, group: Candidates, number: int) -> None:
        """Keep a candidate that was made."""
        if self.cache is not None:
            self.cache.keep(group.keys[number], group.made[number])

    def keep_chosen(self, group: Candidates, picture: Tensor) -> None:
        """Keep the chosen candidate, which is finished, and its picture `(3, h, w)`."""
        if self.cache is not None:
            self.cache.keep(self._key(group), group.made[group.chosen], needed=True)
            self.cache.pictures.put(group.keys[group.chosen], picture, needed=True)

    def settle(self, group: Candidates) -> bool:
        """Settle the chosen candidate, where an earlier run has finished it; tell whether so."""
        finished = None if self.cache is None else self._finished(group)
        if finished is not None:
            group.settle(finished)
        return finished is not None

    def picture(self, group: Candidates) -> Tensor | None:
        """Return the picture of the chosen candidate, if it is still there."""
        if group.picture is None and self.cache is not None:
            return self.cache.pictures.get(group.keys[group.chosen])
        return group.picture

    def _key(self, group: Candidates) -> bytes:
        """Return the key of the chosen candidate once it is finished."""
        key = group.keys[group.chosen]
        return once_finished(key) if self.plan.ranked_after(group.slot) else key
