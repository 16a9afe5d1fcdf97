"""A latent diffusion model on many GPUs: its batches are split over a pool of Ray actors.

The method does not know of it. A frame depends on its seed, position, candidate and neighbours, so
that any number of actors makes the same frames. Ray (https://www.ray.io) starts the actors, brings
them their work, and starts those again that die.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Protocol

import ray
import torch
from torch import Tensor

from .contract import Guidance, LearnableModel, Sampled, Schedule
from .prompts import PromptEmbeddings


class Loaded(Protocol):
    """What an actor holds."""

    model: LearnableModel


Load = Callable[[], Loaded]
"""Makes what an actor holds. Equal ones make the same, so that it is loaded once."""


class Worker:
    """The actor: holds what `load` makes, until it is called for another `load`."""

    def __init__(self) -> None:
        self._load: Load | None = None
        self._loaded: Any = None

    def call(self, load: Load, name: str, *args: Any) -> Any:
        """Return what the method `name` gives, such as `model.sample`."""
        return attrgetter(name)(self._held(load))(*args)

    @ray.method(max_task_retries=0)
    def stream(self, make: Callable[..., Iterator[Any]], *args: Any) -> Iterator[Any]:
        """Yield what `make` yields of a function that returns what a `Load` makes, and of `args`.

        It ends with the actor that dies: its caller knows what is finished, and Ray does not.
        """
        yield from make(self._held, *args)

    @ray.method(concurrency_group="beside")
    def beside(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function gives that needs no network, while the networks do other work."""
        return function(*args)

    def _held(self, load: Load) -> Any:
        if self._load != load:
            # there may not be room for two
            self._loaded = None
            self._loaded, self._load = load(), load
        return self._loaded


def start_workers(count: int, gpus: float) -> list[Any]:
    """Return `count` actors with `gpus` each, which Ray replaces as often as they die."""
    kind = {"max_restarts": -1, "max_task_retries": -1, "concurrency_groups": {"beside": 1}}
    actor = ray.remote(**kind)(Worker)
    # on as many machines as there are
    told = {"num_gpus": gpus, "num_cpus": 1, "scheduling_strategy": "SPREAD"}
    return [actor.options(**told).remote() for _ in range(count)]


class RayModel:
    """A `LearnableModel` over one model in this process and those of `others`, which are actors.

    All of them hold what `load` makes, as `here` does. The last bits of a result depend on which
    rows share its batch. The batches are therefore those that one model alone would make, for any
    number of actors, and so are the results. What has no rows is done here.
    """

    def __init__(self, here: Loaded, others: Sequence[Any], load: Load) -> None:
        self._here, self._others, self._load = here, list(others), load
        model = here.model
        self.device, self.hint_scale = model.device, model.hint_scale
        self.schedule, self.scales = model.schedule, model.scales
        # its way back stays in one process
        self.predict_noise = model.predict_noise

    @property
    def max_batch(self) -> int:
        """How many latents all models together get at once."""
        return self._here.model.max_batch * (1 + len(self._others))

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Take all steps of `schedule` from `noisy` `(n, c, h', w')`."""
        batches = self._batches(len(noisy))
        made = self._each(
            "model.sample", [(noisy[rows], schedule, guidance.rows(rows)) for rows in batches]
        )
        return Sampled(*map(torch.cat, zip(*made, strict=True)))

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents `(n, c, h', w')` of pictures `(n, 3, h, w)` in 0..1."""
        return self.by_rows("model.encode", pictures)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures `(n, 3, h, w)` in 0..1 of latents `(n, c, h', w')`."""
        return self.by_rows("model.decode", latents)

    def features(self, latents: Tensor, text: PromptEmbeddings, draws: int) -> list[Tensor]:
        """Activations of some blocks for clean latents `(n, c, h', w')`, all of one model."""
        return self._here.model.features(latents, text, draws)

    def by_rows(self, name: str, rows: Tensor) -> Tensor:
        """Return what a method of what is loaded makes of `rows`, batch by batch."""
        return torch.cat(self._each(name, [(rows[part],) for part in self._batches(len(rows))]))

    def _each(self, name: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the results of calls, in order: each model gets one after the other in turn."""
        turns, made = 1 + len(self._others), {}
        for number, args in enumerate(calls):
            if turn := number % turns:
                made[number] = self._others[turn - 1].call.remote(self._load, name, *args)
        # they work while this process does
        for number in range(0, len(calls), turns):
            made[number] = attrgetter(name)(self._here)(*calls[number])
        results = [made[number] for number in range(len(calls))]
        return [ray.get(one) if isinstance(one, ray.ObjectRef) else one for one in results]

    def _batches(self, count: int) -> list[list[int]]:
        batch = self._here.model.max_batch
        starts = range(0, count, batch)
        return [list(range(start, min(start + batch, count))) for start in starts]
