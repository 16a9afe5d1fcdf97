"""POSE_KEYPOINT: poses as other programs write them are read, and ours are written for them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..pictures import Placement
from .pose import Pose

log = logging.getLogger(__name__)

SCORES_KEY = "pose_keypoint_scores"
PAIRED_KEY = "people_paired"
"""True in every picture's dict where the people of all pictures stand in the same order."""
LOWEST_SCORE = 0.3
"""SDPose and DWPose score every joint, found or not, and draw none that scores less than this."""
FARTHEST_FRACTION = 2.0
"""Coordinates are fractions of the canvas if most joints have none larger than this: a person
whose joints are in pixels is larger than two of them."""
SAME_SHAPE = 0.02
"""Canvas and picture may differ by this part in the ratio of their sides, without a warning."""

_HIDDEN_PARTS = {
    "face_keypoints_2d": 70,
    "hand_left_keypoints_2d": 21,
    "hand_right_keypoints_2d": 21,
}
# For each of the 18 joints its place among the joints that are given.
_LAYOUTS: dict[int, list[int]] = {
    18: list(range(18)),
    25: [*range(8), *range(9, 19)],  # BODY_25 has the middle of the hips as number 8, and feet
}
_OTHER_LAYOUTS = {
    51: " (the 17 joints of COCO)",
    36: " (18 joints without c)",
    399: " (133 joints of the whole body)",
    402: " (134 joints of the whole body)",
}


class PosePicture(NamedTuple):
    """The people of one picture, in pixels of its canvas of `size` (height, width).

    A picture without people may come without a canvas.
    """

    people: list[Pose]
    size: tuple[int, int] | None

    def on(self, size: tuple[int, int], number: int = 0) -> list[Pose]:
        """Return the people in pixels of a picture of `size` (height, width).

        The canvas covers the picture around its middle and is never stretched, as ComfyUI fits
        pictures and hints of another shape. Where the two shapes differ, a warning names the
        `number` of the picture (from 0) and both sizes.
        """
        if not self.people or self.size is None:
            return []
        (height, width), (wanted_height, wanted_width) = self.size, size
        ratio = width * wanted_height / (height * wanted_width)
        if abs(math.log(ratio)) > SAME_SHAPE:
            text = (
                "poses: the canvas of picture %d (from 0) is %d x %d pixels, but the picture has "
                "the shape of %d x %d; the canvas is centred and cropped, not stretched"
            )
            log.warning(text, number, width, height, wanted_width, wanted_height)
        placement = Placement.of((width, height), (wanted_width, wanted_height), "cover")
        return [pose.scaled(*placement) for pose in self.people]


def read_poses(
    data: Any, size: tuple[int, int] | None = None
) -> tuple[list[list[Pose]], tuple[int, int]]:
    """Return the people of each picture in pixels of `size` (height, width), and that size.

    Without `size` it is that of the first canvas. `data` and errors are those of `read_pictures`;
    canvases of another size are fitted as `PosePicture.on` does.
    """
    pictures = read_pictures(data)
    wanted = size or next((picture.size for picture in pictures if picture.size), None)
    if wanted is None:
        raise ValueError("poses: got nobody in any picture, needs at least one person")
    return [picture.on(wanted, number) for number, picture in enumerate(pictures)], wanted


def read_pictures(data: Any) -> list[PosePicture]:
    """Return the people of each picture of POSE_KEYPOINT, on the canvases that `data` names.

    `data` is a list of one dict a picture, or one such dict, as comfyui_controlnet_aux and
    ComfyUI's SDPose nodes make them; None or an empty list in place of a dict is a picture
    without people. A person has OpenPose's 18 joints, or its 25 (BODY_25), of which 18 are kept.

    - A joint is missing if it is null or its confidence is 0, or under `LOWEST_SCORE` where
      confidences are not only 0 and 1. People without joints are left out.
    - Coordinates are fractions of the canvas, or pixels, as most joints of the picture say.

    Raises `ValueError` for anything else, and for animals.
    """
    pictures = [_read_picture(entry, f"pose {i}") for i, entry in enumerate(pose_entries(data))]
    if not pictures:
        raise ValueError("poses: got none, needs at least one picture's")
    return pictures


def load_poses(paths: Sequence[str | Path]) -> tuple[list[list[Pose]], tuple[int, int]]:
    """As `read_poses`, from the files of `pose_file`, put in a row."""
    return read_poses([entry for path in paths for entry in pose_file(path)])


def pose_file(path: str | Path) -> list[Any]:
    """The POSE_KEYPOINT of a JSON file of one dict or a list of dicts, which `read_poses` takes.

    Raises `ValueError` that names the file, and the line if it is not JSON.
    """
    try:
        entries = pose_entries(json.loads(Path(path).read_text(encoding="utf-8-sig")))
        read_pictures(entries)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not a JSON file ({error.msg})") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return entries


def pose_entries(data: Any) -> list[Any]:
    """POSE_KEYPOINT as a list of an entry a picture, of one picture, too."""
    entries = [data] if isinstance(data, Mapping) else data
    if not isinstance(entries, list | tuple):
        raise ValueError(
            f"poses: got {type(data).__name__}, needs POSE_KEYPOINT (a list of one dict a picture)"
        )
    return list(entries)


def are_paired(data: Any) -> bool:
    """Whether POSE_KEYPOINT says that its people stand in the same order in every picture."""
    entries = pose_entries(data)
    return all(isinstance(entry, Mapping) and entry.get(PAIRED_KEY) is True for entry in entries)


def _is_nothing(value: Any) -> bool:
    """Whether it is null or an empty list, which stand for nobody."""
    return value is None or (isinstance(value, list | tuple) and not value)


def _read_picture(entry: Any, name: str) -> PosePicture:
    if _is_nothing(entry):
        return PosePicture([], None)
    if not isinstance(entry, Mapping):
        raise ValueError(f"{name}: got {type(entry).__name__}, needs a dict with 'people'")
    if "people" not in entry:
        if "animals" in entry:
            raise ValueError(f"{name}: got an animal pose (AP-10K), needs people (OpenPose-18)")
        raise ValueError(f"{name}: got no 'people' (keys: {', '.join(map(str, entry))})")
    height, width = (_canvas_side(entry, side, name) for side in ("height", "width"))
    people = entry["people"] or []
    if not isinstance(people, list | tuple):
        raise ValueError(f"{name}, 'people': got {type(people).__name__}, needs a list")
    poses = [_read_person(person, f"{name}, person {i}") for i, person in enumerate(people)]
    poses = [pose for pose in poses if pose is not None]
    if poses and _are_fractions(poses):
        poses = [pose.scaled(width, height) for pose in poses]
    return PosePicture(poses, (height, width))


def _canvas_side(entry: Mapping, side: str, name: str) -> int:
    value = entry.get(f"canvas_{side}")
    if not isinstance(value, Real) or not math.isfinite(value) or value < 1:
        raise ValueError(f"{name}, 'canvas_{side}': got {value!r}, needs a number of pixels")
    return int(value)


def _are_fractions(people: Sequence[Pose]) -> bool:
    """Whether most joints are in fractions of the canvas; detectors place some outside of it."""
    points = torch.cat([pose.points[pose.present] for pose in people])
    return points.abs().amax(dim=1).quantile(0.5).item() <= FARTHEST_FRACTION


def _read_person(person: Any, name: str) -> Pose | None:
    """The pose in the entry's own units, or None for a person without joints."""
    if _is_nothing(person):
        return None
    if not isinstance(person, Mapping):
        raise ValueError(f"{name}: got {type(person).__name__}, needs a dict")
    body = person.get("pose_keypoints_2d")
    if _is_nothing(body):
        return None
    joints = _joints(body, f"{name}, 'pose_keypoints_2d'")
    points, scores = joints[:, :2], _sure_scores(joints[:, 2])
    if person.get(SCORES_KEY) is not None:
        real = _scores(person[SCORES_KEY], len(joints), f"{name}, {SCORES_KEY!r}")
        scores = torch.where((scores > 0) & (real > 0), real, scores)
    layout = _LAYOUTS[len(joints)]
    points, scores = points[layout], scores[layout]
    points = torch.where(scores[:, None] > 0, points, 0.0)
    return Pose(points, scores) if (scores > 0).any() else None


def _sure_scores(scores: Tensor) -> Tensor:
    """Confidences with 0 for joints that are missing."""
    scores = scores.clamp_min(0)
    if ((scores == 0) | (scores == 1)).all():
        return scores
    return torch.where(scores >= LOWEST_SCORE, scores, 0.0)


def _joints(values: Any, name: str) -> Tensor:
    """`values` as x, y, c of each joint, `(18 or 25, 3)`, with zeros for null joints."""
    try:
        if any(isinstance(value, list | tuple) for value in values):
            # a list of triples, of which a null one is a joint, not a number
            values = [n for value in values for n in ([None] * 3 if value is None else value)]
        numbers = [math.nan if value is None else float(value) for value in values]
        given = [value is not None for value in values]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: got {values!r:.60}, needs a list of numbers") from error
    if len(numbers) not in [3 * count for count in _LAYOUTS]:
        known = _OTHER_LAYOUTS.get(len(numbers), "")
        raise ValueError(
            f"{name}: got {len(numbers)} values{known}, needs 54 (OpenPose's 18 joints of x, y, c) "
            "or 75 (its 25, BODY_25)"
        )
    joints = torch.tensor(numbers, dtype=torch.float32).reshape(-1, 3)
    whole = torch.tensor(given).reshape(-1, 3).all(dim=1)
    there = whole & ~(joints[:, 2] <= 0)
    joints = torch.where(there[:, None], joints, 0.0)
    if not joints.isfinite().all():
        raise ValueError(f"{name}: got NaN or infinite values, needs finite ones")
    return joints


def _scores(values: Any, count: int, name: str) -> Tensor:
    """`values` as `count` scores, one a joint."""
    try:
        scores = torch.tensor([float(value or 0) for value in values], dtype=torch.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: got {values!r:.60}, needs a list of numbers") from error
    if len(scores) != count:
        raise ValueError(f"{name}: got {len(scores)} values, needs {count} (one a joint)")
    if not scores.isfinite().all():
        raise ValueError(f"{name}: got NaN or infinite values, needs finite ones")
    return scores


def write_poses(
    people_per_image: Sequence[Sequence[Pose]], size: tuple[int, int], paired: bool = False
) -> list[dict]:
    """POSE_KEYPOINT of people in pixels of a canvas `size` (height, width).

    Written for all its readers: some take a confidence under 1 as missing, others need face and
    hands. So confidences are 0.0 or 1.0, face and hands are zeros, and the scores are under a key
    of their own, as is whether the people are `paired`.
    """
    height, width = size
    return [
        {
            "people": [_write_person(pose) for pose in people],
            "canvas_height": height,
            "canvas_width": width,
            PAIRED_KEY: paired,
        }
        for people in people_per_image
    ]


def _write_person(pose: Pose) -> dict:
    there = pose.present[:, None]
    triples = torch.cat([torch.where(there, pose.points, 0.0), there.to(pose.points.dtype)], dim=1)
    person: dict = {"pose_keypoints_2d": triples.flatten().tolist()}
    person |= {part: [0.0] * (3 * count) for part, count in _HIDDEN_PARTS.items()}
    return person | {SCORES_KEY: pose.scores.tolist()}
