"""Scorers, which rank pictures, and image encoders, which compare them.

A scorer needs no encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


class Scorer(Protocol):
    """Gives each picture one number. A higher number is better.

    Any function is a scorer, such as an aesthetic predictor. A scorer may have an attribute
    `encoder`, an `ImageEncoder`. Then similarity to the neighbours counts, too, and the candidate
    with the highest number need not win. If it also has `rank`, that gets the encoder's embeddings
    and the scorer is not called, so that the encoder runs once.
    """

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the numbers `(n,)` of pictures `(n, 3, h, w)` in 0..1."""


class ImageEncoder(Protocol):
    """Maps pictures to vectors whose cosines say how alike the pictures are."""

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the unit embeddings `(n, width)` of pictures `(n, 3, h, w)` in 0..1."""


@dataclass(frozen=True)
class EmbeddingScorer:
    """A scorer that embeds pictures with `encoder` and ranks the embeddings with `rank`.

    Other code may use `encoder`, too, so that it runs only once. `rank` maps unit embeddings
    `(n, width)` to numbers `(n,)`. `depends_on` holds objects that the encoder uses and that may
    change in place; `fingerprint`, and with it the caches, takes their state into account.
    """

    encoder: ImageEncoder
    rank: Callable[[Tensor], Tensor]
    depends_on: Any = None

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the numbers `(n,)` of pictures."""
        return self.rank(self.encoder(pictures))


def encoder_of(scorer: Scorer) -> ImageEncoder | None:
    """Return the image encoder that a scorer has, or None."""
    return getattr(scorer, "encoder", None)


def judge(scorer: Scorer, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the numbers `(n,)` of pictures, and their embeddings if the scorer has an encoder.

    If the scorer has `rank`, it ranks these embeddings, so that the encoder runs once. Otherwise
    the scorer sees the pictures itself.
    """
    encoder = encoder_of(scorer)
    if encoder is None:
        return scorer(pictures), None
    embeddings = encoder(pictures)
    rank = getattr(scorer, "rank", None)
    return (scorer(pictures) if rank is None else rank(embeddings)), embeddings
