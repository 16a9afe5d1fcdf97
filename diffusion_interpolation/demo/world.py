"""The puppet world: pictures whose every number is known, so that in-betweens have a truth.

A puppet is a row of `NUMBERS`; the straight line between two rows is the true way from one picture
to the other. All functions are batched. Lengths are in picture heights, y downward; angles in
radians; colours are RGB in 0..1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..pose import Pose

# Angles of limbs open outward from straight down; elbows and knees add to the limb above them.
POSE_RANGES: dict[str, tuple[float, float]] = {
    "x": (-0.10, 0.10),
    "y": (-0.03, 0.03),
    "size": (0.85, 1.1),
    "lean": (-0.2, 0.2),
    "head_tilt": (-0.25, 0.25),
    "right_shoulder": (0.2, 2.9),
    "right_elbow": (-0.9, 0.9),
    "left_shoulder": (0.2, 2.9),
    "left_elbow": (-0.9, 0.9),
    "right_hip": (0.05, 0.7),
    "right_knee": (-0.45, 0.45),
    "left_hip": (0.05, 0.7),
    "left_knee": (-0.45, 0.45),
}
LOOKS = ("body_r", "body_g", "body_b", "back_r", "back_g", "back_b", "hat")
NUMBERS = (*POSE_RANGES, *LOOKS)
INDEX = {name: i for i, name in enumerate(NUMBERS)}
BODY = slice(INDEX["body_r"], INDEX["body_b"] + 1)
BACK = slice(INDEX["back_r"], INDEX["back_b"] + 1)
HAT = INDEX["hat"]

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.17, 0.17),
    "orange": (0.95, 0.55, 0.13),
    "yellow": (0.97, 0.88, 0.30),
    "green": (0.22, 0.65, 0.30),
    "blue": (0.20, 0.40, 0.85),
    "purple": (0.52, 0.27, 0.70),
    "pink": (0.97, 0.63, 0.76),
    "white": (0.94, 0.94, 0.94),
}
HATS: dict[str, float] = {"no hat": 0.0, "a cap": 0.4, "a top hat": 0.9}
ARMS: dict[str, float] = {"down": 0.55, "out": math.pi / 2, "up": 2.55}

OUTLINE = (0.13, 0.12, 0.16)
SKIN = (0.96, 0.80, 0.66)
OUTLINE_WIDTH = 0.011


def sample(count: int, generator: torch.Generator) -> Tensor:
    """`(count, len(NUMBERS))` puppets.

    Most looks lie near a word of the caption, a fifth lie in between.
    """
    poses = torch.rand(count, len(POSE_RANGES), generator=generator)
    low, high = (torch.tensor(ends) for ends in zip(*POSE_RANGES.values(), strict=True))
    body, back = _two_colours(count, generator)
    return torch.cat([low + (high - low) * poses, body, back, _hats(count, generator)], dim=1)


def _two_colours(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    palette = torch.tensor(list(COLOURS.values()))
    order = torch.rand(count, len(palette), generator=generator).argsort(dim=1)

    def near(first: Tensor, second: Tensor) -> Tensor:
        between = torch.rand(count, 1, generator=generator)
        share = torch.where(torch.rand(count, 1, generator=generator) < 0.2, between, 0.0)
        noise = 0.03 * torch.randn(count, 3, generator=generator)
        return (palette[first].lerp(palette[second], share) + noise).clamp(0, 1)

    return near(order[:, 0], order[:, 2]), near(order[:, 1], order[:, 3])


def _hats(count: int, generator: torch.Generator) -> Tensor:
    anchors = torch.tensor(list(HATS.values()))
    hat = anchors[torch.randint(len(anchors), (count,), generator=generator)]
    hat = (hat + 0.06 * torch.randn(count, generator=generator)) * (hat > 0)
    anywhere = torch.rand(count, generator=generator)
    keep = torch.rand(count, generator=generator) < 0.8
    return torch.where(keep, hat, anywhere).clamp(0, 1)[:, None]


def _number(puppets: Tensor, name: str) -> Tensor:
    return puppets[:, INDEX[name]]


def _polar(angle: Tensor, length: Tensor | float) -> Tensor:
    """`(n, 2)` offset of `length` at `angle` from straight down, turning towards +x."""
    return torch.stack([angle.sin(), angle.cos()], dim=-1) * torch.as_tensor(length)[..., None]


def joints(puppets: Tensor) -> Tensor:
    """OpenPose-18 joints `(n, 18, 2)` in picture heights.

    The puppet faces us: its right is on our left.
    """
    size = _number(puppets, "size")
    lean = _number(puppets, "lean")
    pelvis = torch.stack([0.5 + _number(puppets, "x"), 0.61 + _number(puppets, "y")], dim=-1)
    up = _polar(math.pi - lean, 1.0)
    side = _polar(math.pi / 2 - lean, 1.0)
    at = {"neck": pelvis + up * (0.22 * size)[:, None]}
    for name, sign in (("right", -1.0), ("left", 1.0)):
        at[f"{name}_shoulder"] = at["neck"] + side * (sign * 0.075 * size)[:, None]
        at[f"{name}_hip"] = pelvis + side * (sign * 0.048 * size)[:, None]
        for root, middle, end, first, second in (
            ("shoulder", "elbow", "wrist", 0.135, 0.125),
            ("hip", "knee", "ankle", 0.145, 0.145),
        ):
            upper = sign * _number(puppets, f"{name}_{root}") - lean
            lower = upper + sign * _number(puppets, f"{name}_{middle}")
            at[f"{name}_{middle}"] = at[f"{name}_{root}"] + _polar(upper, first * size)
            at[f"{name}_{end}"] = at[f"{name}_{middle}"] + _polar(lower, second * size)
    head, face_side, face_up = _head(puppets, at["neck"], up)
    at["nose"] = head - face_up * (0.020 * size)[:, None]
    for name, sign in (("right", -1.0), ("left", 1.0)):
        at[f"{name}_eye"] = (
            head + face_side * (sign * 0.040 * size)[:, None] + face_up * (0.010 * size)[:, None]
        )
        at[f"{name}_ear"] = head + face_side * (sign * 0.092 * size)[:, None]
    order = ["nose", "neck"]
    order += [
        f"{side_}_{joint}"
        for side_ in ("right", "left")
        for joint in ("shoulder", "elbow", "wrist")
    ]
    order += [
        f"{side_}_{joint}" for side_ in ("right", "left") for joint in ("hip", "knee", "ankle")
    ]
    order += ["right_eye", "left_eye", "right_ear", "left_ear"]
    return torch.stack([at[name] for name in order], dim=1)


def _head(puppets: Tensor, neck: Tensor, up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre of the head and the directions of its side and its top, each `(n, 2)`."""
    turn = _number(puppets, "lean") + _number(puppets, "head_tilt")
    centre = neck + up * (0.112 * _number(puppets, "size"))[:, None]
    return centre, _polar(math.pi / 2 - turn, 1.0), _polar(math.pi - turn, 1.0)


def poses(puppets: Tensor, size: int) -> list[list[Pose]]:
    """One person a picture, in pixels of a `size` x `size` picture."""
    ones = torch.ones(18)
    return [[Pose(points=at * size, scores=ones.clone())] for at in joints(puppets).float()]


def _along(canvas: _Canvas, start: Tensor, direction: Tensor) -> Tensor:
    """Dot product `(n, h, w)` of `direction` and the way from `start` `(n, 2)` to each pixel."""
    x, y = direction[:, 0, None, None], direction[:, 1, None, None]
    return (canvas.x * x + canvas.y * y) - (start * direction).sum(1)[:, None, None]


def _segment(canvas: _Canvas, start: Tensor, end: Tensor) -> Tensor:
    """Distance `(n, h, w)` of every pixel to the segments from `start` to `end`, each `(n, 2)`."""
    way = end - start
    share = _along(canvas, start, way / way.square().sum(-1, keepdim=True).clamp_min(1e-9)).clamp(
        0, 1
    )
    x = canvas.x - start[:, 0, None, None] - way[:, 0, None, None] * share
    y = canvas.y - start[:, 1, None, None] - way[:, 1, None, None] * share
    return (x * x + y * y).sqrt()


def _disc(canvas: _Canvas, centre: Tensor) -> Tensor:
    """Distance `(n, h, w)` of every pixel to the points `centre` `(n, 2)`."""
    x, y = canvas.x - centre[:, 0, None, None], canvas.y - centre[:, 1, None, None]
    return (x * x + y * y).sqrt()


class _Canvas:
    """Paints signed distances (picture heights, negative inside), anti-aliased over a pixel."""

    def __init__(self, background: Tensor, size: int) -> None:
        self.size = size
        self.pixels = background[:, :, None, None].expand(-1, 3, size, size).clone()
        ticks = (torch.arange(size) + 0.5) / size
        self.x, self.y = ticks[None, None, :], ticks[None, :, None]

    def paint(self, distance: Tensor, colour: Tensor, strength: Tensor | float = 1.0) -> None:
        cover = (0.5 - distance * self.size).clamp(0, 1) * torch.as_tensor(strength).reshape(
            -1, 1, 1
        )
        self.pixels += (colour.reshape(-1, 3, 1, 1) - self.pixels) * cover[:, None]

    def outlined(self, distance: Tensor, colour: Tensor) -> None:
        self.paint(distance - OUTLINE_WIDTH, torch.tensor(OUTLINE))
        self.paint(distance, colour)


def render(puppets: Tensor, size: int = 64) -> Tensor:
    """Pictures `(n, 3, size, size)` in 0..1 of puppets `(n, len(NUMBERS))`."""
    canvas = _Canvas(puppets[:, BACK], size)
    body, skin, dark = puppets[:, BODY], torch.tensor(SKIN), torch.tensor(OUTLINE)
    scale = _number(puppets, "size")[:, None, None]
    at = joints(puppets)

    def limb(root: int, middle: int, end: int, radius: float, tip: Tensor) -> None:
        upper = _segment(canvas, at[:, root], at[:, middle])
        lower = _segment(canvas, at[:, middle], at[:, end])
        canvas.outlined(torch.minimum(upper, lower) - radius * scale, body)
        canvas.outlined(_disc(canvas, at[:, end]) - 1.15 * radius * scale, tip)

    for leg in ((8, 9, 10), (11, 12, 13)):
        limb(*leg, radius=0.030, tip=dark)
    pelvis, chest = at[:, [8, 11]].mean(1), at[:, 1]
    canvas.outlined(_segment(canvas, pelvis, chest.lerp(pelvis, 0.18)) - 0.068 * scale, body)
    for arm in ((2, 3, 4), (5, 6, 7)):
        limb(*arm, radius=0.026, tip=skin)
    up = (chest - pelvis) / (chest - pelvis).norm(dim=-1, keepdim=True)
    head, face_side, face_up = _head(puppets, chest, up)
    canvas.outlined(_disc(canvas, head) - 0.095 * scale, skin)
    for eye in (14, 15):
        canvas.paint(_disc(canvas, at[:, eye]) - 0.022 * scale, dark)
    _paint_hat(canvas, puppets, head, face_side, face_up)
    return canvas.pixels.clamp(0, 1)


def _paint_hat(canvas: _Canvas, puppets: Tensor, head: Tensor, side: Tensor, up: Tensor) -> None:
    """A brim and a crown; both grow out of nothing as the hat number leaves 0."""
    hat, size = puppets[:, HAT], _number(puppets, "size")
    presence = (6 * hat).clamp(0, 1)
    base = head + up * (0.068 * size)[:, None]
    half = side * (0.110 * size * presence)[:, None]
    canvas.paint(
        _segment(canvas, base - half, base + half) - 0.013, torch.tensor(OUTLINE), presence
    )
    middle = base + up * (0.075 * size * hat)[:, None]
    across = _along(canvas, middle, side).abs() - (0.070 * size * presence)[:, None, None]
    along = _along(canvas, middle, up).abs() - (0.075 * size * hat)[:, None, None]
    canvas.paint(torch.maximum(across, along), torch.tensor(OUTLINE), presence)


def colour_words(colours: Tensor) -> list[str]:
    """The nearest word of `COLOURS` for each row of `(n, 3)`."""
    names, palette = list(COLOURS), torch.tensor(list(COLOURS.values()))
    return [names[i] for i in torch.cdist(colours.float(), palette).argmin(1).tolist()]


def _nearest(values: Tensor, words: dict[str, float]) -> list[str]:
    names, anchors = list(words), torch.tensor(list(words.values()))
    return [names[i] for i in (values[:, None] - anchors).abs().argmin(1).tolist()]


def hat_words(puppets: Tensor) -> list[str]:
    """The nearest word of `HATS` for each puppet."""
    return _nearest(puppets[:, HAT], HATS)


def arm_words(puppets: Tensor) -> list[str]:
    """The nearest word of `ARMS` for the mean of both upper arms."""
    mean = (_number(puppets, "right_shoulder") + _number(puppets, "left_shoulder")) / 2
    return _nearest(mean, ARMS)


def caption(
    body: str, hat: str | None = None, arms: str | None = None, back: str | None = None
) -> str:
    """The caption grammar: `a red puppet with a cap, arms up, on a blue background`.

    Parts may be left out.
    """

    def article(word: str) -> str:
        return f"an {word}" if word[0] in "aeiou" else f"a {word}"

    parts = [f"{article(body)} puppet"]
    parts += [f"with {hat}"] if hat else []
    parts += [f", arms {arms}"] if arms else []
    parts += [f", on {article(back)} background"] if back else []
    return " ".join(parts).replace(" ,", ",")


def captions(puppets: Tensor) -> list[str]:
    """The full caption of each puppet."""
    words = zip(
        colour_words(puppets[:, BODY]),
        hat_words(puppets),
        arm_words(puppets),
        colour_words(puppets[:, BACK]),
        strict=True,
    )
    return [caption(*row) for row in words]
