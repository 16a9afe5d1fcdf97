"""Where the frames of a path lie, and in which order they are made."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

MAX_BETWEEN = 1023
"""The most frames between two keyframes that a text can ask for."""


def gaps_between(keyframes: int, loop: bool = False) -> list[tuple[int, int]]:
    """Return the numbers of the two keyframes of each gap; a loop goes back to the first one."""
    order = [*range(keyframes), *([0] if loop else [])]
    return list(pairwise(order))


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
                f"frames_per_gap: got {list(self.between)}, needs at least 1 in one gap"
            )

    @classmethod
    def of(cls, frames: int, keyframes: int) -> Path:
        """Return a path of `frames` in all, spread over the gaps as evenly as possible.

        The keyframes are among them. Raises `ValueError` for too few frames or keyframes.
        """
        if keyframes < 2:
            raise ValueError(f"keyframes: got {keyframes}, needs at least 2")
        if frames <= keyframes:
            raise ValueError(
                f"frames: got {frames}, needs at least {keyframes + 1} with {keyframes} keyframes"
            )
        each, rest = divmod(frames - keyframes, keyframes - 1)
        return cls(tuple(each + (gap < rest) for gap in range(keyframes - 1)))

    @classmethod
    def read(cls, text: str, gaps: int) -> Path:
        """Return the path of a text: `15` for each of `gaps`, or `15, 31, 7` for gaps of their own.

        Raises `ValueError` for anything else, for a number above `MAX_BETWEEN`, for another count
        of numbers, and for a path without a frame in any gap.
        """
        words = [word.strip() for word in text.split(",")]
        if not all(word.isdecimal() and int(word) <= MAX_BETWEEN for word in words):
            raise ValueError(
                f"frames_per_gap: got {text!r}, needs a whole number up to {MAX_BETWEEN}, or one "
                "for each gap, as in 15, 31, 7"
            )
        if len(words) not in (1, gaps):
            raise ValueError(
                f"frames_per_gap: got {len(words)} numbers for {gaps} gaps, needs 1 or {gaps}"
            )
        between = tuple(map(int, words))
        return cls(between if len(between) == gaps else between * gaps)

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

    def position(self, frame: int) -> float:
        """Return where a frame lies, in keyframes."""
        keyframes = self.keyframes
        gap = min(bisect_right(keyframes, frame), len(self.between)) - 1
        first, last = keyframes[gap : gap + 2]
        return gap + (frame - first) / (last - first)

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
