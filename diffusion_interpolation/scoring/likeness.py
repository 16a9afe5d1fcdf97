"""Ranks candidates by nothing but their likeness to both neighbours, where there is no reranker."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..models.contract import Codec
from ..settings import FrameSettings
from .contract import EmbeddingScorer


def likeness_scorer(codec: Codec) -> EmbeddingScorer:
    """Return a scorer to which all pictures are equally good, so that only similarity counts.

    Its embeddings are the latents that `codec` makes of pictures. The latents that a network has
    made do not do in their place: two of them may differ much and show the same.
    """

    def embed(pictures: Tensor) -> Tensor:
        return F.normalize(codec.encode(pictures).flatten(1).float(), dim=1)

    return EmbeddingScorer(embed, lambda seen: seen.new_zeros(len(seen)))


def likeness(settings: FrameSettings, codec: Codec) -> EmbeddingScorer | None:
    """Return what ranks candidates without a reranker; None where similarity has no weight."""
    return likeness_scorer(codec) if settings.smoothness_weight else None
