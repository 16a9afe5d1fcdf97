"""Colours of frames, moved to the mix of those that the same things have in both keyframes.

With a correspondence of the keyframes, colours go along it (`mapped.py`). Otherwise things are
followed from frame to frame on a coarse grid. What is carried is how much a colour has changed
since the keyframe, never the colour itself, so that details stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ..matching.correspondence import Correspondence, check_aspect
from .cells import (
    CELLS,
    LIKENESS,
    REACH,
    as_grid,
    as_rows,
    certain,
    gauss,
    reduced,
    resized,
    weighted_mean,
)
from .flow import flow, follow
from .guided import upsample
from .mapped import ColoursAlong

FINE = 3
"""Times as fine is the grid on which moves are seen."""
MOVES = 3
"""Cells of that grid that things may move from frame to frame."""
CHANGE = 0.08
"""Standard deviation of how much colours of one region may change otherwise than the region."""
AGREEING = 0.6
"""Part of a region that must change alike from frame to frame; with half of it nothing is known."""
ROUNDS = 3
SURE = 5.0
"""A correction is made as far as it is more than so many standard errors."""


class Traced(NamedTuple):
    """How far the colours of cells are from a keyframe's `(cells, 3)`, and how sure, 0 to 1."""

    change: Tensor
    sure: Tensor


def match_colours(
    frames: Tensor,
    keyframes: Sequence[int] | None = None,
    strength: float = 1.0,
    device: torch.device | str | None = None,
    gaps: Sequence[Correspondence] | None = None,
) -> Tensor:
    """Return frames `(n, 3, h, w)` in 0..1 whose colours change evenly from keyframe to keyframe.

    They do so thing by thing. What cannot be followed with certainty stays as it is. `keyframes`
    are the numbers of the frames that stay as they are, in order; by default the first and the last
    frame. Frames before the first keyframe and after the last one stay, too, except in a loop.
    `strength` is how much of each correction is applied, 0 to 1. The work is done on `device`, by
    default that of the frames, at full size for one frame at a time.

    `gaps` are the correspondences between keyframes. A gap whose correspondence has enough points
    takes its colours along them; in all others, things are followed from frame to frame. If there
    are as many gaps as keyframes, the last is that of a loop, from the last keyframe to the first,
    and the frames after the last keyframe lie in it.

    Raises `ValueError` for keyframes that are out of order, repeated or not there, for fewer than
    two, and for another number of gaps or gaps of pictures of another aspect.
    """
    places = [0, len(frames) - 1] if keyframes is None else list(keyframes)
    if (
        len(places) < 2
        or places != sorted(set(places))
        or not 0 <= places[0] <= places[-1] < len(frames)
    ):
        raise ValueError(
            f"keyframes: got {', '.join(map(str, places))} for {len(frames)} frames, needs 2 or "
            f"more different numbers in order, from 0 to {len(frames) - 1}"
        )
    _check_gaps(frames, places, gaps)
    ends, path = list(pairwise(places)), frames.clone()
    if gaps is not None and len(gaps) == len(places):
        path = torch.cat([path, path[places[0], None]])
        ends.append((places[-1], len(frames)))
    for number, (first, last) in enumerate(ends):
        if last - first > 1 and strength > 0:
            gap = None if gaps is None else gaps[number]
            _match_gap(path[first : last + 1], strength, device or frames.device, gap)
    return path[: len(frames)]


def _check_gaps(frames: Tensor, places: list[int], gaps: Sequence[Correspondence] | None) -> None:
    """Raise `ValueError` for correspondences that cannot be those of the keyframes."""
    if gaps is None:
        return
    if len(gaps) not in (len(places) - 1, len(places)):
        raise ValueError(
            f"correspondence: got maps of {len(gaps)} gaps for {len(places)} keyframes, needs "
            f"{len(places) - 1}, or {len(places)} for a loop"
        )
    for gap in gaps:
        check_aspect(frames[0], gap.aspect)


def read_places(text: str, frames: int) -> list[int]:
    """Return the numbers of keyframes in a text such as `0, 16, 32`; the two ends for none.

    Raises `ValueError` for what are no numbers, and where there are fewer than 2 `frames`.
    """
    if frames < 2:
        raise ValueError(f"frames: got {frames}, needs at least 2, the keyframes among them")
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"keyframes: got {text!r}, needs numbers of frames, as in 0, 16, 32")
    return [int(word) for word in words] or [0, frames - 1]


def _match_gap(
    frames: Tensor,
    strength: float,
    device: torch.device | str,
    gap: Correspondence | None,
) -> None:
    """Correct the frames between two keyframes in place."""
    along = ColoursAlong([gap] if gap else [], frames[[0, -1]].to(device))
    if not any(along.says):
        _match_traced(frames, strength, device)
        return
    for i in range(1, len(frames) - 1):
        frame = frames[i : i + 1].to(device)
        frames[i] = frame.lerp(along(frame, [i / (len(frames) - 1)]), strength)[0]


def _match_traced(frames: Tensor, strength: float, device: torch.device | str) -> None:
    """Correct the frames between two keyframes in place, by following their things."""
    fine = torch.cat([reduced(frame[None].to(device), FINE * CELLS) for frame in frames])
    coarse = reduced(fine, CELLS)
    near = _nearness(coarse.shape[-2:], coarse)
    regions = [near * gauss(torch.cdist(c, c), LIKENESS) for c in as_rows(coarse)]
    there = _trace(fine, regions)
    back = _trace(fine.flip(0), regions[::-1])[::-1]
    for i in range(1, len(frames) - 1):
        field = _correction(there[i], back[i], i / (len(frames) - 1), regions[i])
        field = as_grid(field, coarse.shape[-2:])
        frame = frames[i : i + 1].to(device)
        moved = frame + strength * upsample(field, coarse[i : i + 1], frame)
        # what needs no mending keeps its very bits
        frames[i] = torch.where(field.any(), moved.clamp(0, 1), frame)[0]


def _trace(frames: Tensor, regions: Sequence[Tensor]) -> list[Traced]:
    """Follow regions from the first of `frames` `(n, 3, h, w)`, on a finer grid, to the others."""
    moves = flow(frames[1:], frames[:-1], MOVES)
    size = _coarse_size(frames)
    known = Traced(frames.new_zeros(regions[0].shape[0], 3), frames.new_ones(len(regions[0]), 1))
    found, way = [known], torch.zeros_like(moves[:1])
    for i in range(1, len(frames)):
        step, frame = moves[i - 1 : i], frames[i : i + 1]
        way = step + follow(way, step)
        # errors of single steps must not add up
        way = way + flow(frame, follow(frames[:1], way), 1)
        before = _carried(known, step, size)
        difference = as_rows(resized(follow(frames[i - 1 : i], step) - frame, size))[0]
        direct = as_rows(resized(follow(frames[:1], way) - frame, size))[0]
        found.append(known := _followed(before, difference, direct, regions[i]))
    return found


def _carried(known: Traced, step: Tensor, size: torch.Size) -> Traced:
    """What is known of the frame before, where its things are now."""
    moves = resized(step, size) / FINE
    values = torch.cat(known, 1).T.reshape(1, 4, *size)
    values = as_rows(follow(values, moves))[0]
    return Traced(values[:, :3], values[:, 3:])


def _followed(known: Traced, difference: Tensor, direct: Tensor, region: Tensor) -> Traced:
    """What is known of the next frame, whose colours are less by `difference` `(cells, 3)`.

    They are less than those of the keyframe by `direct`, where that can be seen.
    """
    shift = torch.zeros_like(difference)
    for _ in range(ROUNDS):
        agree = region * gauss(torch.cdist(shift, difference), CHANGE)
        shift = agree @ difference / agree.sum(1, keepdim=True).clamp_min(1e-6)
    agree = region * gauss(torch.cdist(shift, difference), CHANGE)
    share = agree.sum(1, keepdim=True) / region.sum(1, keepdim=True)
    agree = agree * known.sure.T.clamp_min(1e-3)
    total = agree.sum(1, keepdim=True).clamp_min(1e-9)
    regional = agree @ (known.change + difference) / total
    # a cell that is seen to change as its region does is followed by itself
    own = gauss((direct - regional).norm(dim=1, keepdim=True), CHANGE / 2)
    believed = (2 * share / AGREEING - 1).clamp(0.05, 1) ** 0.25
    sure = agree @ known.sure / total * believed
    return Traced(regional.lerp(direct, own), sure)


def _correction(there: Traced, back: Traced, weight: float, region: Tensor) -> Tensor:
    """How the colours of cells should change `(cells, 3)`: by the mean of their region."""
    wanted, sure = there.change.lerp(back.change, weight), there.sure * back.sure
    weights = region * sure.T
    mean = weighted_mean(weights, wanted)
    return certain(mean, weights, wanted, SURE) * sure.clamp(0, 1)


def _coarse_size(frames: Tensor) -> torch.Size:
    return reduced(frames[:1], CELLS).shape[-2:]


def _nearness(size: torch.Size, like: Tensor) -> Tensor:
    """How near cells are to each other `(cells, cells)`."""
    rows, columns = size
    y = (torch.arange(rows).to(like) + 0.5) / max(size)
    x = (torch.arange(columns).to(like) + 0.5) / max(size)
    places = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flatten(0, 1)
    return gauss(torch.cdist(places, places), REACH)
