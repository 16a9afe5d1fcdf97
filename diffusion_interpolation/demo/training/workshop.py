"""How a stage of the training runs: its plan, its checkpoints, its seeds, its precision."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...files import replacing

log = logging.getLogger(__name__)

BANK, LARGE_BANK = 40_000, 150_000
# the student is exported as a LoRA alone, and begins with its teacher's weights
EXPORTED = {
    "clip": "clip/model.safetensors",
    "reader": "reader.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "controlnet": "controlnet/diffusion_pytorch_model.safetensors",
    "flow": "flow/transformer/diffusion_pytorch_model.safetensors",
}
LOG_SECONDS, SAVE_SECONDS = 15.0, 60.0


@dataclass(frozen=True)
class Plan:
    """How long a stage trains: `steps` of `batch` pictures, or of `large` ones on a GPU.

    The rate rises, holds, and falls to zero at the end. `half` computes in bfloat16 on a GPU; the
    weights stay in float32, and so does everything on a CPU.
    """

    steps: int
    batch: int
    rate: float
    averaging: float = 0.998
    half: bool = False
    large: int = 256

    def rate_at(self, step: int, progress: float | None = None) -> float:
        """The rate at a step, at the fraction `progress` of the stage if time is what limits it."""
        progress = step / self.steps if progress is None else progress
        rise = min(1.0, (step + 1) / 100)
        fall = min(1.0, max(0.0, 1 - progress) / 0.4)
        return self.rate * rise * fall


PLANS = {
    "clip": Plan(steps=1500, batch=96, rate=1e-3, half=True, large=512),
    "reader": Plan(steps=6000, batch=48, rate=1.5e-3, large=256),
    "vae": Plan(steps=9000, batch=8, rate=1.5e-3, half=True, large=32),
    "unet": Plan(steps=8000, batch=32, rate=1e-3, averaging=0.999, half=True, large=256),
    "controlnet": Plan(steps=1500, batch=32, rate=8e-4, averaging=0.995, half=True, large=256),
    "flow": Plan(steps=10000, batch=32, rate=1e-3, averaging=0.999, half=True, large=384),
    "student": Plan(steps=2000, batch=32, rate=4e-4, averaging=0.995, half=True, large=384),
}
ORDER = (
    *("tokenizer", "clip", "reader", "vae", "bank", "unet", "controlnet"),
    *("flow", "student", "export"),
)


class Workshop:
    """The working folder of a training: checkpoints, finished stages, the seed.

    `seconds` limits stages by time instead of by steps; the rate then falls with the time. Stages
    without a checkpoint begin with the weights that an earlier training exported to `begin`.
    `batch` is the number of pictures in a batch of every stage, in place of the plans' own.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        device: str,
        scale: float,
        seconds: Mapping[str, float] | None = None,
        begin: Path | None = None,
        batch: int | None = None,
    ) -> None:
        self.folder, self.seed, self.device = folder, seed, torch.device(device)
        self.begin = begin
        self.large = self.device.type == "cuda"
        self.seconds = dict(seconds or {})
        self.plans = {
            name: replace(
                plan,
                steps=max(1, int(plan.steps * scale)),
                batch=batch or (plan.large if self.large else plan.batch),
            )
            for name, plan in PLANS.items()
        }
        self.bank = max(32, int((LARGE_BANK if self.large else BANK) * scale))
        folder.mkdir(parents=True, exist_ok=True)

    def generator(self, stage: str, step: int) -> torch.Generator:
        """A generator of its own for every step of every stage."""
        place = ORDER.index(stage) * 10_000_000 + step
        return torch.Generator(self.device).manual_seed(self.seed * 1_000_000_007 + place)

    def load(self, stage: str, module: nn.Module) -> nn.Module:
        """`module` with the averaged weights of a finished stage, frozen."""
        state, wanted = read(self.folder / f"{stage}.pt"), self.plans[stage].steps
        if not state["finished"]:
            raise ValueError(f"{stage}: is at step {state['step']} of {wanted}; finish it first")
        module.load_state_dict(state["average"])
        return module.to(self.device).eval().requires_grad_(False)

    def completed(self, stage: str) -> bool:
        """Whether a stage has a checkpoint of its end."""
        path = self.folder / f"{stage}.pt"
        return path.exists() and read(path)["finished"]

    def record(self, stage: str) -> dict[str, Any]:
        """Steps, pictures and seconds of a stage, and running means at its end."""
        state = read(self.folder / f"{stage}.pt")
        means = {name: round(float(value), 5) for name, value in state["figures"].items()}
        return {"trained": state["step"], "seconds": round(state["seconds"], 1), "figures": means}

    def reduced(self, stage: str) -> AbstractContextManager:
        """The precision that a stage computes in."""
        if self.large and self.plans[stage].half:
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def fit(self, stage: str, module: nn.Module, loss: Callable[[int], dict[str, Tensor]]) -> None:
        """Train `module` on the entry `loss` of `loss(step)`; keep an average of its weights."""
        module.to(self.device).train()
        if not self.large:
            module.to(memory_format=torch.channels_last)
        path = self.folder / f"{stage}.pt"
        if self.begin is not None and stage in EXPORTED and not path.exists():
            module.load_state_dict(load_file(self.begin / EXPORTED[stage]))
        training = Training(module, self.plans[stage], path, self.seconds.get(stage))
        clock = _Clock()
        while not training.completed:
            with self.reduced(stage):
                parts = loss(training.step)
            training.advance(parts)
            if clock.due("log", LOG_SECONDS) or training.step == 1:
                log.info("%s %s", stage, training)
            if clock.due("save", SAVE_SECONDS):
                training.save()
        training.save()
        log.info("%s finished: %s", stage, training)


class _Clock:
    def __init__(self) -> None:
        self.last: dict[str, float] = {}

    def due(self, what: str, seconds: float) -> bool:
        """Whether `seconds` have gone by since this was last so."""
        now = time.monotonic()
        if now - self.last.setdefault(what, now) < seconds:
            return False
        self.last[what] = now
        return True


class Training:
    """A module, its optimiser and the average of its weights, as they are in a checkpoint."""

    def __init__(
        self, module: nn.Module, plan: Plan, path: Path, seconds: float | None = None
    ) -> None:
        self.module, self.plan, self.path, self.limit = module, plan, path, seconds
        self.step, self.seconds, self.begun = 0, 0.0, time.monotonic()
        self.seen: dict[str, Tensor] = {}
        self.weights = [weights for weights in module.parameters() if weights.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.weights,
            lr=plan.rate,
            betas=(0.9, 0.99),
            weight_decay=0.01,
            fused=self.weights[0].device.type == "cuda",
        )
        self.average = copy.deepcopy(module).requires_grad_(False)
        self.averaged = [
            average
            for average, weights in zip(self.average.parameters(), module.parameters(), strict=True)
            if weights.requires_grad
        ]
        if path.exists():
            self._go_on(read(path))

    def _go_on(self, state: dict[str, Any]) -> None:
        self.step, self.seen, self.seconds = state["step"], state["figures"], state["seconds"]
        self.seen = {name: mean.to(self.weights[0].device) for name, mean in self.seen.items()}
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    @property
    def elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.begun

    @property
    def progress(self) -> float:
        """The fraction of the stage that is done, by time if there is a limit of time."""
        return self.elapsed / self.limit if self.limit else self.step / self.plan.steps

    @property
    def completed(self) -> bool:
        return self.progress >= 1

    def advance(self, parts: dict[str, Tensor]) -> None:
        """One step down the gradient of `loss`; all of `parts` are followed by running means."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate_at(self.step, self.progress)
        self.optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        kept = min(self.plan.averaging, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.averaged, [w.detach() for w in self.weights], 1 - kept)
        self.step += 1
        # on the device: reading a number would wait for all that is queued there
        for name, value in parts.items():
            mean = value.detach().float()
            self.seen[name] = self.seen.get(name, mean).lerp(mean, 0.02)

    def __str__(self) -> str:
        figures = " ".join(f"{name} {float(value):.5f}" for name, value in self.seen.items())
        pace = 1000 * self.elapsed / max(1, self.step)
        return f"step {self.step}, {100 * self.progress:.0f} %: {figures}, {pace:.1f} ms a step"

    def save(self) -> None:
        """Write a checkpoint."""
        state = {
            "step": self.step,
            "seconds": self.elapsed,
            "finished": self.completed,
            "figures": self.seen,
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write(self.path, state)


def read(path: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """A checkpoint, its tensors on `device`."""
    return torch.load(path, weights_only=True, map_location=device)


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    with replacing(path) as unfinished:
        torch.save(state, unfinished)
