"""How much noise, choice and work each frame of a path gets (method, steps 4 and 6)."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..models.contract import Sampler, Schedule
from ..settings import FrameSettings
from .choice.candidates import steps_before_ranking
from .path import Path, Slot


@dataclass(frozen=True)
class Plan:
    """The denoise, the candidates and the steps of each frame.

    Unless `ranked` (there is something to rank candidates by), each frame has one candidate.
    """

    sampler: Sampler
    path: Path
    settings: FrameSettings
    ranked: bool = True
    _schedules: dict[float, Schedule] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def denoise(self, slot: Slot) -> float:
        """Return the denoise of a frame."""
        return self.settings.denoise(slot.depth, self.path.depths)

    def count(self, slot: Slot) -> int:
        """Return the number of candidates of a frame."""
        return self.settings.count(slot.depth) if self.ranked else 1

    def schedule(self, slot: Slot) -> Schedule:
        """Return all steps of a frame; those of a depth are worked out once."""
        denoise = self.denoise(slot)
        if denoise not in self._schedules:
            self._schedules[denoise] = self.sampler.schedule(denoise, self.settings.min_steps)
        return self._schedules[denoise]

    def schedules(self, slot: Slot) -> tuple[Schedule, Schedule]:
        """Return the steps before candidates are ranked, and those that only the best takes."""
        schedule = self.schedule(slot)
        before = len(schedule)
        if self.settings.rank_fraction < 1 and self.count(slot) > 1:
            before = steps_before_ranking(before, self.settings.rank_fraction)
        return schedule[:before], schedule[before:]

    def ranked_after(self, slot: Slot) -> int:
        """Return the steps after which candidates are ranked early; 0 if they are not."""
        before, after = self.schedules(slot)
        return len(before) if after else 0

    def evaluations(self, slot: Slot) -> int:
        """Return the work of a frame: runs of the denoiser on one latent.

        Both halves of guidance count as one run. A step counts once, even if the sampler runs the
        denoiser several times in it.
        """
        before, after = self.schedules(slot)
        return self.count(slot) * len(before) + len(after)
