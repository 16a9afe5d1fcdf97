"""The stages that train the flow transformer and its student of few steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import networks
from ..flow import sample_flow, shifted, velocity
from . import captions
from .batches import Bank
from .workshop import Workshop

TEACHER_STEPS = 32
STUDENT_STEPS = 8
TEACHER_CFG = 3.0
TRAJECTORIES, LARGE_TRAJECTORIES = 1024, 16_384


def _begin(model: nn.Module) -> nn.Module:
    """`model` with gates of zero: every block begins as the identity, as in adaLN-Zero."""
    for block in (*model.noise_refiner, *model.layers):
        nn.init.zeros_(block.norm1.linear.weight)
        nn.init.zeros_(block.norm1.linear.bias)
    nn.init.zeros_(model.norm_out.linear_1.weight)
    nn.init.zeros_(model.norm_out.linear_1.bias)
    return model


def train_flow(shop: Workshop) -> None:
    """Flow matching with captions, one in ten empty; most times lie in the middle of the noise."""
    bank, model = Bank(shop), networks.transformer()
    # a small gate lets gradients through where a gate of zero would also stop the block's own
    for block in (*_begin(model).noise_refiner, *model.layers):
        block.norm1.linear.bias.data.view(4, -1)[[1, 3]] = 0.1

    def loss(step: int) -> dict[str, Tensor]:
        latents, texts, _ = bank.batch("flow", step, 0.1)
        noise, places = bank.noise(latents, "flow", step)
        sigma = _training_sigma(places)
        noisy = latents.lerp(noise, sigma[:, None, None, None])
        way = velocity(model, noisy, sigma, *bank.texts.unpadded(texts))
        return {"loss": F.mse_loss(way.float(), noise - latents)}

    shop.fit("flow", model, loss)


def _training_sigma(places: Tensor) -> Tensor:
    """A logit-normal spread around sigma 0.65, from `places` spread evenly over 0..1."""
    normal = torch.special.ndtri(places.clamp(1e-4, 1 - 1e-4).double()).float()
    return (1.4 * normal + 0.6).sigmoid()


@torch.no_grad()
def _trajectories(shop: Workshop, bank: Bank, teacher: nn.Module) -> tuple[Tensor, Tensor]:
    """Ways of the guided teacher `(n, TEACHER_STEPS + 1, 4, h, w)` and their captions' numbers."""
    wanted = LARGE_TRAJECTORIES if shop.large else max(4, TRAJECTORIES * shop.bank // 40_000)
    ways, numbers, size = [], [], min(wanted, 1024 if shop.large else 32)
    for turn in range(-(-wanted // size)):
        generator = shop.generator("student", turn + 7_000_000)
        rows = torch.randint(len(bank.latents), (size,), generator=generator, device=shop.device)
        texts = captions.loose_numbers(bank.puppets[rows], generator)
        noise = torch.randn(size, *bank.latents.shape[1:], generator=generator, device=shop.device)
        empty = bank.texts.unpadded(torch.full_like(texts, captions.EMPTY))
        text = bank.texts.unpadded(texts)
        with shop.reduced("student"):
            way = list(sample_flow(teacher, noise, text, empty, TEACHER_CFG, TEACHER_STEPS))
        ways.append(torch.stack(way, dim=1).half())
        numbers.append(texts)
    return torch.cat(ways), torch.cat(numbers)


def train_student(shop: Workshop) -> None:
    """One step of the student goes where several steps of the guided teacher go.

    The student needs no guidance and `STUDENT_STEPS` steps, from wherever it begins.
    """
    bank, teacher = Bank(shop), shop.load("flow", networks.transformer())
    model = networks.transformer()
    model.load_state_dict(teacher.state_dict())
    ways, numbers = _trajectories(shop, bank, teacher)
    sigmas = shifted(torch.linspace(1, 0, TEACHER_STEPS + 1, device=shop.device))
    stride, count = TEACHER_STEPS // STUDENT_STEPS, shop.plans["student"].batch

    def loss(step: int) -> dict[str, Tensor]:
        generator = shop.generator("student", step)

        def lots(below: int) -> Tensor:
            return torch.randint(below, (count,), generator=generator, device=shop.device)

        rows, begin = lots(len(ways)), lots(TEACHER_STEPS)
        end = (begin + stride).clamp_max(TEACHER_STEPS)
        here, there = ways[rows, begin].float(), ways[rows, end].float()
        target = (there - here) / (sigmas[end] - sigmas[begin])[:, None, None, None]
        way = velocity(model, here, sigmas[begin], *bank.texts.unpadded(numbers[rows]))
        return {"loss": F.mse_loss(way.float(), target)}

    shop.fit("student", model, loss)
