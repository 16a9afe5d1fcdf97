"""Ranks candidates by their likeness to both neighbours alone, in the latents of an autoencoder."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

from .contract import EmbeddingScorer


class Encodes(Protocol):
    """The half of a `Codec` that is needed."""

    def encode(self, pictures: Tensor) -> Tensor:
        """Return the latents `(n, c, h', w')` of pictures `(n, 3, h, w)` in 0..1."""


def likeness_scorer(codec: Encodes) -> EmbeddingScorer:
    """Return a scorer whose embeddings are latents, and to which all pictures are equally good.

    Only the similarity to the neighbours is left then to rank candidates by.
    """
    return EmbeddingScorer(
        lambda pictures: F.normalize(codec.encode(pictures).flatten(1).float(), dim=1),
        lambda seen: seen.new_zeros(len(seen)),
        codec,
    )
