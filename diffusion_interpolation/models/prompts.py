"""Prompts as models take them: embeddings, prompts of keyframes, and mixes of several prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..method.blend import slerp


@dataclass(frozen=True)
class PromptEmbeddings:
    """Conditioning of `n` rows, or of one row that serves any number of latents.

    Embeddings of tokens `(n, tokens, width)` and, for SDXL, pooled embeddings `(n, width)`.
    `extras` is what the model's own conditioning holds in addition; it goes with the rows, and the
    method does not read it.
    """

    embeddings: Tensor
    pooled: Tensor | None = None
    extras: Any = None

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def parts(self) -> tuple[PromptEmbeddings, ...]:
        """The conditioning itself, as the only part of a `KeyframePrompts`."""
        return (self,)

    def tensors(self) -> list[Tensor]:
        """The embeddings and, if there are any, the pooled embeddings."""
        return [self.embeddings] if self.pooled is None else [self.embeddings, self.pooled]

    def map(self, change: Callable[[Tensor], Tensor]) -> PromptEmbeddings:
        """Return the same conditioning with `change` applied to each of its tensors."""
        pooled = None if self.pooled is None else change(self.pooled)
        return replace(self, embeddings=change(self.embeddings), pooled=pooled)

    def map_extras(self, change: Callable[[Any], Any]) -> PromptEmbeddings:
        """Return the same conditioning with `change` applied to its extras."""
        return replace(self, extras=change(self.extras))

    def rows(self, index: Iterable[int]) -> PromptEmbeddings:
        """Return the rows of `index`; one row serves every index and stays one row."""
        if len(self) == 1:
            return self
        wanted = list(index)
        return self.map(lambda tensor: tensor[wanted])

    def repeated(self, count: int) -> PromptEmbeddings:
        """Return `count` rows, where one row comes `count` times."""
        return self.map(lambda tensor: tensor[[0] * count]) if len(self) == 1 else self

    def at(self, positions: Tensor) -> PromptEmbeddings:
        """A row for each position, on the great circle between the rows of two keyframes (step 5).

        `positions` are on the CPU, in float64, which not every device has. One row serves every
        position. Raises `ValueError` for a position outside of `[0, n - 1]`.
        """
        if len(self) == 1:
            return self
        check_positions(positions.tolist(), len(self))
        left = positions.floor().clamp(0, len(self) - 2).long()
        share, left = positions - left, left.tolist()
        right = [row + 1 for row in left]
        return self.map(lambda tensor: slerp(tensor[left], tensor[right], share))


@dataclass(frozen=True)
class KeyframePrompts:
    """Prompts of N keyframes between which embeddings cannot be interpolated everywhere.

    Each of `parts` has a row for each of the keyframes that it serves, and the parts follow one
    another. Within a part embeddings are interpolated. In the gap between two parts, which may
    differ in their numbers of tokens and in their extras, the predictions under both are mixed.
    """

    parts: tuple[PromptEmbeddings, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def map(self, change: Callable[[Tensor], Tensor]) -> KeyframePrompts:
        """Return the same prompts with `change` applied to each of their tensors."""
        return KeyframePrompts(tuple(part.map(change) for part in self.parts))

    def map_extras(self, change: Callable[[Any], Any]) -> KeyframePrompts:
        """Return the same prompts with `change` applied to the extras of each part."""
        return KeyframePrompts(tuple(part.map_extras(change) for part in self.parts))

    def tensors(self) -> list[Tensor]:
        """The tensors of all parts."""
        return [tensor for part in self.parts for tensor in part.tensors()]

    def starts(self) -> list[int]:
        """The first keyframe of each part."""
        return list(accumulate(map(len, self.parts[:-1]), initial=0))

    def at(self, positions: Tensor) -> PromptMix:
        """Return the mix of each position.

        The weight of a part falls to 0 over the gap on either side of it.

        `positions` are on the CPU, in float64. Raises `ValueError` for a position outside of
        `[0, N - 1]`.
        """
        check_positions(positions.tolist(), len(self))
        weights, rows = [], []
        for first, part in zip(self.starts(), self.parts, strict=True):
            inside = positions.clamp(first, first + len(part) - 1)
            rows.append(part.at(inside - first))
            weights.append((1 - (positions - inside).abs()).clamp(min=0).float())
        return PromptMix(tuple(rows), torch.stack(weights, dim=1))


@dataclass(frozen=True)
class PromptMix:
    """Prompts of `n` latents, under which predictions are mixed.

    Each of `parts` has `n` rows or one. `weights` `(n, parts)` are on the CPU; those of a row add
    up to 1.
    """

    parts: tuple[PromptEmbeddings, ...]
    weights: Tensor

    def __len__(self) -> int:
        return len(self.weights)

    def rows(self, index: Iterable[int]) -> PromptMix:
        """Return the mixes of some of the latents."""
        wanted = list(index)
        return PromptMix(tuple(part.rows(wanted) for part in self.parts), self.weights[wanted])

    def used(self) -> list[tuple[PromptEmbeddings, Tensor]]:
        """The parts that have a weight in any row, with their weights `(n,)`."""
        pairs = zip(self.parts, self.weights.unbind(1), strict=True)
        return [(part, weights) for part, weights in pairs if weights.any()]

    def groups(self) -> list[list[int]]:
        """The rows in groups that use the same parts."""
        groups: dict[tuple[bool, ...], list[int]] = {}
        for row, uses in enumerate((self.weights > 0).tolist()):
            groups.setdefault(tuple(uses), []).append(row)
        return list(groups.values())


Prompts = PromptEmbeddings | KeyframePrompts
"""Prompts of keyframes: one for all of them, or a row for each."""

AnyPrompts = TypeVar("AnyPrompts", PromptEmbeddings, KeyframePrompts)


def check_positions(positions: Sequence[float], rows: int) -> None:
    """Raise `ValueError` for a position, in keyframes, that lies outside of `rows` keyframes."""
    first, last = min(positions), max(positions)
    if not 0 <= first <= last <= rows - 1:
        raise ValueError(
            f"position: got {first:g} to {last:g}, needs 0 to {rows - 1}: there are {rows} rows"
        )


def can_stack(one: PromptEmbeddings, other: PromptEmbeddings) -> bool:
    """Whether two prompts have rows of the same shapes and the same `extras` object."""
    shapes = [[tensor.shape[1:] for tensor in text.tensors()] for text in (one, other)]
    return shapes[0] == shapes[1] and one.extras is other.extras


def by_part(prompts: Prompts, keyframes: Sequence[int]) -> list[list[int]]:
    """Return the places in `keyframes`, in groups of those whose prompts are of one part."""
    groups: dict[int, list[int]] = {}
    for place, keyframe in enumerate(keyframes):
        groups.setdefault(_located(prompts)[keyframe][0], []).append(place)
    return list(groups.values())


def of_keyframes(prompts: Prompts, keyframes: Sequence[int]) -> PromptEmbeddings:
    """Return a row for each of `keyframes`, whose prompts are of one part.

    If the part has one row, it stays one row.
    """
    located = _located(prompts)
    part, _ = located[keyframes[0]]
    return prompts.parts[part].rows([located[keyframe][1] for keyframe in keyframes])


def _located(prompts: Prompts) -> list[tuple[int, int]]:
    """The number of the part of each keyframe, and its row there."""
    numbered = enumerate(prompts.parts)
    return [(number, row) for number, part in numbered for row in range(len(part))]


def check_keyframes(prompts: Prompts, count: int) -> None:
    """Raise `ValueError` unless prompts have a row for each of `count` keyframes, or one row."""
    check_count(len(prompts), count)


def check_count(rows: int, count: int) -> None:
    """Raise `ValueError` unless `rows` prompts are one for each of `count` keyframes, or one."""
    if rows not in (1, count):
        raise ValueError(f"positive: got {rows} prompts for {count} keyframes, needs 1 or {count}")


def for_keyframes(prompts: Prompts, count: int) -> Prompts:
    """Return the prompts of `count` keyframes, with a row for each."""
    return prompts if len(prompts) == count else prompts.parts[0].repeated(count)


def stack(texts: Sequence[PromptEmbeddings]) -> PromptEmbeddings:
    """Return the rows of several conditionings, one after the other, with the extras of the first.

    All can be stacked (`can_stack`), but for their extras.
    """
    pooled = [text.pooled for text in texts if text.pooled is not None]
    return PromptEmbeddings(
        torch.cat([text.embeddings for text in texts]),
        torch.cat(pooled) if pooled else None,
        texts[0].extras,
    )


def move(text: AnyPrompts, like: Tensor) -> AnyPrompts:
    """Return `text` with its tensors on the device and in the dtype of `like`."""
    return text.map(lambda tensor: tensor.to(like))
