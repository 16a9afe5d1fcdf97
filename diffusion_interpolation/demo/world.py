"""The puppet world: pictures whose every number is known, so that in-betweens have a truth.

A puppet is a row of `NUMBERS`; the straight line between two rows is the true way from one picture
to the other. All functions are batched and work on the device of the puppets. Lengths are in
picture heights, y downward; angles in radians; colours are RGB in 0..1.
"""

from __future__ import annotations

from .drawing import render
from .numbers import (
    ARMS,
    BACK,
    BODY,
    COLOURS,
    HAT,
    HATS,
    INDEX,
    LEGS,
    LOOKS,
    NUMBERS,
    OUTLINE,
    POSE_RANGES,
    SCENE,
    SCENES,
    SKIN,
    sample,
)
from .skeleton import joints, poses
from .words import (
    arm_words,
    caption,
    captions,
    colour_words,
    hat_words,
    scene_words,
    word_places,
)

__all__ = [
    "ARMS",
    "BACK",
    "BODY",
    "COLOURS",
    "HAT",
    "HATS",
    "INDEX",
    "LEGS",
    "LOOKS",
    "NUMBERS",
    "OUTLINE",
    "POSE_RANGES",
    "SCENE",
    "SCENES",
    "SKIN",
    "arm_words",
    "caption",
    "captions",
    "colour_words",
    "hat_words",
    "joints",
    "poses",
    "render",
    "sample",
    "scene_words",
    "word_places",
]
