"""How a path can be made: what makes it, under which options, and what came out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from support.puppets import SIZE
from torch import Tensor
from torch.nn import functional

from diffusion_interpolation.command.job import EMBEDDED, Job, defaults_of
from diffusion_interpolation.demo import load_named, reranker, world
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.method.learning.inversion import invert
from diffusion_interpolation.method.path import Path
from diffusion_interpolation.models.contract import (
    Guidance,
    LatentDiffusionModel,
    Sampled,
    Schedule,
)
from diffusion_interpolation.models.prompts import PromptEmbeddings
from diffusion_interpolation.scoring.clip import ClipPair
from diffusion_interpolation.settings import FrameSettings, Motion, SamplingSettings

EMBEDDED_DEFAULTS = defaults_of(EMBEDDED)


@dataclass(frozen=True)
class Way:
    """How a path is made: by which maker of `MAKERS`, and under what.

    `options` are those of the maker alone. `posed`: under the poses of both keyframes and the
    ControlNet. `ranked`: with the demo's CLIP as the scorer.
    """

    maker: str = "bisection"
    settings: FrameSettings = field(default_factory=FrameSettings)
    steps: int = SamplingSettings.steps
    cfg: float = EMBEDDED_DEFAULTS["cfg"]
    motion: Motion = "swing"
    inversion_steps: int = 0
    posed: bool = True
    ranked: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def changed(self, **changes: Any) -> Way:
        """Return the way with some values changed, its own or those of its `settings`."""
        own = {name: changes.pop(name) for name in list(changes) if name in _OWN}
        return replace(self, **({"settings": replace(self.settings, **changes)} | own))


_OWN = {field.name for field in fields(Way)}


@dataclass(frozen=True)
class Task:
    """Paths to be made between pairs of puppets `(2 P, numbers)`, one after the other.

    `pictures` `(2 P, 3, h, w)` are the keyframes of `path`, which has no frames between the second
    puppet of a pair and the first of the next one.
    """

    way: Way
    model: Counted
    path: Path
    guide: Guide
    settings: FrameSettings
    pairs: Tensor
    pictures: Tensor
    clip: ClipPair

    def at(self, pair: int) -> Task:
        """Return the task of one pair alone."""
        two = slice(2 * pair, 2 * pair + 2)
        guide = self.guide
        if len(guide.positive) > 1:
            guide = replace(guide, positive=guide.positive.rows(range(two.start, two.stop)))
        if guide.poses is not None:
            guide = replace(guide, poses=guide.poses[two])
        return replace(
            self,
            path=Path(self.path.between[:1]),
            guide=guide,
            pairs=self.pairs[two],
            pictures=self.pictures[two],
        )


@dataclass(frozen=True)
class Made:
    """Paths `(P, frames, 3, h, w)` with both inputs, and what one of them took."""

    frames: Tensor
    evaluations: float
    seconds: float


Maker = Callable[[Task], Tensor]
"""Makes the frames `(P * frames, 3, h, w)` of a task's path. Those of keyframes are ignored."""

MAKERS: dict[str, Maker] = {}
"""What makes paths, by name. Every module of this package adds its own."""

ROWS: dict[str, dict[str, dict[str, Any]]] = {}
"""Sets of ways by name: the rows of a set, and how each row differs from the default."""


def maker(name: str, rows: str = "", **changes: Any) -> Callable[[Maker], Maker]:
    """Register a maker; with `rows`, also add a row of its name to that set of `ROWS`."""

    def register(make: Maker) -> Maker:
        MAKERS[name] = make
        if rows:
            ROWS.setdefault(rows, {})[name] = {"maker": name, **changes}
        return make

    return register


class Counted:
    """A model that counts the latents its network is run on, both halves of guidance as one."""

    def __init__(self, model: LatentDiffusionModel) -> None:
        self._model, self.evaluations = model, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        self.evaluations += len(noisy) * len(schedule)
        return self._model.sample(noisy, schedule, guidance)

    def features(self, latents: Tensor, text: PromptEmbeddings, draws: int) -> list[Tensor]:
        # one half of guidance
        self.evaluations += draws * len(latents) / 2
        return self._model.features(latents, text, draws)

    def predict_noise(
        self, noisy: Tensor, levels: Tensor, text: PromptEmbeddings, negatives: int = 0
    ) -> Tensor:
        if not torch.is_grad_enabled():
            # what is learned is not counted
            self.evaluations += len(noisy)
        return self._model.predict_noise(noisy, levels, text, negatives)


class Bench:
    """The networks, and paths of `frames` frames between pairs of puppets.

    Frames are made of pictures with sides of `side` pixels, and given at the size of the world.
    """

    def __init__(
        self,
        frames: int,
        seed: int,
        device: str,
        model: str = EMBEDDED,
        max_batch: int = 16,
        side: int = SIZE,
    ) -> None:
        self.name, self.frames, self.seed, self.device = model, frames, seed, device
        self.side = side
        self.clip, self._max_batch = reranker(device), max_batch
        self._models: dict[int, Counted] = {}

    def model(self, steps: int) -> Counted:
        """Return the embedded model with so many steps."""
        if steps not in self._models:
            options = {"steps": steps, "device": self.device, "max_batch": self._max_batch}
            self._models[steps] = Counted(load_named(self.name, **options))
        return self._models[steps]

    def made(self, way: Way, pairs: Tensor) -> Made:
        """Return the paths between pairs of puppets `(2 P, numbers)`.

        The seconds are without textual inversion.
        """
        if way.inversion_steps and len(pairs) > 2:
            # what is learned for a pair must not depend on the others
            each = [self.made(way, two) for two in pairs.split(2)]
            return Made(
                torch.cat([one.frames for one in each]),
                sum(one.evaluations for one in each) / len(each),
                sum(one.seconds for one in each) / len(each),
            )
        task = self._task(way, pairs)
        before, begun = task.model.evaluations, time.perf_counter()
        frames = MAKERS[way.maker](task).unflatten(0, (-1, self.frames)).cpu()
        seconds = time.perf_counter() - begun
        frames[:, [0, -1]] = task.pictures.unflatten(0, (-1, 2)).cpu()
        if self.side != SIZE:
            frames = _at_size_of_the_world(frames)
        evaluations, count = task.model.evaluations - before, len(frames)
        return Made(frames, evaluations / count, seconds / count)

    def _task(self, way: Way, pairs: Tensor) -> Task:
        between = [self.frames - 2, 0] * (len(pairs) // 2)
        pictures, settings = world.render(pairs, self.side), replace(way.settings, seed=self.seed)
        model, guide = self.model(way.steps), self._guide(way, pairs, pictures)
        path = Path(tuple(between[:-1]))
        return Task(way, model, path, guide, settings, pairs, pictures, self.clip)

    def _guide(self, way: Way, pairs: Tensor, pictures: Tensor) -> Guide:
        model, words = self.model(way.steps), EMBEDDED_DEFAULTS
        texts = model.encode_text(words["prompt"]), model.encode_text([words["negative_prompt"]])
        if way.inversion_steps:
            settings = replace(
                Job.of(words).learning, steps=way.inversion_steps, cfg=way.cfg, seed=self.seed
            )
            learned = invert(model, pictures, *texts, settings)
            texts = learned.positive, learned.negative
        poses = world.poses(pairs.cpu(), self.side) if way.posed else None
        return Guide(*texts, way.cfg, poses, (self.side, self.side), motion=way.motion)


def _at_size_of_the_world(paths: Tensor) -> Tensor:
    """Resize paths `(P, frames, 3, h, w)` to what the reader and CLIP were trained on."""
    small = functional.interpolate(
        paths.flatten(0, 1), (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False
    )
    return small.unflatten(0, paths.shape[:2])
