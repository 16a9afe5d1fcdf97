"""The paper's other schemes, to compare bisection with (method, "The paper's comparison").

They run on any model, path and guide that bisection runs on. Of each frame they make one candidate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from .bisection import Settings
from .blend import lerp, slerp
from .guide import Guide
from .model import Guidance, LatentDiffusionModel
from .path import Path, draw_noise, noise_level

Scheme = Literal["interpolate", "interpolate-denoise", "DID", "DID, separate noise"]
SCHEMES: tuple[str, ...] = get_args(Scheme)


def cross_fade(pictures: Tensor, path: Path) -> Tensor:
    """All frames `(frames, 3, h, w)` of a path through `pictures` `(N, 3, h, w)`, by pixels."""
    left, right, share = _neighbours(path, range(path.frames))
    return lerp(pictures[left], pictures[right], share)


class StoppableModel(LatentDiffusionModel, Protocol):
    """A model that can be stopped on the way, which only these schemes ask for."""

    def denoise(
        self, noisy: Tensor, level: float, guidance: Guidance, until: float | None = None
    ) -> Tensor:
        """Clean latents from noisy ones `(n, c, h', w')` at `level`, or those at `until`."""


@dataclass(frozen=True)
class SchemeRun:
    """One of the schemes on a path; `settings` as bisection has them, less the candidates."""

    model: StoppableModel
    path: Path
    guide: Guide
    settings: Settings = field(default_factory=Settings)

    def latents(self, scheme: Scheme, keyframes: Tensor) -> Tensor:
        """Clean latents `(frames, c, h', w')` of all frames, those of `keyframes` `(N, ...)` kept.

        - `interpolate`: slerp of the clean latents at the frame's place.
        - `interpolate-denoise`: both keyframes under one noise, slerp at the frame's place,
          denoise; the level rises in a straight line from the keyframes to half-way.
        - `DID`: at each depth slerp of the partly denoised neighbours; then all frames that there
          are go down to the next depth's level together. Keyframes take part at every level with
          the one noise. With `separate noise` each keyframe has its own.

        Raises `ValueError` for another scheme, and for settings out of range.
        """
        self.settings.check()
        if scheme not in SCHEMES:
            raise ValueError(f"scheme is {scheme!r}; it must be one of {', '.join(SCHEMES)}")
        keyframes = keyframes.to(self.model.device)
        if scheme == "interpolate":
            return self._mixed(keyframes, range(self.path.frames))
        if scheme == "interpolate-denoise":
            return self._interpolate_denoise(keyframes)
        return self._did(keyframes, shared=scheme == "DID")

    def _interpolate_denoise(self, keyframes: Tensor) -> Tensor:
        frames = self._mixed(keyframes, range(self.path.frames))
        noise = self._noise(keyframes, shared=True)
        for level, indices in self._by_level().items():
            signal, sigma = self.model.scales(level)
            noisy = self._mixed(signal * keyframes + sigma * noise, indices)
            frames[indices] = self._denoise(noisy, level, indices, None)
        return frames

    def _by_level(self) -> dict[float, list[int]]:
        """The frames between keyframes by their level, which rises towards half-way."""
        s, found = self.settings, defaultdict(list)
        for slot in (slot for slots in self.path.slots() for slot in slots):
            share = slot.position - int(slot.position)
            middle = 1 - abs(2 * share - 1)
            found[round(s.lowest + middle * (s.highest - s.lowest), 9)].append(slot.index)
        return found

    def _did(self, keyframes: Tensor, shared: bool) -> Tensor:
        noise = self._noise(keyframes, shared)
        s, depths = self.settings, self.path.depths
        levels = [
            noise_level(d, depths, s.highest, s.lowest, s.curve) for d in range(1, depths + 1)
        ]
        frames = torch.zeros(self.path.frames, *keyframes.shape[1:], device=keyframes.device)
        made: list[int] = []
        for slots, level, until in zip(self.path.slots(), levels, [*levels[1:], None], strict=True):
            signal, sigma = self.model.scales(level)
            frames[self.path.keyframes] = signal * keyframes + sigma * noise
            for slot in slots:
                ends = frames[[slot.left]], frames[[slot.right]]
                frames[slot.index] = slerp(*ends, slot.weight)[0]
                made.append(slot.index)
            frames[made] = self._denoise(frames[made], level, made, until)
        frames[self.path.keyframes] = keyframes
        return frames

    def _mixed(self, ends: Tensor, indices: Sequence[int]) -> Tensor:
        """Slerp of the keyframes beside frames, at the places of the frames."""
        left, right, share = _neighbours(self.path, indices)
        return slerp(ends[left], ends[right], share.to(ends.device))

    def _noise(self, keyframes: Tensor, shared: bool) -> Tensor:
        """Noise for each keyframe, the same for all where it is `shared`."""
        numbers = [0 if shared else number for number in range(len(keyframes))]
        drawn = [draw_noise(keyframes.shape[1:], self.settings.seed, n, 0) for n in numbers]
        return torch.stack(drawn).to(keyframes)

    def _denoise(
        self, noisy: Tensor, level: float, indices: Sequence[int], until: float | None
    ) -> Tensor:
        """Frames `indices` from `level` to `until`, in batches of the model's size."""
        places = _positions(self.path)
        parts = []
        for start in range(0, len(indices), self.model.batch_size):
            part = slice(start, start + self.model.batch_size)
            at = [places[index] for index in indices[part]]
            guidance = self.guide.at(at, self.model, tuple(noisy.shape[2:]))
            parts.append(self.model.denoise(noisy[part], level, guidance, until))
        return torch.cat(parts).to(noisy)


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
