"""A latent diffusion model on many GPUs: its batches are split over a pool of Ray actors.

The method does not know of it. A frame depends on its seed, position, candidate and neighbours, so
that any number of actors makes the same frames. Ray (https://www.ray.io) starts the actors, brings
them their work, and starts those again that die: every call is complete in itself and can be
repeated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cache, partial
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
        self._graphs: dict[int, tuple[Tensor, list[Tensor]]] = {}

    def call(self, load: Load, name: str, *args: Any) -> Any:
        """Return what the method `name` gives, such as `model.sample`."""
        return attrgetter(name)(self._held(load))(*args)

    def facts(self, load: Load) -> tuple[int, int]:
        """Return the model's `max_batch` and `hint_scale`."""
        model = self._held(load).model
        return model.max_batch, model.hint_scale

    def predict(self, load: Load, call: int, noisy: Tensor, *rest: Any) -> Tensor:
        """Return `predict_noise`, and keep the way back for the `call` of this number."""
        # the way back of an earlier call is needed no more
        self._graphs = {call: self._predicted(load, noisy, *rest)}
        return self._graphs[call][0].detach()

    def gradients(self, load: Load, call: int, gradient: Tensor, *rest: Any) -> list[Tensor | None]:
        """Return the gradients of the tensors of a prompt, also where the actor is a new one."""
        noise, tensors = self._graphs.pop(call, None) or self._predicted(load, *rest)
        return list(torch.autograd.grad(noise, tensors, gradient, allow_unused=True))

    def _predicted(
        self, load: Load, noisy: Tensor, levels: Tensor, text: PromptEmbeddings, negatives: int
    ) -> tuple[Tensor, list[Tensor]]:
        text = text.map(lambda tensor: tensor.detach().clone().requires_grad_())
        model = self._held(load).model
        return model.predict_noise(noisy, levels, text, negatives), text.tensors()

    def _held(self, load: Load) -> Any:
        if self._load != load:
            # there may not be room for two
            self._loaded, self._graphs = None, {}
            self._loaded, self._load = load(), load
        return self._loaded


def start_workers(count: int, gpus: float) -> list[Any]:
    """Return `count` actors with `gpus` each, which Ray replaces as often as they die."""
    actor = ray.remote(max_restarts=-1, max_task_retries=-1)(Worker)
    # on as many machines as there are
    told = {"num_gpus": gpus, "num_cpus": 1, "scheduling_strategy": "SPREAD"}
    return [actor.options(**told).remote() for _ in range(count)]


class RayModel:
    """A `LearnableModel` over `workers`, each of which holds the model that `load` makes.

    The last bits of a result depend on which rows share its batch. The batches are therefore those
    that one model alone would make, for any number of actors, and so are the results. A call of
    `predict_noise` goes to one actor whole. Latents and pictures lie on the CPU here, wherever the
    actors have them.
    """

    device = torch.device("cpu")

    def __init__(self, workers: Sequence[Any], load: Load) -> None:
        self._workers, self._load = list(workers), load
        self._batch, self.hint_scale = ray.get(self._workers[0].facts.remote(load))
        self.max_batch = self._batch * len(self._workers)
        # steps and scales are asked for many times
        self.schedule = cache(partial(self.ask, "model.schedule"))
        self.scales = cache(partial(self.ask, "model.scales"))
        self._calls = itertools.count()

    def encode_text(self, prompts: list[str], negative: bool = False) -> PromptEmbeddings:
        """The conditioning of prompts, one row each."""
        return self.ask("model.encode_text", prompts, negative)

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

    def predict_noise(
        self, noisy: Tensor, levels: Tensor, text: PromptEmbeddings, negatives: int = 0
    ) -> Tensor:
        """The noise in `(n, c, h', w')`, differentiable in `text`, all rows on one actor."""
        bare = text.map(torch.Tensor.detach)
        way = _Way(
            self._workers[0], self._load, next(self._calls), (noisy, levels, bare, negatives)
        )
        return _Prediction.apply(way, *text.tensors())

    def by_rows(self, name: str, rows: Tensor) -> Tensor:
        """Return what a method of what the actors hold makes of `rows`, batch by batch."""
        return torch.cat(self._each(name, [(rows[part],) for part in self._batches(len(rows))]))

    def ask(self, name: str, *args: Any) -> Any:
        """Return what a method of what the actors hold gives, such as `model.encode_text`."""
        return ray.get(self._workers[0].call.remote(self._load, name, *args))

    def _each(self, name: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the results of calls, each of them by another actor, in order."""
        pool = itertools.cycle(self._workers)
        return ray.get([next(pool).call.remote(self._load, name, *args) for args in calls])

    def _batches(self, count: int) -> list[list[int]]:
        starts = range(0, count, self._batch)
        return [list(range(start, min(start + self._batch, count))) for start in starts]


class _Way:
    """One call of `predict_noise`, and the way back through it."""

    def __init__(self, worker: Any, load: Load, call: int, args: tuple[Any, ...]) -> None:
        self._worker, self._told, self._args = worker, (load, call), args

    def predict(self) -> Tensor:
        return ray.get(self._worker.predict.remote(*self._told, *self._args))

    def gradients(self, gradient: Tensor) -> list[Tensor | None]:
        return ray.get(self._worker.gradients.remote(*self._told, gradient, *self._args))


class _Prediction(torch.autograd.Function):
    """A prediction of another process, as autograd sees it."""

    @staticmethod
    def forward(context: Any, way: _Way, *tensors: Tensor) -> Tensor:
        context.way = way
        return way.predict()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *context.way.gradients(gradient)
