"""OpenPose-18 poses: people and their joints, paired, drawn."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..settings import PAIRINGS, PEOPLE, Pairing, People

log = logging.getLogger(__name__)

JOINTS: tuple[str, ...] = (
    "nose",
    "neck",
    *(f"right_{joint}" for joint in ("shoulder", "elbow", "wrist")),
    *(f"left_{joint}" for joint in ("shoulder", "elbow", "wrist")),
    *(f"right_{joint}" for joint in ("hip", "knee", "ankle")),
    *(f"left_{joint}" for joint in ("hip", "knee", "ankle")),
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)
# Pairs of joints in painting order, and a colour a joint; the first 17 colours are those of the
# limbs, too. Order, colours and sizes are OpenPose's COCO model as controlnet-aux draws it, the
# look that today's ControlNets were trained on.
LIMBS: tuple[tuple[int, int], ...] = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7)),
    *((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
COLOURS: tuple[tuple[int, int, int], ...] = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
LIMB_BRIGHTNESS = 0.6
HALF_WIDTH = 4.0  # of limbs, and the radius of dots; in pixels at every picture size
# A whole-pixel fill takes in the pixels on its outline: limbs come out half a pixel larger all
# round, dots do not.
LIMB_GROWTH = 0.5
# Pixels over which an edge fades. One would be sharpest, but a joint that moves by a tenth of a
# pixel would then change pixels by a tenth of full brightness, or more where a dot and its limbs
# end together. This keeps it under 16/255.
FADE = 2.5


@dataclass(frozen=True, eq=False)
class Pose:
    """One person: `points` `(18, 2)`, x and y of the `JOINTS`, and `scores` `(18,)`, 0 if missing.

    In pixels; a whole number is the middle of a pixel, as in OpenCV. Raises `ValueError` for other
    shapes.
    """

    points: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        shapes = tuple(self.points.shape), tuple(self.scores.shape)
        if shapes != ((18, 2), (18,)):
            raise ValueError(
                f"pose: got points {shapes[0]} and scores {shapes[1]}, needs (18, 2) and (18,)"
            )

    @property
    def present(self) -> Tensor:
        """Which joints there are, `(18,)` of bool."""
        return self.scores > 0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the joints there are; zeros if there is none."""
        points = self.points[self.present]
        if not len(points):
            return (0.0, 0.0, 0.0, 0.0)
        return (*points.amin(0).tolist(), *points.amax(0).tolist())

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    @property
    def middle(self) -> tuple[float, float]:
        """x and y of the middle of the box."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    def scaled(
        self, x_factor: float, y_factor: float, x_shift: float = 0.0, y_shift: float = 0.0
    ) -> Pose:
        """The pose in a picture resized by these factors, then shifted: `x_factor x + x_shift`."""
        factors = self.points.new_tensor([x_factor, y_factor])
        return Pose(self.points * factors + factors.new_tensor([x_shift, y_shift]), self.scores)


def match_people(
    poses: Sequence[Sequence[Pose]],
    people: People = "largest",
    by: Pairing = "left to right",
    fill: bool = False,
) -> list[list[Pose]]:
    """As many people in every keyframe, each in the same place of the list (method, step 3).

    `largest` keeps the person with the largest box. `all` pairs them `by` their order from left to
    right, or so that the total joint `distance` from one keyframe to the next is lowest (Hungarian
    method; needs scipy). People without a partner are dropped with a warning. With `fill` their
    joints are those of `fill_missing`. Raises `ValueError` for a keyframe without people, and for
    other words.
    """
    if people not in PEOPLE:
        raise ValueError(f"people: got {people!r}, needs one of {', '.join(PEOPLE)}")
    if by not in PAIRINGS:
        raise ValueError(f"pairing: got {by!r}, needs one of {', '.join(PAIRINGS)}")
    for number, persons in enumerate(poses):
        if not persons:
            raise ValueError(f"poses: keyframe {number} (from 0) has no person, needs at least one")
    if people == "largest":
        paired = [[max(persons, key=lambda pose: pose.area)] for persons in poses]
    else:
        paired = _pair_all(poses, by)
    return fill_missing(paired) if fill else paired


def _pair_all(poses: Sequence[Sequence[Pose]], by: Pairing) -> list[list[Pose]]:
    rows = [sorted(persons, key=lambda pose: pose.middle[0]) for persons in poses]
    fewest = min(map(len, rows), default=0)
    for number, row in enumerate(rows):
        if len(row) > fewest:
            text = "poses: keyframe %d has %d people, another only %d; the others are dropped"
            log.warning(text, number, len(row), fewest)
    return [row[:fewest] for row in rows] if by == "left to right" else _pair_nearest(rows)


def _pair_nearest(rows: list[list[Pose]]) -> list[list[Pose]]:
    """Pairs outward from the keyframe with the fewest people, so that all of them find partners."""
    start = min(range(len(rows)), key=lambda i: len(rows[i]), default=0)
    paired = list(rows)
    for i in range(start + 1, len(rows)):
        paired[i] = _nearest(paired[i - 1], rows[i])
    for i in range(start - 1, -1, -1):
        paired[i] = _nearest(paired[i + 1], rows[i])
    return paired


def _nearest(wanted: list[Pose], among: list[Pose]) -> list[Pose]:
    """Return one of `among` for each of `wanted`, so that the total distance is lowest."""
    from scipy.optimize import linear_sum_assignment

    costs = [[_distance(a, b) for b in among] for a in wanted]
    return [among[column] for column in linear_sum_assignment(costs)[1]]


def _distance(a: Pose, b: Pose) -> float:
    """Mean pixels between the joints that both have, or else between the middles of the boxes."""
    both = a.present & b.present
    if not both.any():
        return math.dist(a.middle, b.middle)
    return (a.points - b.points)[both].norm(dim=-1).mean().item()


def fill_missing(poses: Sequence[Sequence[Pose]]) -> list[list[Pose]]:
    """Paired people with every joint that they have in any of the keyframes.

    A joint that a keyframe lacks lies on the straight line between where the keyframes before and
    after have it, or stays where the only one on one side has it.
    """
    filled = [_fill_person(person) for person in zip(*poses, strict=True)]
    return [list(people) for people in zip(*filled, strict=True)] if filled else list(poses)


def _fill_person(keyframes: Sequence[Pose]) -> list[Pose]:
    """One person's poses, `_filled` joint by joint."""
    # (keyframes, 18, x y score)
    joints = torch.stack(
        [torch.cat([pose.points, pose.scores[:, None]], dim=1) for pose in keyframes]
    )
    for joint in range(len(JOINTS)):
        there = joints[:, joint, 2] > 0
        if there.any() and not there.all():
            joints[:, joint] = _filled(joints[:, joint], there)
    return [Pose(values[:, :2], values[:, 2]) for values in joints]


def _filled(values: Tensor, there: Tensor) -> Tensor:
    """Columns of `(n, k)` as they are in the rows `there`, and straight in between."""
    places, known = np.arange(len(values)), there.nonzero().flatten().tolist()
    columns = [np.interp(places, known, column) for column in values[there].T.tolist()]
    return torch.tensor(np.stack(columns, axis=1), dtype=values.dtype)


def draw_batch(people: Sequence[Sequence[Pose]], height: int, width: int) -> Tensor:
    """Skeletons `(n, 3, height, width)` in 0..1 on black, of the people of each picture, in pixels.

    The look of controlnet-aux (limbs as ellipses 8 pixels wide at 0.6 of their colour, then dots,
    person after person), but with soft edges at exact places: a skeleton that moves by part of a
    pixel does not jitter. Raises `ValueError` for an empty picture.
    """
    if height < 1 or width < 1:
        raise ValueError(f"picture: got {height} x {width}, needs at least 1 x 1 pixel")
    device = next((pose.points.device for persons in people for pose in persons), None)
    canvas = torch.zeros(len(people), height, width, 3, device=device)
    for rank in range(max(map(len, people), default=0)):
        rows = [row for row, persons in enumerate(people) if len(persons) > rank]
        points = torch.stack([people[row][rank].points for row in rows]).float()
        scores = torch.stack([people[row][rank].scores for row in rows])
        _draw_persons(canvas, torch.tensor(rows, device=device), points, scores > 0)
    return canvas.permute(0, 3, 1, 2).contiguous()


def _draw_persons(canvas: Tensor, rows: Tensor, points: Tensor, present: Tensor) -> None:
    """One person `(m, 18, 2)` in each of the pictures `rows` `(m,)` of `canvas` `(n, h, w, 3)`."""
    colours = torch.tensor(COLOURS, device=canvas.device) / 255
    for (first, last), colour in zip(LIMBS, LIMB_BRIGHTNESS * colours, strict=False):
        drawn = present[:, first] & present[:, last]
        ends = points[drawn][:, [first, last]]
        _paint(canvas, rows[drawn], ends, _ellipse(ends), colour)
    for joint, colour in enumerate(colours):
        drawn = present[:, joint]
        centre = points[drawn][:, [joint]]
        _paint(canvas, rows[drawn], centre, _dot(centre), colour)


Distance = Callable[[Tensor, Tensor], Tensor]


def _paint(canvas: Tensor, rows: Tensor, ends: Tensor, distance: Distance, colour: Tensor) -> None:
    """Paint where `distance` (pixels) is negative, near `ends` `(m, 1 or 2, 2)` of one shape a row.

    Only a window around each shape is touched; all have the size of the batch's largest.
    """
    if not len(rows):
        return
    reach = HALF_WIDTH + LIMB_GROWTH + FADE / 2
    limit = torch.tensor([canvas.shape[2], canvas.shape[1]], device=canvas.device)
    low = (ends.amin(1) - reach).ceil().clamp_min(0).minimum(limit)
    high = (ends.amax(1) + reach + 1).floor().clamp_min(0).minimum(limit)
    size = (high - low).amax(0).long()
    if not size.all():
        return
    corner = low.long().minimum(limit - size)
    x, y = (corner[:, i, None] + torch.arange(int(size[i]), device=canvas.device) for i in (0, 1))
    window = rows[:, None, None], y[:, :, None], x[:, None, :]
    cover = distance(window[2], window[1]).mul_(-1 / FADE).add_(0.5).clamp_(0, 1)
    canvas[window] = canvas[window].lerp_(colour, cover[..., None])


def _dot(centre: Tensor) -> Distance:
    """Distance of pixels x `(m, 1, w)` and y `(m, h, 1)` to dots around `centre` `(m, 1, 2)`."""
    middle = centre[..., None]

    def distance(x: Tensor, y: Tensor) -> Tensor:
        x, y = x - middle[:, :, 0], y - middle[:, :, 1]
        return (x.square() + y.square()).sqrt_().sub_(HALF_WIDTH)

    return distance


def _ellipse(ends: Tensor) -> Distance:
    """Distance, to first order, of pixels to ellipses between `ends` `(m, 2, 2)`.

    For the ellipse f(p) = |(p_x / a, p_y / b)| = 1 it is (f - 1) / |grad f|. A limb shorter than it
    is wide is drawn round: the dots hide its ends, and it has no direction that could flip.
    """
    middle = ends.mean(1)[..., None, None]
    way = ends[:, 1] - ends[:, 0]
    turn = torch.atan2(way[:, 1], way[:, 0])[:, None, None]
    cosine, sine = turn.cos(), turn.sin()
    a, b = (way.norm(dim=-1) / 2).clamp_min(HALF_WIDTH)[:, None, None], HALF_WIDTH

    def distance(x: Tensor, y: Tensor) -> Tensor:
        x, y = x - middle[:, 0], y - middle[:, 1]
        along = (x * cosine + y * sine).abs_()
        p, q = (along / a).square_(), (y * (cosine / b) - x * (sine / b)).square_()
        # The small terms make the middle of the ellipse b away from its edge instead of 0 / 0.
        slope = (p / a**2).add_(q, alpha=b**-2).add_(1e-9 * b**-2)
        squared = p.add_(q).add_(1e-9)
        first_order = (squared / slope).sqrt_().mul_(squared.sqrt() - 1)
        # First order is too near beside a sharp tip; nothing is nearer than a line across the tip.
        return torch.maximum(first_order, along.sub_(a)).sub_(LIMB_GROWTH)

    return distance
