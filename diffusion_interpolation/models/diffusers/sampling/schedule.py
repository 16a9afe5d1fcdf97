"""The timesteps of diffusers' DDIM as a schedule of the contract."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...contract import Schedule
from ...denoise import schedule_from

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, SchedulerMixin

CLEAN = -1
"""The point after the last timestep, where no noise is left."""

_LEAST_KEPT = 2**-24
"""The share of a latent's variance that is left at the last timestep, where a noise schedule says
0; diffusers' Euler sampler takes the same."""


class DiffusersSchedule:
    """`steps` of DDIM over the noise schedule of any scheduler of Stable Diffusion.

    Points are timesteps, also between two whole ones. Raises `ValueError` for a noise schedule or
    a number of steps that DDIM cannot follow.
    """

    def __init__(self, scheduler: SchedulerMixin | Mapping[str, Any], steps: int) -> None:
        ddim = _ddim(scheduler, steps)
        self.grid = (*map(float, ddim.timesteps.tolist()), CLEAN)
        self._predicts_v = ddim.config.prediction_type == "v_prediction"
        kept = ddim.alphas_cumprod.double().clamp_min(_LEAST_KEPT)
        self._log_ratios = ((1 / kept - 1).log() / 2).tolist()
        self._kept_at_end = float(ddim.final_alpha_cumprod)

    def schedule(self, denoise: float, min_steps: int = 1) -> Schedule:
        """The timesteps from that of `denoise` on, and `CLEAN` (`schedule_from`)."""
        return schedule_from(self, denoise, min_steps)

    def point(self, ratio: float) -> float:
        """The timestep with this noise-to-signal ratio, its logarithm linear between two."""
        logs, log = self._log_ratios, math.log(ratio)
        above = bisect_left(logs, log)
        if above in (0, len(logs)):
            return float(min(above, len(logs) - 1))
        low, high = logs[above - 1 : above + 1]
        return above - 1 + (log - low) / (high - low)

    def spread(self, start: float, steps: int) -> list[float]:
        """Timesteps that are evenly spaced from `start` to 0, of which `CLEAN` takes the place."""
        return [*(start * (1 - step / steps) for step in range(steps)), CLEAN]

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        """`(sqrt(alphabar), sqrt(1 - alphabar))` at the first timestep."""
        return self.scales_at(schedule.points[0])

    def scales_at(self, timestep: float) -> tuple[float, float]:
        """As `scales`, at `timestep`."""
        if timestep == CLEAN:
            return 1.0, 0.0
        below = int(timestep)
        low, high = self._log_ratios[below], self._log_ratios[math.ceil(timestep)]
        return _scales(1 / (1 + math.exp(2 * (low + (timestep - below) * (high - low)))))

    def landing_scales(self, timestep: float) -> tuple[float, float]:
        """As `scales_at`, where a step of DDIM ends: some schedules leave a rest of noise."""
        return _scales(self._kept_at_end) if timestep == CLEAN else self.scales_at(timestep)

    def read(self, output: Tensor, noisy: Tensor, scales: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
        """The denoised prediction and the noise that the network's `output` for `noisy` says.

        From v it is `a x - s v` and `a v + s x`, with `(a, s)` the `scales` (Salimans and Ho 2022,
        appendix D).
        """
        a, s = scales
        if self._predicts_v:
            return a * noisy - s * output, a * output + s * noisy
        return (noisy - s * output) / a, output


def _scales(kept: float) -> tuple[float, float]:
    """Signal and noise where the share `kept` of a latent's variance is left."""
    return math.sqrt(kept), math.sqrt(1 - kept)


def _ddim(scheduler: SchedulerMixin | Mapping[str, Any], steps: int) -> DDIMScheduler:
    """DDIM's timesteps (Song et al. 2021) on the noise schedule of any other scheduler."""
    from diffusers import DDIMScheduler

    config = dict(scheduler if isinstance(scheduler, Mapping) else scheduler.config)
    # for values named there diffusers would take DDIM's defaults, not the other scheduler's
    config.pop("_use_default_values", None)
    name, kind = config.get("_class_name"), config.get("prediction_type", "epsilon")
    if "beta_schedule" not in config:
        raise ValueError(f"scheduler: {name} has no beta_schedule, needs one of Stable Diffusion's")
    if kind not in ("epsilon", "v_prediction"):
        raise ValueError(f"scheduler: prediction_type is {kind!r}, needs epsilon or v_prediction")
    # the paper's spacing, and ComfyUI's ddim_uniform, whatever spacing other samplers like
    if config.get("timestep_spacing", "leading") != "leading":
        config |= {"timestep_spacing": "leading", "steps_offset": 1}
    ddim = DDIMScheduler.from_config(config)
    most = ddim.config.num_train_timesteps - 1
    if not 1 <= steps <= most:
        raise ValueError(f"steps: got {steps}, this noise schedule allows 1 to {most}")
    ddim.set_timesteps(steps)
    return ddim
