"""The paper's other schemes, to compare bisection with (method, "The paper's comparison").

They run on any model, path and guide that bisection runs on. Of each frame they make one candidate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from diffusion_interpolation.method.blend import lerp, slerp
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.method.noise import draw_noise
from diffusion_interpolation.method.path import Path
from diffusion_interpolation.models.contract import LatentDiffusionModel, Schedule
from diffusion_interpolation.settings import PAPER, FrameSettings

from .registry import ROWS, Task, maker


def cross_fade(pictures: Tensor, path: Path) -> Tensor:
    """All frames `(frames, 3, h, w)` of a path through `pictures` `(N, 3, h, w)`, by pixels."""
    left, right, share = _neighbours(path, range(path.frames))
    return lerp(pictures[left], pictures[right], share)


@dataclass(frozen=True)
class SchemeRun:
    """A path that one of the schemes runs on; `settings` as bisection has them."""

    model: LatentDiffusionModel
    path: Path
    guide: Guide
    settings: FrameSettings = field(default_factory=FrameSettings)

    def latents(self, scheme: str, keyframes: Tensor) -> Tensor:
        """Clean latents `(frames, c, h', w')` of all frames, those of `keyframes` `(N, ...)` kept.

        Raises `ValueError` for a scheme that is not in `SCHEMES`, and for settings out of range.
        """
        self.settings.check()
        if scheme not in SCHEMES:
            raise ValueError(f"scheme is {scheme!r}; it must be one of {', '.join(SCHEMES)}")
        return SCHEMES[scheme](self, keyframes.to(self.model.device))

    def mixed(self, ends: Tensor, indices: Sequence[int]) -> Tensor:
        """Slerp of the keyframes beside frames, at the places of the frames."""
        left, right, share = _neighbours(self.path, indices)
        return slerp(ends[left], ends[right], share.to(ends.device))

    def noise(self, keyframes: Tensor, shared: bool) -> Tensor:
        """Noise for each keyframe, the same for all where it is `shared`."""
        numbers = [0 if shared else number for number in range(len(keyframes))]
        drawn = [draw_noise(keyframes.shape[1:], self.settings.seed, n, 0) for n in numbers]
        return torch.stack(drawn).to(keyframes)

    def sampled(self, noisy: Tensor, schedule: Schedule, indices: Sequence[int]) -> Tensor:
        """Frames `indices` after all steps of `schedule`, in batches of the model's size."""
        places = _positions(self.path)
        parts = []
        for start in range(0, len(indices), self.model.max_batch):
            part = slice(start, start + self.model.max_batch)
            at = [places[index] for index in indices[part]]
            guidance = self.guide.at(at, self.model, tuple(noisy.shape[2:]))
            parts.append(self.model.sample(noisy[part], schedule, guidance).latents)
        return torch.cat(parts).to(noisy)


def interpolate(run: SchemeRun, keyframes: Tensor) -> Tensor:
    """Slerp of the clean latents at the frame's place."""
    return run.mixed(keyframes, range(run.path.frames))


def interpolate_denoise(run: SchemeRun, keyframes: Tensor) -> Tensor:
    """Both keyframes under one noise, slerp at the frame's place, denoise.

    The level rises in a straight line from the keyframes to half-way.
    """
    frames = interpolate(run, keyframes)
    noise = run.noise(keyframes, shared=True)
    for level, indices in _by_level(run).items():
        schedule = run.model.schedule(level, run.settings.min_steps)
        signal, sigma = run.model.scales(schedule)
        noisy = run.mixed(signal * keyframes + sigma * noise, indices)
        frames[indices] = run.sampled(noisy, schedule, indices)
    return frames


def _by_level(run: SchemeRun) -> dict[float, list[int]]:
    """The frames between keyframes by their level, which rises towards half-way."""
    s, found = run.settings, defaultdict(list)
    for slot in (slot for slots in run.path.slots() for slot in slots):
        share = slot.position - int(slot.position)
        middle = 1 - abs(2 * share - 1)
        found[round(s.min_denoise + middle * (s.max_denoise - s.min_denoise), 9)].append(slot.index)
    return found


def did_separate(run: SchemeRun, keyframes: Tensor) -> Tensor:
    """As `did`, but each keyframe has a noise of its own."""
    return did(run, keyframes, shared=False)


def did(run: SchemeRun, keyframes: Tensor, shared: bool = True) -> Tensor:
    """At each depth slerp of the partly denoised neighbours.

    Then all frames that there are go down to the next depth's level together. Keyframes take part
    at every level with the one noise.
    """
    noise = run.noise(keyframes, shared)
    frames = torch.zeros(run.path.frames, *keyframes.shape[1:], device=keyframes.device)
    made: list[int] = []
    for slots, schedule in zip(run.path.slots(), _schedules(run), strict=True):
        signal, sigma = run.model.scales(schedule)
        frames[run.path.keyframes] = signal * keyframes + sigma * noise
        for slot in slots:
            ends = frames[[slot.left]], frames[[slot.right]]
            frames[slot.index] = slerp(*ends, slot.weight)[0]
            made.append(slot.index)
        frames[made] = run.sampled(frames[made], schedule, made)
    frames[run.path.keyframes] = keyframes
    return frames


def _schedules(run: SchemeRun) -> list[Schedule]:
    """The steps from each depth's level down to the next one's, those of the last depth to 0."""
    s, depths = run.settings, run.path.depths
    denoise = [s.denoise(depth, depths) for depth in range(1, depths + 1)]
    rests = [run.model.schedule(value, s.min_steps).points for value in denoise]
    ends = [rest[0] for rest in rests[1:]]
    between = [
        Schedule((*(point for point in rest if point > end), end))
        for rest, end in zip(rests, ends, strict=False)
    ]
    return [*between, Schedule(rests[-1])]


SCHEMES: dict[str, Callable[[SchemeRun, Tensor], Tensor]] = {
    "interpolate-denoise": interpolate_denoise,
    "DID": did,
    "DID, separate noise": did_separate,
    "interpolate": interpolate,
}
OPTIONS: dict[str, Any] = {
    **{
        option.name: getattr(PAPER, option.name)
        for option in fields(PAPER)
        # the levels are the model's
        if option.name not in ("max_denoise", "min_denoise", "seed")
    },
    "cfg": 4.0,
    "motion": "straight",
}
"""What the paper does otherwise than the default. Its guidance of 7.5 to 10 is strong for Stable
Diffusion; for the embedded model 4 is."""
EQUAL_STEPS = {"paper": 7, "interpolate-denoise": 33, "DID": 41, "DID, separate noise": 41}
"""Steps with which they evaluate the network about as often as the default does."""


def _register(name: str) -> None:
    @maker(name, rows="schemes", **OPTIONS)
    def frames(task: Task) -> Tensor:
        run = SchemeRun(task.model, task.path, task.guide, task.settings)
        return task.model.decode(run.latents(name, task.model.encode(task.pictures)))


ROWS["schemes"] = {"paper": OPTIONS}
for _name in SCHEMES:
    _register(_name)
ROWS["equal work"] = {
    f"{name}, {steps} steps": {**ROWS["schemes"][name], "steps": steps}
    for name, steps in EQUAL_STEPS.items()
}
ROWS["more work"] = {"paper, 200 steps": {**OPTIONS, "steps": 200}}


def _positions(path: Path) -> list[float]:
    """Of all frames, in keyframes."""
    gaps = [
        gap + place / (between + 1)
        for gap, between in enumerate(path.between)
        for place in range(between + 1)
    ]
    return [*gaps, float(len(path.between))]


def _neighbours(path: Path, indices: Sequence[int]) -> tuple[list[int], list[int], Tensor]:
    """The keyframes before and after frames, and the share `(n,)` of the way between the two."""
    places, last = _positions(path), len(path.between) - 1
    left = [min(int(places[index]), last) for index in indices]
    share = [places[index] - before for index, before in zip(indices, left, strict=True)]
    return left, [before + 1 for before in left], torch.tensor(share, dtype=torch.float64)
