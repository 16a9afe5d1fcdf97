"""The options of making frames and of learning prompts, each written once (`options.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .options import Record, option

Blend = Literal["slerp", "lerp", "exact"]
Curve = Literal["linear", "convex", "concave"]
Motion = Literal["swing", "straight"]
People = Literal["largest", "all"]
Pairing = Literal["left to right", "distance"]
Fit = Literal["cover", "contain", "stretch"]
BLENDS: tuple[str, ...] = get_args(Blend)
CURVES: tuple[str, ...] = get_args(Curve)
MOTIONS: tuple[str, ...] = get_args(Motion)
PEOPLE: tuple[str, ...] = get_args(People)
PAIRINGS: tuple[str, ...] = get_args(Pairing)
FITS: tuple[str, ...] = get_args(Fit)

MAX_SEED = 2**63 - 1
_EXPONENTS = {"linear": 1.0, "convex": 2.0, "concave": 0.5}


@dataclass(frozen=True)
class SamplingSettings(Record):
    """How the model denoises a frame."""

    steps: int = option(
        20,
        "Number of steps of the whole schedule. A frame takes those that lie below its denoise: "
        "with Stable Diffusion, about half of them at 0.5. More steps give finer detail and take "
        "longer.",
        min=2,
        max=1000,
    )
    cfg: float = option(
        7.5,
        "How strongly the prompt shapes the picture. Higher values follow the prompt more closely. "
        "At 1 the negative prompt is not used, and every step is twice as fast.",
        min=1.0,
        max=100.0,
        step=0.1,
        round=0.01,
    )


@dataclass(frozen=True)
class FrameSettings(Record):
    """How the frames of a path are made.

    `max_denoise` and `min_denoise` are the denoise of the first depth and of the last one, and
    `denoise_curve` is how it falls in between (method, step 4). Similarity to the neighbours and
    the scorer's number are both counted in standard deviations of the frame's candidates
    (`ranking.py`). Candidates of very few steps are finished before they are ranked
    (`steps_before_ranking`).
    """

    seed: int = option(
        0,
        "The same seed gives the same frames. Another seed gives other frames.",
        min=0,
        max=MAX_SEED,
        new_each_run=True,
    )
    candidates: int = option(
        4,
        "Number of candidates for the frame half-way, from which the best is chosen. The frames at "
        "the quarters get one candidate fewer, those at the eighths one fewer again, and so on, "
        "but at least 3. With 1 or 2, every frame has that many. More candidates give a better "
        "choice and take longer. Without a reranker, the best is the one that is most like its two "
        "neighbours.",
        min=1,
        max=64,
    )
    max_denoise: float = option(
        0.55,
        "How much noise the frame half-way gets, from 0 to 1. A value means the same amount of "
        "noise in every model: as much as the denoise of KSampler gives with Stable Diffusion 1.5. "
        "Higher values let the model invent more. Above 0.65 the frame drifts away from the "
        "keyframes.",
        min=0.01,
        max=1.0,
        step=0.01,
    )
    min_denoise: float = option(
        0.30,
        "How much noise the frames get that are made last. Frames in between get values in "
        "between. Lower values keep frames closer to their neighbours. Under 0.25 they look like a "
        "cross-fade, unless Match Keyframes is connected.",
        min=0.01,
        max=1.0,
        step=0.01,
    )
    denoise_curve: Curve = option(
        "linear",
        "How the denoise falls from the frame half-way to the last frames. linear falls evenly, "
        "convex falls mostly at the start, and concave falls mostly at the end.",
        advanced=True,
    )
    min_steps: int = option(
        2,
        "Least number of steps that a frame takes. If its denoise leaves fewer, smaller steps are "
        "taken. Raise it if frames at a low denoise look rough. Few-step models, such as Turbo and "
        "Lightning, do well with 2.",
        min=1,
        max=1000,
        advanced=True,
    )
    blend: Blend = option(
        "lerp",
        "How two noisy neighbours are mixed. The frames differ little, so lerp can stay. Every way "
        "weakens what differs between the two, lerp the most. lerp keeps the strength of the noise "
        "and of what both neighbours share, such as a common colour. slerp, the paper's choice, "
        "makes the noise and what they share stronger. exact makes only what they share stronger.",
        advanced=True,
    )
    smoothness_weight: float = option(
        4.0,
        "Weight of similarity to the two finished frames between which a frame is made, when its "
        "candidates are ranked. With a reranker, higher values give a smoother path, and 0 ranks "
        "by its prompt alone, as in the paper. Without a reranker, every value above 0 ranks by "
        "similarity alone, and at 0 each frame has one candidate. Similarity and prompt are both "
        "divided by their spread over the frame's candidates, so a value has the same effect with "
        "every CLIP.",
        min=0.0,
        max=100.0,
        step=0.1,
        advanced=True,
    )
    rank_fraction: float = option(
        0.5,
        "After which fraction of a frame's steps its candidates are ranked. The ranking uses the "
        "denoised prediction (x0), and then only the best candidate is finished. Lower values are "
        "faster, but the prediction is less clear. At 1 all candidates are finished before the "
        "ranking, as in the paper, which takes longer.",
        min=0.05,
        max=1.0,
        step=0.05,
        advanced=True,
    )
    match_colors: bool = option(
        True,
        "Whether things keep to the colours between those that they have in the two keyframes. It "
        "has an effect only where keyframes are matched, by Match Keyframes or by --match. "
        "Without it, every frame has the colours that the model gave it.",
        advanced=True,
    )
    min_candidates: int = 3

    def fault(self) -> str:
        if self.min_denoise <= self.max_denoise:
            return ""
        return (
            f"min_denoise: got {self.min_denoise}, needs max_denoise ({self.max_denoise}) or less"
        )

    def denoise(self, depth: int, depths: int) -> float:
        """Return the denoise of `depth`, from `max_denoise` at 1 to `min_denoise` at `depths`.

        It is `min_denoise + (max_denoise - min_denoise) x^p` with `x` from 1 down to 0 and `p` of 1
        (linear), 2 (convex) or 1/2 (concave) (method, step 4).
        """
        place = 1.0 if depths == 1 else (depths - depth) / (depths - 1)
        height = place ** _EXPONENTS[self.denoise_curve]
        return self.min_denoise + (self.max_denoise - self.min_denoise) * height

    def count(self, depth: int) -> int:
        """Return the number of candidates at a depth: one fewer each depth (method, step 6).

        It is never under `min_candidates`, where the first depth has so many.
        """
        fewest = min(self.min_candidates, self.candidates)
        return max(self.candidates - (depth - 1), fewest)


PAPER = FrameSettings(blend="slerp", candidates=8, smoothness_weight=0.0, rank_fraction=1.0)
"""The settings of the paper."""


@dataclass(frozen=True)
class PoseSettings(Record):
    """How poses guide the frames, where there is a ControlNet for them.

    (Method, step 3.)
    """

    strength_at_keyframes: float = option(
        1.0,
        "Strength of the ControlNet at a keyframe. From there it changes evenly to "
        "strength_half_way and back. Higher values hold people to the pose more strictly.",
        min=0.0,
        max=10.0,
        step=0.05,
        advanced=True,
    )
    strength_half_way: float = option(
        1.5,
        "Strength of the ControlNet for the frame half-way between two keyframes. Higher values "
        "hold people to the pose more strictly.",
        min=0.0,
        max=10.0,
        step=0.05,
        advanced=True,
    )
    pose_motion: Motion = option(
        "swing",
        "How joints move between two poses. swing turns arms and legs about their joints, and "
        "changes their length evenly from one pose to the other. straight moves every joint on a "
        "straight line, as in the paper, so that limbs can shrink half-way.",
        advanced=True,
    )


@dataclass(frozen=True)
class InversionSettings(Record):
    """How a prompt is learned from the pictures (textual inversion).

    (Method, step 2.) The learned negative prompt fits only the guidance scale `cfg`. With `guided`
    the loss is that of the guided prediction, as in the authors' code; without it, the loss is that
    of the plain prediction, as in the paper's text. Each step draws the denoise evenly from
    `min_denoise` to `max_denoise`. `hold_norms` keeps the norm of every token, so that only
    directions are learned.
    """

    steps: int = option(
        100,
        "Number of learning steps; 100 to 500 are usual. More steps bring the pictures back more "
        "closely and take longer. At 0 nothing is learned, and every keyframe gets a copy of the "
        "prompt.",
        min=0,
        max=10000,
    )
    learning_rate: float = option(
        1e-4,
        "Size of each learning step. If it is too high, the loss curve rises. If it is too low, "
        "the curve stays flat. The demo's puppets need 0.25.",
        min=1e-7,
        max=1.0,
        step=1e-5,
        round=1e-8,
    )
    cfg: float = option(
        7.5,
        "How strongly the prompt shapes the picture. Use the same cfg for sampling, because the "
        "learned prompts fit only this cfg. At 1 the negative prompt is not used, and every step "
        "is twice as fast.",
        min=1.0,
        max=100.0,
        step=0.1,
        round=0.01,
    )
    seed: int = option(
        0,
        "The same seed gives the same learned prompts. Another seed gives prompts that differ in "
        "details.",
        min=0,
        max=MAX_SEED,
        # another one would mean to learn again
        new_each_run=False,
    )
    min_denoise: float = option(
        0.33,
        "Lowest denoise at which the prompts are learned. Lower values teach finer detail.",
        min=0.01,
        max=1.0,
        step=0.01,
        advanced=True,
    )
    max_denoise: float = option(
        0.67,
        "Highest denoise at which the prompts are learned. Higher values teach layout and colours.",
        min=0.01,
        max=1.0,
        step=0.01,
        advanced=True,
    )
    draws: int = option(
        1,
        "How many times noise is drawn for each keyframe in a learning step, each time at another "
        "level between the two values of denoise. With higher values the loss falls more evenly, "
        "and each step takes that many times as long.",
        min=1,
        max=64,
        advanced=True,
    )
    augmentations: int = option(
        16,
        "Number of copies of each keyframe, altered in colour and crop. Each draw takes the "
        "keyframe or one of its copies at random, so more copies do not make a step slower. With "
        "copies, the prompt learns the subject rather than every speck of the picture.",
        min=0,
        max=256,
        advanced=True,
    )
    guided: bool = True
    hold_norms: bool = True
    evaluate_every: int = 10

    def fault(self) -> str:
        return range_fault(self.min_denoise, self.max_denoise)


def range_fault(low: float, high: float) -> str:
    """What is wrong with a range of denoise from `low` to `high`."""
    if low < high:
        return ""
    return f"min_denoise: got {low}, needs less than max_denoise ({high})"
