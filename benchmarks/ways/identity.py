"""This package's own way with a LoRA of each keyframe, as DiffMorpher has, mixed by position."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diffusion_interpolation.models.contract import Guidance, Sampled, Schedule
from diffusion_interpolation.presets import MATCHED

from .corresponding import moved
from .diffmorpher import Lora, applied, learned
from .inversion import Ladder
from .peers import denoiser
from .registry import ROWS, Task, maker


class AdaptedModel:
    """A model whose network has, for each latent, the mix of its two keyframes' LoRAs."""

    def __init__(self, model: Any, lora: Lora) -> None:
        self._model, self._lora, self._network = model, lora, denoiser(model)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Denoise in the model's own batches, so that a batch of the network has one LoRA a row."""
        made = []
        for batch in torch.arange(len(noisy)).split(self._model.max_batch):
            rows = batch.tolist()
            part = guidance.rows(rows)
            with applied(self._network, self._mixed(part.positions, len(part.texts()))):
                made.append(self._model.sample(noisy[rows], schedule, part))
        return Sampled(*(torch.cat(parts) for parts in zip(*made, strict=True)))

    def _mixed(self, positions: list[float], passes: int) -> Lora:
        """The LoRAs of rows at `positions`, as often as the network runs on all rows at once."""
        first = [min(int(position), len(self._rows) - 2) for position in positions]
        share = torch.tensor([p - i for p, i in zip(positions, first, strict=True)])

        def mixed(of_keyframes: Tensor) -> Tensor:
            after = of_keyframes[[i + 1 for i in first]]
            weights = share.to(of_keyframes)[:, None, None]
            return of_keyframes[first].lerp(after, weights).repeat(passes, 1, 1)

        return {name: (mixed(down), mixed(up)) for name, (down, up) in self._lora.items()}

    @property
    def _rows(self) -> Tensor:
        return next(iter(self._lora.values()))[1]


@maker("moved, LoRA", rows="identity", posed=False)
def moved_with_lora(task: Task) -> Tensor:
    """Move along a correspondence, and draw each frame under the mix of two LoRAs."""
    lora = learned(Ladder.of(task.model), task, task.model.encode(task.pictures))
    return moved(replace(task, model=AdaptedModel(task.model, lora)))


ROWS["identity"] = {
    f"moved, LoRA{more}": {"maker": "moved, LoRA", "posed": False, **MATCHED, **options}
    for more, options in ((", denoise 0.35 to 0.15", {}), (" of 50 steps", {"lora_steps": 50}))
}
