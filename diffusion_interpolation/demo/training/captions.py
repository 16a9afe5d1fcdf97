"""All captions of the world by number, so that training looks them up where its tensors lie."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from .. import world

FLAWS = ("a blurry picture", "a double exposure", "a noisy picture")
# in the order of `world.caption` and `world.word_places`; a part that is left out is None
PARTS: tuple[tuple[str | None, ...], ...] = tuple(
    (None, *words)
    for words in (
        world.COLOURS,
        world.HATS,
        world.ARMS,
        world.COLOURS,
        world.COLOURS,
        world.SCENES,
    )
)
KEPT = (0.95, 0.9, 0.5, 0.9, 0.75, 0.65)  # how often people name each part
EMPTY = 0
FIRST_FLAW = 1
FIRST_PUPPET = FIRST_FLAW + len(FLAWS)


def all_captions() -> Iterator[str]:
    """Every caption; its place is its number."""
    yield ""
    yield from FLAWS
    for words in product(*PARTS):
        yield world.caption(*words)


def loose_numbers(puppets: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers `(n,)` of captions with parts left out at random, as people write them."""
    kept = torch.tensor(KEPT, device=puppets.device)
    drawn = torch.rand(len(puppets), len(KEPT), generator=generator, device=puppets.device)
    places = (world.word_places(puppets) + 1) * (drawn < kept)
    number = torch.zeros_like(places[:, 0])
    for column, part in enumerate(PARTS):
        number = number * len(part) + places[:, column]
    return FIRST_PUPPET + number


def text_lengths(ids: Tensor, end: int) -> Tensor:
    """How many tokens `(n,)` of `ids` `(n, tokens)` there are up to the first `end`."""
    return (ids == end).int().argmax(1) + 1
