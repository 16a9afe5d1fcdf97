"""The captions of puppets: which word each number is nearest to, and the grammar around them."""

from __future__ import annotations

import torch
from torch import Tensor

from .numbers import ARMS, BACK, BODY, COLOURS, HAT, HATS, LEGS, SCENE, SCENES, number


def nearest(values: Tensor, words: dict) -> Tensor:
    """Places `(n,)` in `words` of what each row of `values` `(n,)` or `(n, d)` is nearest to."""
    anchors = torch.tensor(list(words.values()), device=values.device)
    rows = values.float().reshape(len(values), -1)
    return (rows[:, None] - anchors.reshape(len(words), -1)).square().sum(-1).argmin(1)


def _named(places: Tensor, words: dict) -> list[str]:
    names = list(words)
    return [names[i] for i in places.tolist()]


def colour_words(colours: Tensor) -> list[str]:
    """The nearest word of `COLOURS` for each row of `(n, 3)`."""
    return _named(nearest(colours, COLOURS), COLOURS)


def arm_angles(puppets: Tensor) -> Tensor:
    """The mean angle `(n,)` of both upper arms."""
    return (number(puppets, "right_shoulder") + number(puppets, "left_shoulder")) / 2


def hat_words(puppets: Tensor) -> list[str]:
    """The nearest word of `HATS` for each puppet."""
    return _named(nearest(puppets[:, HAT], HATS), HATS)


def arm_words(puppets: Tensor) -> list[str]:
    """The nearest word of `ARMS` for the mean of both upper arms."""
    return _named(nearest(arm_angles(puppets), ARMS), ARMS)


def scene_words(puppets: Tensor) -> list[str]:
    """The nearest word of `SCENES` for each puppet."""
    return _named(nearest(puppets[:, SCENE], SCENES), SCENES)


def word_places(puppets: Tensor) -> Tensor:
    """`(n, 6)`: which word of colour, colour, hat, arms, colour and scene a caption has.

    The order is that of `caption`.
    """
    places = (
        nearest(puppets[:, BODY], COLOURS),
        nearest(puppets[:, HAT], HATS),
        nearest(arm_angles(puppets), ARMS),
        nearest(puppets[:, BACK], COLOURS),
        nearest(puppets[:, LEGS], COLOURS),
        nearest(puppets[:, SCENE], SCENES),
    )
    return torch.stack(places, dim=1)


def caption(
    body: str | None = None,
    hat: str | None = None,
    arms: str | None = None,
    back: str | None = None,
    legs: str | None = None,
    scene: str | None = None,
) -> str:
    """Return a caption such as the following. Parts may be left out; a scene needs a colour.

    `a red puppet in blue trousers with a cap, arms up, on a green background with hills`
    """
    parts = [f"{_article(body)} puppet" if body else "a puppet"]
    parts += [f"in {legs} trousers"] if legs else []
    parts += [f"with {hat}"] if hat else []
    parts += [f", arms {arms}"] if arms else []
    if back:
        colour = f"plain {back}" if scene == "plain" else back
        parts += [f", on {_article(colour)} background"]
        parts += [f"with {scene}"] if scene and scene != "plain" else []
    return " ".join(parts).replace(" ,", ",")


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def captions(puppets: Tensor) -> list[str]:
    """The full caption of each puppet."""
    words = zip(
        colour_words(puppets[:, BODY]),
        hat_words(puppets),
        arm_words(puppets),
        colour_words(puppets[:, BACK]),
        colour_words(puppets[:, LEGS]),
        scene_words(puppets),
        strict=True,
    )
    return [caption(*row) for row in words]
