"""The options of learning a LoRA for each keyframe, each written once (`options.py`)."""

from __future__ import annotations

from dataclasses import dataclass

from .options import Record, option
from .settings import MAX_SEED, range_fault


@dataclass(frozen=True)
class LoraSettings(Record):
    """How a LoRA is learned for each keyframe (`method/learning/identity.py`).

    Rank and number of steps are DiffMorpher's. Each step draws the denoise evenly from
    `min_denoise` to `max_denoise`.
    """

    steps: int = option(
        200,
        "Number of learning steps. More steps bring the pictures back more closely and take "
        "longer. Too many fix the pictures so firmly that frames fade from one to the other.",
        min=1,
        max=10000,
    )
    learning_rate: float = option(
        5e-4,
        "Size of each learning step. If it is too high, the loss curve rises, and frames get "
        "stains.",
        min=1e-7,
        max=0.1,
        step=1e-5,
        round=1e-8,
    )
    rank: int = option(
        16,
        "How much a LoRA can hold. A higher rank takes more memory.",
        min=1,
        max=128,
    )
    seed: int = option(
        0,
        "The same seed gives the same LoRAs.",
        min=0,
        max=MAX_SEED,
        # another one would mean to learn again
        new_each_run=False,
    )
    min_denoise: float = option(
        0.02,
        "Lowest denoise at which the LoRAs are learned. Lower values teach finer detail.",
        min=0.01,
        max=1.0,
        step=0.01,
        advanced=True,
    )
    max_denoise: float = option(
        1.0,
        "Highest denoise at which the LoRAs are learned. Higher values teach layout and colours.",
        min=0.01,
        max=1.0,
        step=0.01,
        advanced=True,
    )
    evaluate_every: int = 10

    def fault(self) -> str:
        return range_fault(self.min_denoise, self.max_denoise)
