"""The timesteps of diffusers' DDIM as a schedule of the contract."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..contract import Schedule

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, SchedulerMixin

CLEAN = -1
"""The point after the last timestep, where no noise is left."""


class DiffusersSchedule:
    """`steps` of DDIM over the noise schedule of any scheduler of Stable Diffusion.

    `ddim` is the scheduler that takes the steps. Raises `ValueError` for a noise schedule or a
    number of steps that DDIM cannot follow.
    """

    def __init__(self, scheduler: SchedulerMixin | Mapping[str, Any], steps: int) -> None:
        self.ddim = _ddim(scheduler, steps)
        self._grid = sorted(self.ddim.timesteps.tolist())

    def schedule(self, denoise: float) -> Schedule:
        """The timesteps from `denoise` on, and `CLEAN`.

        The first one is the last that is not above `denoise` times the training timesteps, or the
        lowest there is. Raises `ValueError` for a `denoise` outside of (0, 1].
        """
        if not 0 < denoise <= 1:
            raise ValueError(f"denoise: got {denoise}, needs more than 0, and 1 at most")
        # rounded, so that a number that went through float32 stays where it was
        place = round(denoise * self.ddim.config.num_train_timesteps, 3)
        count = max(bisect_right(self._grid, place), 1)
        return Schedule((*reversed(self._grid[:count]), CLEAN))

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        """`(sqrt(alphabar), sqrt(1 - alphabar))` at the first timestep."""
        timestep = schedule.points[0]
        if timestep == CLEAN:
            return 1.0, 0.0
        alphabar = self.ddim.alphas_cumprod[timestep].item()
        return alphabar**0.5, (1 - alphabar) ** 0.5


def _ddim(scheduler: SchedulerMixin | Mapping[str, Any], steps: int) -> DDIMScheduler:
    """A DDIM sampler (Song et al. 2021, eq. 12) on the noise schedule of any other.

    It never clips: latents are not bounded, and no pipeline of Stable Diffusion does, though it is
    the default of diffusers' DDIM.
    """
    from diffusers import DDIMScheduler

    config = dict(scheduler if isinstance(scheduler, Mapping) else scheduler.config)
    # for values named there diffusers would take DDIM's defaults, not the other scheduler's
    config.pop("_use_default_values", None)
    name, kind = config.get("_class_name"), config.get("prediction_type", "epsilon")
    if "beta_schedule" not in config:
        raise ValueError(f"scheduler: {name} has no beta_schedule, needs one of Stable Diffusion's")
    if kind not in ("epsilon", "v_prediction"):
        raise ValueError(f"scheduler: prediction_type is {kind!r}, needs epsilon or v_prediction")
    # DDIM steps back by a whole number of timesteps. With "linspace", and with "trailing" for most
    # numbers of steps, it would not land on the next one of its timesteps.
    if config.get("timestep_spacing", "leading") != "leading":
        config |= {"timestep_spacing": "leading", "steps_offset": 1}
    ddim = DDIMScheduler.from_config(config, clip_sample=False, thresholding=False)
    most = ddim.config.num_train_timesteps - 1
    if not 1 <= steps <= most:
        raise ValueError(f"steps: got {steps}, this noise schedule allows 1 to {most}")
    ddim.set_timesteps(steps)
    return ddim
