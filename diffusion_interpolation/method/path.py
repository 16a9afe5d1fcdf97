"""Where the frames of a path lie, their order, and how much noise and choice each gets."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Curve = Literal["linear", "convex", "concave"]
CURVES: tuple[str, ...] = get_args(Curve)
MAX_SEED = 2**63 - 1
_BEND = {"linear": 1.0, "convex": 2.0, "concave": 0.5}


@dataclass(frozen=True)
class Slot:
    """A frame to be made between two finished ones.

    `index`, `left` and `right` count all frames; `position` is in keyframes (0.5: half-way from the
    first to the second); `depth` is 1 for frames made from keyframes alone; `weight` is the weight
    of the right neighbour.
    """

    index: int
    position: float
    depth: int
    left: int
    right: int

    @property
    def weight(self) -> float:
        return (self.index - self.left) / (self.right - self.left)


@dataclass(frozen=True)
class Path:
    """Keyframes and the numbers of frames `between` them, one number per gap."""

    between: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.between or min(self.between) < 0 or max(self.between) < 1:
            raise ValueError(
                f"frames per gap: got {list(self.between)}, a gap must have at least 1"
            )

    @classmethod
    def of(cls, frames: int, keyframes: int) -> Path:
        """`frames` in all, the keyframes among them, spread over the gaps as evenly as may be."""
        if keyframes < 2:
            raise ValueError(f"keyframes: got {keyframes}, a path needs at least 2")
        if frames <= keyframes:
            raise ValueError(
                f"frames: got {frames}, {keyframes} keyframes need at least {keyframes + 1}"
            )
        least, more = divmod(frames - keyframes, keyframes - 1)
        return cls(tuple(least + (gap < more) for gap in range(keyframes - 1)))

    @property
    def keyframes(self) -> list[int]:
        """The frame number of every keyframe."""
        places = [0]
        for count in self.between:
            places.append(places[-1] + count + 1)
        return places

    @property
    def frames(self) -> int:
        return self.keyframes[-1] + 1

    def slots(self) -> list[list[Slot]]:
        """The frames to make, by depth: each needs only keyframes and the depths before it."""
        ranges = list(zip(self.keyframes, self.keyframes[1:], strict=False))
        slots = [slot for gap, ends in enumerate(ranges) for slot in _halve(gap, *ends)]
        return [[s for s in slots if s.depth == depth] for depth in range(1, self.depths + 1)]

    @property
    def depths(self) -> int:
        return max(self.between).bit_length()


def _halve(gap: int, first: int, last: int) -> list[Slot]:
    """Slots of one gap: the middle of each range of whole numbers, then of its halves."""
    slots, ranges, depth = [], [(first, last)], 1
    while ranges := [(low, high) for low, high in ranges if high - low > 1]:
        middles = [(low + high) // 2 for low, high in ranges]
        for (low, high), middle in zip(ranges, middles, strict=True):
            slots.append(Slot(middle, gap + (middle - first) / (last - first), depth, low, high))
        ranges = [
            half
            for (lo, hi), mid in zip(ranges, middles, strict=True)
            for half in ((lo, mid), (mid, hi))
        ]
        depth += 1
    return slots


def denoise_at_depth(
    depth: int, depths: int, max_denoise: float, min_denoise: float, curve: Curve = "linear"
) -> float:
    """Return the denoise of `depth`, from `max_denoise` at depth 1 to `min_denoise` at `depths`.

    It is `min_denoise + (max_denoise - min_denoise) x^p` with `x` from 1 down to 0 and `p` of 1
    (linear), 2 (convex) or 1/2 (concave) (method, step 4). Raises `ValueError` for values outside
    (0, 1] or the wrong way round, and for an unknown curve.
    """
    check_denoise_range(max_denoise, min_denoise)
    if curve not in _BEND:
        raise ValueError(f"denoise curve: got {curve!r}, needs one of {', '.join(CURVES)}")
    place = 1.0 if depths == 1 else (depths - depth) / (depths - 1)
    return min_denoise + (max_denoise - min_denoise) * place ** _BEND[curve]


def check_denoise_range(max_denoise: float, min_denoise: float) -> None:
    """Raise `ValueError` unless `0 < min_denoise <= max_denoise <= 1`."""
    if not 0 < min_denoise <= max_denoise <= 1:
        raise ValueError(
            f"denoise: got max_denoise {max_denoise} and min_denoise {min_denoise}, "
            "needs 0 < min_denoise <= max_denoise <= 1"
        )


def candidate_count(depth: int, most: int, least: int = 3) -> int:
    """Candidates of a frame: `most` at depth 1, one fewer each depth, never under `least`.

    Raises `ValueError` for no candidates. (Method, step 6.)
    """
    if most < 1:
        raise ValueError(f"candidates: got {most}, needs at least 1")
    return max(most - (depth - 1), min(least, most))


def check_seed(seed: int) -> None:
    """Raise `ValueError` unless `0 <= seed <= MAX_SEED`."""
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed: got {seed}, needs 0 or more, and less than 2^63")


def row_seed(seed: int, position: float, candidate: int) -> int:
    """A seed of its own for every candidate of every frame, below 2^64."""
    check_seed(seed)
    key = struct.pack("<qdq", seed, position, candidate)
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")


def draw_noise(shape: Sequence[int], seed: int, position: float, candidate: int) -> Tensor:
    """Standard normal noise on the CPU that depends on its arguments alone, not on the batch."""
    generator = torch.Generator().manual_seed(row_seed(seed, position, candidate))
    return torch.randn(tuple(shape), generator=generator)
