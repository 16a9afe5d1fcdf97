"""Ranks the candidates of one frame by prompt and neighbour similarity (method, step 6).

How far the cosines of candidates spread differs from CLIP to CLIP. Each term is therefore counted
in standard deviations of the frame's own candidates, so that a weight means the same with any CLIP.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import NamedTuple

ROUNDING = 1e-6
"""Lowest standard deviation that is used; rounding alone moves a cosine by about as much."""


class Terms(NamedTuple):
    """The two numbers that rank a candidate; both are higher for a better candidate.

    `prompt` is the scorer's number. `similarity` is the mean of the two cosines between the
    scorer's embedding of the candidate and its embeddings of the neighbouring frames.
    """

    prompt: float
    similarity: float


def standardised(values: Sequence[float]) -> list[float]:
    """Return how many standard deviations each value lies above the mean; 0 if all are equal."""
    mean, spread = fmean(values), max(pstdev(values), ROUNDING)
    return [(value - mean) / spread for value in values]


def ranked(candidates: Sequence[Terms], weight: float) -> list[float]:
    """Return a score for each of the candidates of one frame; the highest is the best.

    The score is the standardised prompt term plus `weight` times the standardised similarity.
    """
    prompts = standardised([terms.prompt for terms in candidates])
    similarities = standardised([terms.similarity for terms in candidates])
    return [a + weight * b for a, b in zip(prompts, similarities, strict=True)]


def best(first: int, scores: Sequence[float]) -> int:
    """Return the number of the candidate with the highest score; the lowest number wins a tie.

    `first` is the number of the first candidate. `scores` is empty if there is only one.
    """
    return first + (scores.index(max(scores)) if scores else 0)
