"""Textual inversion: learns conditioning that makes the model draw the keyframes (step 2)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.contract import LearnableModel
from ...models.memory import Batches, out_of_memory
from ...models.prompts import (
    PromptEmbeddings,
    Prompts,
    by_part,
    can_stack,
    check_keyframes,
    for_keyframes,
    move,
    of_keyframes,
    stack,
)
from ...settings import InversionSettings
from ..noise import draw_noise
from .augmentation import augment
from .gradient_scale import GradientScale

log = logging.getLogger(__name__)

Fitting = Callable[[Sequence[int], PromptEmbeddings, int], int]
"""How many latents of a shape `(N, c, h', w')` a step of learning takes at once under a text.

Each is as many rows as the last number says, one for each half of guidance. 0: these rows do not
fit together."""


class NoGradientError(ValueError):
    """Raised when a tensor that should be learned gets no gradient; `what` is its name."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"model: no gradient comes back to the {what}, so it cannot be learned; a kernel or a "
            "patch of this model has no way back"
        )
        self.what = what


@dataclass(frozen=True)
class Inversion:
    """Learned conditioning: `positive` has a row for each keyframe, in one part or several.

    `negative` has one row. `losses` has the loss on a fixed evaluation batch, by step. The
    conditioning is that of the step with the lowest loss.
    """

    positive: Prompts
    negative: PromptEmbeddings
    losses: dict[int, float]


class Inverter:
    """The optimisation of one set of keyframes; nothing of the model is changed."""

    def __init__(
        self,
        model: LearnableModel,
        pictures: Tensor,
        positive: Prompts,
        negative: PromptEmbeddings,
        settings: InversionSettings,
        clean: Tensor | None = None,
        fitting: Fitting | None = None,
    ) -> None:
        self.model, self.settings = model, settings
        self.count = len(pictures)
        like = torch.empty(0, device=model.device)
        self.positive = move(for_keyframes(positive, self.count), like).map(_parameter)
        self.negative = move(negative, like).rows([0]).map(_parameter)
        self.norms = [tensor.detach().norm(dim=-1, keepdim=True) for tensor in self._tensors()]
        self.generator = torch.Generator().manual_seed(settings.seed)
        clean = model.encode(pictures) if clean is None else clean
        self.clean = clean.detach().clone()
        self.latents = torch.stack([self.clean, *self._augmented(pictures)], dim=1)
        self.guided = settings.guided and settings.cfg != 1
        halves = 1 + self.guided
        if fitting is None:
            fits = max(1, model.max_batch // halves)
        else:
            longest = max(self.positive.parts, key=lambda part: part.embeddings.shape[1])
            fits = fitting(self.clean.shape, longest, halves)
        # both halves of guidance go in one forward pass, or one after the other as a last resort
        self.batches, self.apart = Batches(max(1, fits)), fits == 0 and self.guided
        self.scale, self.checked = GradientScale(), False
        self.optimizer = torch.optim.Adam(self._tensors(), lr=settings.learning_rate)

    def _tensors(self) -> list[Tensor]:
        return [*self.positive.tensors(), *self.negative.tensors()]

    def _augmented(self, pictures: Tensor) -> list[Tensor]:
        """Latents of augmented pictures, made once, because the autoencoder is slow."""
        if not self.settings.augmentations:
            return []
        altered = [augment(pictures, self.generator) for _ in range(self.settings.augmentations)]
        return [self.model.encode(part).detach().clone() for part in altered]

    def _noisy(self, latents: Tensor, noise: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents with noise, and their denoise: `places` in 0..1 of the settings' range."""
        s = self.settings
        denoise = s.min_denoise + (s.max_denoise - s.min_denoise) * places
        scales = torch.tensor([self._scales(one) for one in denoise.tolist()]).to(latents)
        signal, sigma = scales[:, :, None, None, None].unbind(1)
        return signal * latents + sigma * noise, denoise

    def _scales(self, denoise: float) -> tuple[float, float]:
        return self.model.scales(self.model.schedule(denoise))

    def loss(self, latents: Tensor, noise: Tensor, places: Tensor, rows: list[int]) -> Tensor:
        """`|| eps_hat - noise ||^2` per element, `(n,)`, for latents `(n, c, h', w')`.

        The latents are of the keyframes `rows`, all of one part, noised at `places`. `eps_hat` is
        guided unless the settings say otherwise.
        """
        noisy, denoise = self._noisy(latents, noise, places)
        positive = of_keyframes(self.positive, rows)
        if self.guided:
            under_negative, under_positive = self._halves(noisy, denoise, positive)
            predicted = under_negative + self.settings.cfg * (under_positive - under_negative)
        else:
            predicted = self.model.predict_noise(noisy, denoise, positive)
        return (predicted - noise).square().mean((1, 2, 3))

    def _halves(
        self, noisy: Tensor, denoise: Tensor, positive: PromptEmbeddings
    ) -> tuple[Tensor, Tensor]:
        """Return the noise under the negative prompt and under `positive`.

        It takes one pass where both can be stacked.
        """
        count, predict, negative = len(noisy), self.model.predict_noise, self.negative
        if self.apart or not can_stack(negative, positive):
            return predict(noisy, denoise, negative, count), predict(noisy, denoise, positive)
        both = stack([negative.repeated(count), positive.repeated(count)])
        under_negative, under_positive = predict(
            noisy.repeat(2, 1, 1, 1), denoise.repeat(2), both, count
        ).chunk(2)
        return under_negative, under_positive

    def step(self, done: float) -> None:
        """Take one step of Adam over all keyframes, in batches that fit in memory.

        `done` is the fraction of the steps that are done. The rate holds for the first half and
        then falls to zero, so that the noise of single draws averages out. A step whose gradients
        overflow changes nothing. Raises `FloatingPointError` where they do so every time, and
        `NoGradientError` where there are none.
        """
        s = self.settings
        rows = [row for row in range(self.count) for _ in range(s.draws)]
        shape = len(rows), *self.clean.shape[1:]
        noise = torch.randn(shape, generator=self.generator).to(self.clean)
        # stratified: the draws of a keyframe are spread evenly over the range of denoise
        strata = torch.arange(s.draws).repeat(self.count)
        places = (strata + torch.rand(len(rows), generator=self.generator)) / s.draws
        picks = torch.randint(self.latents.shape[1], (len(rows),), generator=self.generator)
        latents = self.latents[rows, picks]
        self.optimizer.param_groups[0]["lr"] = s.learning_rate * min(1.0, 2 * (1 - done))

        def descend(part: list[int]) -> Tensor:
            named = [rows[i] for i in part]
            find = self._gradients_apart if self.apart else self._gradients
            found = find(latents[part], noise[part], places[part], named, len(rows))
            # once all are there: a batch that does not fit leaves no trace
            self._add(found)
            return torch.zeros(len(part))

        self._descend(descend, by_part(self.positive, rows))
        self._check_gradients()
        if self.scale.overflowed(tensor.grad for tensor in self._tensors()):
            return
        self.optimizer.step()
        if s.hold_norms:
            self._restore_norms()

    def _descend(self, work: Callable[[list[int]], Tensor], groups: list[list[int]]) -> None:
        """Find all gradients; the halves of guidance go one after the other if they have to."""
        self.optimizer.zero_grad(set_to_none=True)
        try:
            self.batches.run_groups(work, groups)
        except RuntimeError as error:
            if self.apart or not self.guided or not out_of_memory(error):
                raise
            self.apart = True
        else:
            return
        log.info(
            "not even one picture fits in memory, continuing with the halves of guidance apart"
        )
        torch.cuda.empty_cache()
        self.optimizer.zero_grad(set_to_none=True)
        self.batches.run_groups(work, groups)

    def _gradients(
        self, latents: Tensor, noise: Tensor, places: Tensor, rows: list[int], count: int
    ) -> list[Tensor | None]:
        """Of the mean loss of `count` latents, from some of them."""
        return self._of(self.loss(latents, noise, places, rows).sum() / count)

    def _gradients_apart(
        self, latents: Tensor, noise: Tensor, places: Tensor, rows: list[int], count: int
    ) -> list[Tensor | None]:
        """As `_gradients`, with one half of guidance at a time in memory and one pass more.

        The guided noise is linear in its halves, so each gets its own factor of the same residual.
        """
        cfg, predict = self.settings.cfg, self.model.predict_noise
        noisy, denoise = self._noisy(latents, noise, places)
        positive, negative = of_keyframes(self.positive, rows), self.negative
        with torch.no_grad():
            under_negative = predict(noisy, denoise, negative, len(rows))
        under_positive = predict(noisy, denoise, positive)
        residual = under_negative + cfg * (under_positive.detach() - under_negative) - noise
        slope = 2 * residual / (residual[0].numel() * count)
        found = self._of((under_positive * cfg * slope).sum(), self.positive)
        del under_positive
        under_negative = predict(noisy, denoise, negative, len(rows))
        return found + self._of((under_negative * (1 - cfg) * slope).sum(), self.negative)

    def _of(self, loss: Tensor, *texts: Prompts) -> list[Tensor | None]:
        """The gradients of what is learned, or of some of it, times the scale."""
        texts = texts or (self.positive, self.negative)
        tensors = [tensor for text in texts for tensor in text.tensors()]
        if not loss.requires_grad:
            what = "positive prompt" if texts[0] is self.positive else "negative prompt"
            raise NoGradientError(what)
        # pooled embeddings may be there for other models only
        return list(torch.autograd.grad(loss * self.scale.factor, tensors, allow_unused=True))

    def _add(self, gradients: list[Tensor | None]) -> None:
        for tensor, gradient in zip(self._tensors(), gradients, strict=True):
            if gradient is not None:
                gradient = self.scale.level(gradient)
                tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient

    def _check_gradients(self) -> None:
        """Raise `NoGradientError` where the first step has none: something has cut them off."""
        if self.checked:
            return
        self.checked = True
        named = [("positive prompt", part) for part in self.positive.parts]
        if self.guided:
            named.append(("negative prompt", self.negative))
        for name, text in named:
            if text.embeddings.grad is None or not text.embeddings.grad.any():
                raise NoGradientError(name)

    @torch.no_grad()
    def _restore_norms(self) -> None:
        for tensor, norm in zip(self._tensors(), self.norms, strict=True):
            tensor.mul_(norm / tensor.norm(dim=-1, keepdim=True).clamp_min(1e-12))

    @torch.no_grad()
    def evaluate(self, draws: int = 4) -> float:
        """The loss on the clean keyframes with fixed noise, at `draws` values of denoise."""
        cases = [(row, n) for row in range(self.count) for n in range(draws)]
        shape, seed = self.clean.shape[1:], self.settings.seed

        def losses(chosen: list[int]) -> Tensor:
            rows, numbers = zip(*(cases[i] for i in chosen), strict=True)
            drawn = zip(rows, numbers, strict=True)
            noise = [draw_noise(shape, seed, float(row), n) for row, n in drawn]
            places = (torch.tensor(numbers) + 0.5) / draws
            latents = self.clean[list(rows)]
            return self.loss(latents, torch.stack(noise).to(latents), places, list(rows))

        groups = by_part(self.positive, [row for row, _ in cases])
        return self.batches.run_groups(losses, groups).mean().item()

    def snapshot(self) -> tuple[Prompts, PromptEmbeddings]:
        """Copies of the positive and negative conditioning as they are now."""
        return tuple(
            text.map(lambda t: t.detach().clone()) for text in (self.positive, self.negative)
        )


def invert(
    model: LearnableModel,
    pictures: Tensor,
    positive: Prompts,
    negative: PromptEmbeddings,
    settings: InversionSettings | None = None,
    on_step: Callable[[int, float], None] | None = None,
    latents: Tensor | None = None,
    fitting: Fitting | None = None,
) -> Inversion:
    """Learn the conditioning of all keyframes `(N, 3, h, w)` in 0..1 together.

    `positive` has one row for all keyframes, or N rows; prompts of different lengths are parts of
    it. `negative` has one row. `on_step(step, loss)` is called after every step with the latest
    loss of the fixed evaluation batch; what it raises ends the optimisation. `latents` are those of
    the pictures, where they are known already. `fitting` says how many latents fit in memory at
    once; without it the number is the model's `max_batch`, halved where guidance needs both
    prompts. With 0 steps each keyframe gets a copy of the prompt, and `losses` is empty. Raises
    `ValueError` for settings out of range and for a model that cannot be differentiated, and
    `FloatingPointError` if its numbers are not finite before an evaluation has been better than the
    first. After that, learning ends early with the best state.
    """
    settings = settings or InversionSettings()
    settings.check()
    check_keyframes(positive, len(pictures))
    if not settings.steps:
        return Inversion(for_keyframes(positive, len(pictures)), negative.rows([0]), {})
    with torch.enable_grad():
        inverter = Inverter(model, pictures, positive, negative, settings, latents, fitting)
        return _learn(inverter, on_step)


def _learn(inverter: Inverter, on_step: Callable[[int, float], None] | None) -> Inversion:
    """All steps, or those before the numbers are no longer finite; the best state of them."""
    settings = inverter.settings
    losses = {0: _finite(inverter.evaluate(), 0)}
    best, kept = inverter.snapshot(), 0
    for step in range(1, settings.steps + 1):
        try:
            inverter.step((step - 1) / settings.steps)
            if step % settings.evaluate_every == 0 or step == settings.steps:
                losses[step] = _finite(inverter.evaluate(), step)
        except FloatingPointError as error:
            if not kept:
                raise
            log.warning("learning ends early with the state of step %d: %s", kept, error)
            break
        if losses.get(step, math.inf) < losses[kept]:
            best, kept = inverter.snapshot(), step
        if on_step:
            on_step(step, next(reversed(losses.values())))
    return Inversion(*best, losses)


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"inversion: the loss is {loss} at step {step}; use float32 or a lower learning rate"
        )
    return loss


def _parameter(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(True)
