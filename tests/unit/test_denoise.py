"""What a denoise means, and the steps from it, in numbers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from diffusion_interpolation.demo.networks import flow_scheduler, scheduler
from diffusion_interpolation.models.denoise import noise_ratio, schedule_from
from diffusion_interpolation.models.diffusers.flow import FlowSchedule
from diffusion_interpolation.models.diffusers.sampling.schedule import CLEAN, DiffusersSchedule

DENOISES = [0.01, 0.05, 0.22, 0.3, 0.55, 0.8, 0.99, 1.0]


class Halves:
    """Sigmas of which each is half of the one before; new ones are even in sigma.

    Their noise-to-signal ratio is the sigma itself.
    """

    grid = (16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.0)

    def point(self, ratio: float) -> float:
        return min(ratio, 16.0)

    def spread(self, start: float, steps: int) -> list[float]:
        return [*(start * (1 - step / steps) for step in range(steps)), 0.0]


def test_the_ratio_is_stable_diffusions():
    assert noise_ratio(0.55) == pytest.approx(1.913, abs=5e-4)
    assert noise_ratio(0.30) == pytest.approx(0.832, abs=5e-4)
    # by the definition, at the timesteps that denoise * 999 hits
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = (1 - betas).cumprod(0)
    for timestep in (111, 333, 666, 888):
        want = ((1 - kept[timestep]) / kept[timestep]).sqrt().item()
        assert noise_ratio(timestep / 999) == pytest.approx(want, rel=1e-5)


def test_the_ratio_rises_without_end():
    ratios = [noise_ratio(step / 2000) for step in range(1, 2001)]
    assert all(low < high for low, high in itertools.pairwise(ratios))
    assert ratios[0] > 0.029 and ratios[-2] < 14.7 and ratios[-1] == math.inf


@pytest.mark.parametrize("denoise", [0.0, -0.1, 1.01, math.nan, math.inf])
def test_what_is_no_denoise_is_refused(denoise):
    with pytest.raises(ValueError, match=f"denoise: got {denoise}, needs more than 0, and 1 at"):
        noise_ratio(denoise)


def test_steps_begin_at_the_denoise_and_go_on_over_the_grid():
    ratio = noise_ratio(0.55)
    assert schedule_from(Halves(), 0.55).points == (ratio, 1.0, 0.5, 0.0)
    assert schedule_from(Halves(), 1.0).points == Halves.grid
    # less than half a unit is left to 0.5
    assert schedule_from(Halves(), 0.3).points == (noise_ratio(0.3), 0.5, 0.0)


def test_a_first_step_that_is_hardly_one_is_taken_with_the_next():
    """1.913 is 0.087 above 1.826; the step after that must be longer than four times as much."""

    class Near(Halves):
        grid = (4.0, 1.826, 1.5, 0.75, 0.0)

    class Nearer(Halves):
        grid = (4.0, 1.826, 1.4, 0.75, 0.0)

    ratio = noise_ratio(0.55)
    assert schedule_from(Near(), 0.55).points == (ratio, 1.826, 1.5, 0.75, 0.0)
    assert schedule_from(Nearer(), 0.55).points == (ratio, 1.4, 0.75, 0.0)


@pytest.mark.parametrize(("least", "steps"), [(1, 3), (3, 3), (4, 4), (7, 7)])
def test_there_are_as_many_steps_as_asked_for(least, steps):
    schedule = schedule_from(Halves(), 0.55, least)
    assert len(schedule) == steps and schedule.points[-1] == 0
    lengths = [high - low for high, low in itertools.pairwise(schedule.points)]
    assert min(lengths) > 0


def test_steps_from_noise_that_nobody_sees_do_not_count():
    """As the last one of ComfyUI's `normal`, which leads from 0.03 to 0."""

    class Ending(Halves):
        grid = (8.0, 1.0, 0.03, 0.0)

    ratio = noise_ratio(0.3)
    assert schedule_from(Ending(), 0.3).points == (ratio, 0.03, 0.0)
    assert schedule_from(Ending(), 0.3, 2).points == (ratio, ratio / 2, 0.0)


def test_new_steps_are_not_spent_on_noise_that_nobody_sees():
    """Where a schedule falls by the same factor all the way to almost nothing."""

    class Steep(Halves):
        def spread(self, start: float, steps: int) -> list[float]:
            return [*(start * 1e-4 ** (step / steps) for step in range(steps)), 0.0]

    ratio = noise_ratio(0.3)
    schedule = schedule_from(Steep(), 0.3, 4)
    assert len(schedule) == 4 and schedule.points[0] == ratio
    assert 0.1 < schedule.points[3] < 0.2


@pytest.mark.parametrize("denoise", [0.001, 0.01, 0.05])
def test_even_the_lowest_denoise_has_its_steps(denoise):
    assert len(schedule_from(Halves(), denoise, 3)) >= 3
    assert len(DiffusersSchedule(scheduler(), 20).schedule(denoise, 3)) >= 3


@pytest.mark.parametrize("steps", [1, 4, 8, 20, 50])
@pytest.mark.parametrize("shift", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("denoise", DENOISES)
def test_the_flow_has_the_ratio_whatever_its_shift(shift, steps, denoise):
    config = {**flow_scheduler().config, "shift": shift}
    flow = FlowSchedule(config, steps)
    for least in (1, 2, 4):
        schedule = flow.schedule(denoise, least)
        signal, sigma = flow.scales(schedule)
        assert signal + sigma == pytest.approx(1)
        assert sigma == pytest.approx(noise_ratio(denoise) * signal if denoise < 1 else 1)
        assert len(schedule) >= least and schedule.points[-1] == 0


@pytest.mark.parametrize("steps", [1, 4, 8, 20, 50])
@pytest.mark.parametrize("denoise", DENOISES)
def test_stable_diffusion_has_the_ratio(steps, denoise):
    ddim = DiffusersSchedule(scheduler(), steps)
    for least in (1, 2, 4):
        schedule = ddim.schedule(denoise, least)
        signal, sigma = ddim.scales(schedule)
        assert signal**2 + sigma**2 == pytest.approx(1)
        want = noise_ratio(denoise) if denoise < 1 else 14.6146
        assert sigma / signal == pytest.approx(want, rel=1e-4)
        assert len(schedule) >= least and schedule.points[-1] == CLEAN


def test_pure_noise_of_a_schedule_that_ends_in_it():
    """Of `rescale_betas_zero_snr` nothing is left at the last timestep."""
    zero = {**scheduler().config, "rescale_betas_zero_snr": True}
    ddim = DiffusersSchedule(zero, 20)
    schedule = ddim.schedule(1.0)
    assert schedule.points[0] == 999 and ddim.scales(schedule) == pytest.approx((0, 1), abs=3e-4)
    signal, sigma = ddim.scales(ddim.schedule(0.55))
    assert sigma / signal == pytest.approx(noise_ratio(0.55), rel=1e-4)


def test_new_steps_are_even_in_the_schedulers_own_time():
    flow = FlowSchedule(flow_scheduler().config, 4)
    sigmas = flow.schedule(0.3, 3).points
    times = [sigma / (3 - 2 * sigma) for sigma in sigmas]
    gaps = [high - low for high, low in itertools.pairwise(times)]
    assert gaps == pytest.approx([times[0] / 3] * 3)
    ddim = DiffusersSchedule(scheduler(), 2)
    first, second, third, end = ddim.schedule(0.3, 3).points
    assert (first - second, second - third) == pytest.approx((first / 3, first / 3))
    assert end == CLEAN
