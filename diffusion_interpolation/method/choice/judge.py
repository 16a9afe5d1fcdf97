"""Judges candidates by a scorer, and by how similar they are to their neighbours (step 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...scoring.contract import Scorer, encoder_of, judge
from ..path import Slot
from .candidates import Frame
from .ranking import Terms
from .viewer import Viewer


@dataclass
class Finished:
    """Frames by number: their latents, and the embeddings of those that a scorer has seen."""

    latents: dict[int, Tensor]
    embeddings: dict[int, Tensor] = field(default_factory=dict)

    def add(self, frame: Frame) -> None:
        self.latents[frame.info.index] = frame.latent
        if frame.embedding is not None:
            self.embeddings[frame.info.index] = frame.embedding


@dataclass(frozen=True)
class Judge:
    """Looks at candidates with a scorer; `view` makes pictures of neighbours for it."""

    view: Viewer
    scorer: Scorer
    batch: int

    def terms(
        self, slots: Sequence[Slot], pictures: Tensor, finished: Finished
    ) -> tuple[list[Terms], Sequence[Tensor | None]]:
        """Return what ranks the candidates with `pictures` `(n, 3, h, w)`, and their embeddings.

        The similarity is there at any weight, so that another weight ranks the same candidates
        again. A scorer without an encoder gives no embeddings, and the similarity of all candidates
        is 0. Raises `FloatingPointError` for scores that are not finite.
        """
        scores, seen = judge(self.scorer, pictures)
        if seen is None:
            similarity, shown = torch.zeros_like(scores), [None] * len(pictures)
        else:
            similarity, shown = self._similarity(slots, seen, finished), seen.cpu()
        both = torch.stack([scores, similarity], 1)
        if not both.isfinite().all():
            raise FloatingPointError("reranker: it gave scores that are not finite")
        return [Terms(*numbers) for numbers in both.tolist()], shown

    def _similarity(self, slots: Sequence[Slot], seen: Tensor, finished: Finished) -> Tensor:
        """Return the mean cosine `(n,)` of embeddings with both neighbours', by their weights."""
        self._see([i for slot in slots for i in (slot.left, slot.right)], finished)
        left, right = (
            torch.stack([finished.embeddings[i] for i in side]).to(seen)
            for side in ([slot.left for slot in slots], [slot.right for slot in slots])
        )
        weights = torch.tensor([slot.weight for slot in slots]).to(seen)
        return (seen * left.lerp(right, weights[:, None])).sum(1)

    def _see(self, frames: Sequence[int], finished: Finished) -> None:
        """Embed those of `frames` that no scorer has seen: keyframes, frames of earlier runs."""
        unseen = sorted({i for i in frames if i not in finished.embeddings})
        for start in range(0, len(unseen), self.batch):
            part = unseen[start : start + self.batch]
            latents = torch.stack([finished.latents[i] for i in part])
            pictures = self.view(latents.to(self.view.model.device), part)
            finished.embeddings.update(zip(part, embeddings(self.scorer, pictures), strict=True))


def embeddings(scorer: Scorer, pictures: Tensor) -> Sequence[Tensor | None]:
    """Return the embeddings of pictures on the CPU, or None of each without an encoder."""
    encoder = encoder_of(scorer)
    return [None] * len(pictures) if encoder is None else encoder(pictures).cpu()
