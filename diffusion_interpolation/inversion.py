"""Textual inversion: conditioning that gives the keyframes back (method, step 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .memory import Batches
from .model import LatentDiffusionModel, Text, move, stack
from .path import draw_noise

# Adam does not see a factor on its gradients, but half precision does: it keeps them off zero.
GRADIENT_SCALE = 1024.0


@dataclass(frozen=True)
class InversionSettings:
    """How the conditioning is learned.

    `cfg` is the guidance scale of the later sampling, to which the learned negative is tied;
    `guided` False trains on the plain prediction, as the paper's text says, instead of the guided
    one of the authors' code. A step takes `draws` of noise and level a keyframe, levels evenly from
    `lowest` to `highest`, and one of the keyframe and its `augmentations` each time. `hold_norms`
    keeps every token's norm, so that only directions are learned.
    """

    steps: int = 100
    learning_rate: float = 1e-4
    cfg: float = 7.5
    guided: bool = True
    lowest: float = 1 / 3
    highest: float = 2 / 3
    draws: int = 1
    augmentations: int = 16
    hold_norms: bool = True
    evaluate_every: int = 10
    seed: int = 0

    def check(self) -> None:
        """Raise `ValueError` for settings out of range."""
        if self.steps < 0:
            raise ValueError(f"inversion steps: got {self.steps}, want 0 or more")
        if self.draws < 1:
            raise ValueError(f"draws: got {self.draws}, want at least 1")
        if self.augmentations < 0:
            raise ValueError(f"augmentations: got {self.augmentations}, want 0 or more")
        if not 0 < self.lowest < self.highest <= 1:
            got = f"{self.lowest} to {self.highest}"
            raise ValueError(f"inversion levels: got {got}, want 0 < lowest < highest <= 1")


@dataclass(frozen=True)
class Inversion:
    """Learned conditioning: `positive` has a row a keyframe, `negative` one row.

    `losses` is the loss on a fixed evaluation batch by step; the lowest one is kept.
    """

    positive: Text
    negative: Text
    losses: dict[int, float]


class Inverter:
    """The optimisation of one set of keyframes; nothing of the model is changed."""

    def __init__(
        self,
        model: LatentDiffusionModel,
        pictures: Tensor,
        positive: Text,
        negative: Text,
        settings: InversionSettings,
    ) -> None:
        self.model, self.settings = model, settings
        self.count = len(pictures)
        like = torch.empty(0, device=model.device)
        self.positive = _parameters(move(positive, like).rows(range(self.count)))
        self.negative = _parameters(move(negative, like).rows([0]))
        self.norms = [tensor.detach().norm(dim=-1, keepdim=True) for tensor in self._tensors()]
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.clean = model.encode(pictures).detach().clone()
        self.latents = torch.stack([self.clean, *self._augmented(pictures)], dim=1)
        # both halves of guidance go in one forward pass
        self.batches = Batches(max(1, model.batch_size // 2))
        self.optimizer = torch.optim.Adam(self._tensors(), lr=settings.learning_rate)

    def _tensors(self) -> list[Tensor]:
        texts = (self.positive, self.negative)
        return [t for text in texts for t in (text.states, text.pooled) if t is not None]

    def _augmented(self, pictures: Tensor) -> list[Tensor]:
        """Latents of augmented pictures, made once, because the autoencoder is slow."""
        if not self.settings.augmentations:
            return []
        altered = [augment(pictures, self.generator) for _ in range(self.settings.augmentations)]
        return [self.model.encode(part).detach().clone() for part in altered]

    def loss(self, latents: Tensor, noise: Tensor, places: Tensor, rows: list[int]) -> Tensor:
        """`|| eps_hat - noise ||^2` per element, `(n,)`, for latents `(n, c, h', w')`.

        The latents are of the keyframes `rows`, noised at `places` in 0..1 between the lowest and
        the highest level. `eps_hat` is guided unless the settings say otherwise.
        """
        s = self.settings
        levels = s.lowest + (s.highest - s.lowest) * places
        scales = torch.tensor([self.model.scales(level) for level in levels.tolist()]).to(latents)
        signal, sigma = scales[:, :, None, None, None].unbind(1)
        noisy = signal * latents + sigma * noise
        positive = self.positive.rows(rows)
        if not s.guided or s.cfg == 1:
            predicted = self.model.predict_noise(noisy, levels, positive)
        else:
            away, towards = self._halves(noisy, levels, positive)
            predicted = away + s.cfg * (towards - away)
        return (predicted - noise).square().mean((1, 2, 3))

    def _halves(self, noisy: Tensor, levels: Tensor, positive: Text) -> tuple[Tensor, Tensor]:
        """The noise under the negative and under `positive`, in one pass if they are alike long."""
        count, predict = len(noisy), self.model.predict_noise
        negative = self.negative.rows([0] * count)
        if negative.states.shape != positive.states.shape:
            return predict(noisy, levels, negative, count), predict(noisy, levels, positive)
        both = stack([negative, positive])
        away, towards = predict(noisy.repeat(2, 1, 1, 1), levels.repeat(2), both, count).chunk(2)
        return away, towards

    def step(self, share: float) -> None:
        """One step of Adam over all keyframes, in batches that fit in memory.

        `share` is how much of the way is behind: the rate holds for the first half, then falls to
        zero, so that the noise of single draws averages out.
        """
        s = self.settings
        rows = [row for row in range(self.count) for _ in range(s.draws)]
        shape = len(rows), *self.clean.shape[1:]
        noise = torch.randn(shape, generator=self.generator).to(self.clean)
        # stratified: the draws of a keyframe share the range of levels evenly
        strata = torch.arange(s.draws).repeat(self.count)
        places = (strata + torch.rand(len(rows), generator=self.generator)) / s.draws
        picks = torch.randint(self.latents.shape[1], (len(rows),), generator=self.generator)
        latents = self.latents[rows, picks]
        self.optimizer.param_groups[0]["lr"] = s.learning_rate * min(1.0, 2 * (1 - share))
        self.optimizer.zero_grad(set_to_none=True)

        def descend(part: list[int]) -> Tensor:
            named = [rows[i] for i in part]
            losses = self.loss(latents[part], noise[part], places[part], named)
            self._add_gradients(losses.sum() / len(rows))
            return losses.detach()

        self.batches.run(descend, len(rows))
        self.optimizer.step()
        if s.hold_norms:
            self._restore_norms()

    def _add_gradients(self, loss: Tensor) -> None:
        """Add those of `loss`, once all are there: a batch that does not fit leaves no trace."""
        tensors = self._tensors()
        gradients = torch.autograd.grad(loss * GRADIENT_SCALE, tensors, allow_unused=True)
        for tensor, gradient in zip(tensors, gradients, strict=True):
            if gradient is not None:
                tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient

    @torch.no_grad()
    def _restore_norms(self) -> None:
        for tensor, norm in zip(self._tensors(), self.norms, strict=True):
            tensor.mul_(norm / tensor.norm(dim=-1, keepdim=True).clamp_min(1e-12))

    @torch.no_grad()
    def evaluate(self, draws: int = 4) -> float:
        """The loss on the clean keyframes with fixed noise, at `draws` levels over the range."""
        cases = [(row, n) for row in range(self.count) for n in range(draws)]
        shape, seed = self.clean.shape[1:], self.settings.seed

        def losses(chosen: list[int]) -> Tensor:
            rows, numbers = zip(*(cases[i] for i in chosen), strict=True)
            drawn = zip(rows, numbers, strict=True)
            noise = [draw_noise(shape, seed, float(row), n) for row, n in drawn]
            places = (torch.tensor(numbers) + 0.5) / draws
            latents = self.clean[list(rows)]
            return self.loss(latents, torch.stack(noise).to(latents), places, list(rows))

        return self.batches.run(losses, len(cases)).mean().item()

    def snapshot(self) -> tuple[Text, Text]:
        """Copies of the positive and negative conditioning as they are now."""
        return tuple(
            text.map(lambda t: t.detach().clone()) for text in (self.positive, self.negative)
        )


def invert(
    model: LatentDiffusionModel,
    pictures: Tensor,
    positive: Text,
    negative: Text,
    settings: InversionSettings | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Inversion:
    """Learn the conditioning of all keyframes `(N, 3, h, w)` in 0..1 together.

    `positive` has N rows or one, `negative` one. `on_step(step, loss)` is called after every step
    with the latest loss of the fixed evaluation batch; what it raises ends the optimisation. Raises
    `ValueError` for settings out of range and `FloatingPointError` where the model gives numbers
    that are not finite.
    """
    settings = settings or InversionSettings()
    settings.check()
    _check_rows(len(pictures), positive)
    with torch.enable_grad():
        inverter = Inverter(model, pictures, positive, negative, settings)
        losses = {0: inverter.evaluate()}
        best = inverter.snapshot()
        for step in range(1, settings.steps + 1):
            inverter.step((step - 1) / settings.steps)
            if step % settings.evaluate_every == 0 or step == settings.steps:
                losses[step] = _finite(inverter.evaluate(), step)
                if losses[step] == min(losses.values()):
                    best = inverter.snapshot()
            if on_step:
                on_step(step, next(reversed(losses.values())))
    return Inversion(*best, losses)


def _finite(loss: float, step: int) -> float:
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise FloatingPointError(
            f"inversion: the loss is {loss} at step {step}; use float32 or a lower learning rate"
        )
    return loss


def _check_rows(pictures: int, positive: Text) -> None:
    if len(positive) not in (1, pictures):
        raise ValueError(
            f"positive: got {len(positive)} rows for {pictures} keyframes, want 1 or {pictures}"
        )


def _parameters(text: Text) -> Text:
    return text.map(lambda tensor: tensor.detach().clone().requires_grad_(True))


def augment(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Copies of pictures `(n, 3, h, w)` with the authors' changes.

    Brightness 0.1, contrast 0.2, saturation 0.2, hue 0.1, and a crop of 70 to 100 % of the area at
    nearly its own aspect ratio.
    """
    from torchvision.transforms import v2

    height, width = pictures.shape[2:]
    change = v2.Compose(
        [
            v2.ColorJitter(brightness=0.1, contrast=0.2, saturation=0.2, hue=0.1),
            v2.RandomResizedCrop(
                (height, width), scale=(0.7, 1.0), ratio=(0.9, 1.1), antialias=True
            ),
        ]
    )
    # torchvision draws from the global generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        return torch.stack([change(picture) for picture in pictures])
