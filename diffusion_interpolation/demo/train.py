"""Trains the demo from nothing: `python -m diffusion_interpolation.demo.train --work DIR`.

Stages run in order, each goes on from its last checkpoint in DIR, and `export` writes the fp16
weights that the package carries. Every step draws its data from (seed, stage, step) alone, so a
resumed run equals an unbroken one.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..files import replacing
from ..rerank import normalise
from . import networks, world

log = logging.getLogger(__name__)

FLAWS = ("a blurry picture", "a double exposure", "a noisy picture")
BANK = 40_000


@dataclass(frozen=True)
class Plan:
    """How long a stage trains: `steps` of `batch` pictures.

    The rate rises, holds, and falls to zero at the end. `half` computes in bfloat16 where that
    loses nothing; the weights stay in float32.
    """

    steps: int
    batch: int
    rate: float
    averaging: float = 0.998
    half: bool = False

    def rate_at(self, step: int) -> float:
        rise = min(1.0, (step + 1) / 100)
        fall = min(1.0, (self.steps - step) / (0.4 * self.steps))
        return self.rate * rise * fall


PLANS = {
    "clip": Plan(steps=900, batch=96, rate=1e-3),
    "reader": Plan(steps=3000, batch=64, rate=1.5e-3),
    "vae": Plan(steps=9000, batch=8, rate=1.5e-3, half=True),
    "unet": Plan(steps=8000, batch=32, rate=8e-4, averaging=0.999, half=True),
    "controlnet": Plan(steps=1500, batch=32, rate=8e-4, averaging=0.995, half=True),
}
ORDER = ("tokenizer", "clip", "reader", "vae", "bank", "unet", "controlnet", "export")


class Workshop:
    """The working folder of a training: checkpoints, finished stages, the seed."""

    def __init__(self, folder: Path, seed: int, device: str, scale: float) -> None:
        self.folder, self.seed, self.device = folder, seed, torch.device(device)
        self.plans = {
            name: replace(plan, steps=max(1, int(plan.steps * scale)))
            for name, plan in PLANS.items()
        }
        self.bank = max(64, int(BANK * scale))
        folder.mkdir(parents=True, exist_ok=True)

    def generator(self, stage: str, step: int) -> torch.Generator:
        """A generator of its own for every step of every stage."""
        place = ORDER.index(stage) * 10_000_000 + step
        return torch.Generator().manual_seed(self.seed * 1_000_000_007 + place)

    def load(self, stage: str, module: nn.Module) -> nn.Module:
        """`module` with the averaged weights of a finished stage, frozen."""
        state, wanted = _read(self.folder / f"{stage}.pt"), self.plans[stage].steps
        if state["step"] != wanted:
            raise ValueError(f"{stage}: is at step {state['step']} of {wanted}; finish it first")
        module.load_state_dict(state["average"])
        return module.to(self.device).eval().requires_grad_(False)

    def figures(self, stage: str) -> dict[str, float]:
        """Running means at the end of a stage: its loss, and what else it watches."""
        state = _read(self.folder / f"{stage}.pt")
        return {name: round(value, 5) for name, value in state["figures"].items()}

    def fit(self, stage: str, module: nn.Module, loss: Callable[[int], dict[str, Tensor]]) -> None:
        """Train `module` on the entry `loss` of `loss(step)`; keep an average of its weights."""
        plan = self.plans[stage]
        module.to(self.device, memory_format=torch.channels_last).train()
        precision = _Precision(module, self.device, plan.half)
        training = _Training(module, plan, self.folder / f"{stage}.pt")
        begun, first = time.monotonic(), training.step
        while training.step < plan.steps:
            with precision.reduced():
                parts = loss(training.step)
            training.advance(parts)
            if training.step % 50 == 0:
                pace = (time.monotonic() - begun) / (training.step - first)
                figures = " ".join(f"{name} {value:.5f}" for name, value in training.seen.items())
                log.info("%s %d/%d %s, %.2f s", stage, training.step, plan.steps, figures, pace)
            if training.step % 200 == 0 or training.step == plan.steps:
                training.save()


class _Training:
    """A module, its optimiser and the average of its weights, as they are in a checkpoint."""

    def __init__(self, module: nn.Module, plan: Plan, path: Path) -> None:
        self.module, self.plan, self.path, self.step = module, plan, path, 0
        self.seen: dict[str, float] = {}
        self.weights = [weights for weights in module.parameters() if weights.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=plan.rate, betas=(0.9, 0.99), weight_decay=0.01
        )
        self.average = torch.optim.swa_utils.AveragedModel(
            module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(plan.averaging)
        )
        if path.exists():
            self._go_on(_read(path))

    def _go_on(self, state: dict[str, Any]) -> None:
        self.step, self.seen = state["step"], state["figures"]
        self.module.load_state_dict(state["module"])
        self.average.module.load_state_dict(state["average"])
        self.average.n_averaged.fill_(self.step)
        self.optimizer.load_state_dict(state["optimizer"])

    def advance(self, parts: dict[str, Tensor]) -> None:
        """One step down the gradient of `loss`; all of `parts` are followed by running means."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate_at(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.module)
        self.step += 1
        for name, value in parts.items():
            self.seen[name] = 0.98 * self.seen.get(name, value.item()) + 0.02 * value.item()

    def save(self) -> None:
        """Write a checkpoint."""
        state = {
            "step": self.step,
            "figures": self.seen,
            "module": self.module.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        _write(self.path, state)


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True, map_location="cpu")


def _write(path: Path, state: dict[str, Any]) -> None:
    with replacing(path) as unfinished:
        torch.save(state, unfinished)


class _Precision:
    """Computes in bfloat16, but group norms and fused attention, which are slow in it on a CPU."""

    def __init__(self, module: nn.Module, device: torch.device, half: bool) -> None:
        self.device, self.half = device, half
        for part in module.modules() if half else ():
            if isinstance(part, nn.GroupNorm):
                part.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))

    def reduced(self) -> ExitStack:
        stack = ExitStack()
        if self.half:
            stack.enter_context(torch.autocast(self.device.type, torch.bfloat16))
            if self.device.type == "cpu":
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        return stack


def spoil(pictures: Tensor, generator: torch.Generator) -> tuple[Tensor, list[str]]:
    """Flawed copies of pictures and their captions, so that a negative prompt has a meaning."""
    kinds = torch.randint(len(FLAWS), (len(pictures),), generator=generator)
    small = F.interpolate(pictures, scale_factor=0.2, mode="area")
    blurry = F.interpolate(small, size=pictures.shape[-2:], mode="bicubic").clamp(0, 1)
    double = pictures.lerp(pictures.flip(0), 0.5)
    noise = 0.15 * torch.randn(pictures.shape, generator=generator)
    choices = torch.stack([blurry, double, (pictures + noise).clamp(0, 1)])
    return choices[kinds, torch.arange(len(pictures))], [FLAWS[k] for k in kinds.tolist()]


def loose_captions(puppets: Tensor, generator: torch.Generator) -> list[str]:
    """Captions with parts left out at random, as people write them."""
    bodies, backs = (
        world.colour_words(puppets[:, world.BODY]),
        world.colour_words(puppets[:, world.BACK]),
    )
    hats, arms = world.hat_words(puppets), world.arm_words(puppets)
    keep = torch.rand(len(puppets), 3, generator=generator) < torch.tensor([0.9, 0.5, 0.9])
    return [
        world.caption(body, hat if k[0] else None, arm if k[1] else None, back if k[2] else None)
        for body, hat, arm, back, k in zip(bodies, hats, arms, backs, keep.tolist(), strict=True)
    ]


def corpus() -> list[str]:
    """Every word the captions use."""
    words = [
        world.caption(b, h, a, c)
        for b in world.COLOURS
        for h in world.HATS
        for a in world.ARMS
        for c in ("red",)
    ]
    return words + [world.caption("red", None, None, c) for c in world.COLOURS] + list(FLAWS)


def _tokenizer(shop: Workshop):
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(shop.folder / "tokenizer")


def train_tokenizer(shop: Workshop) -> None:
    networks.write_tokenizer(corpus(), shop.folder / "tokenizer")


def _mixed_batch(
    shop: Workshop, stage: str, step: int, count: int, flawed: float
) -> tuple[Tensor, list[str]]:
    """Pictures and loose captions; the share `flawed` of them spoiled."""
    generator = shop.generator(stage, step)
    puppets = world.sample(count, generator)
    pictures = world.render(puppets, networks.SIZE)
    words = loose_captions(puppets, generator)
    bad = int(count * flawed)
    pictures[:bad], words[:bad] = spoil(pictures[:bad], generator)
    return pictures, words


def train_clip(shop: Workshop) -> None:
    """Contrastive training; equal captions of one batch count as right for each other."""
    tokenizer = _tokenizer(shop)
    model = networks.clip(len(tokenizer))

    def loss(step: int) -> dict[str, Tensor]:
        pictures, words = _mixed_batch(shop, "clip", step, shop.plans["clip"].batch, 0.12)
        ids = networks.tokenize(tokenizer, words).to(shop.device)
        out = model(input_ids=ids, pixel_values=normalise(pictures.to(shop.device), networks.SIZE))
        same = (ids[:, None] == ids[None]).all(-1).float()
        target = same / same.sum(1, keepdim=True)
        scores = out.logits_per_image
        both = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
        right = target.gather(1, scores.argmax(1, keepdim=True)).gt(0).float().mean()
        return {"loss": both, "right": right}

    shop.fit("clip", model, loss)


def train_reader(shop: Workshop) -> None:
    """Regression of all numbers, with joints weighted by where they end up in the picture."""
    model = networks.Reader()

    def loss(step: int) -> dict[str, Tensor]:
        generator = shop.generator("reader", step)
        puppets = world.sample(shop.plans["reader"].batch, generator)
        pictures = _weathered(world.render(puppets, networks.SIZE), generator)
        truth = puppets.to(shop.device)
        read = model(pictures.to(shop.device))
        numbers = F.smooth_l1_loss((read - truth) / model.spread, torch.zeros_like(truth), beta=0.1)
        places = (world.joints(read) - world.joints(truth)).norm(dim=-1).mean()
        return {"loss": numbers + 20 * places, "joints": places}

    shop.fit("reader", model, loss)


def _weathered(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Slightly soft and noisy copies, like what an autoencoder gives back."""
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.rand(len(pictures), 1, 1, 1, generator=generator)
    noise = 0.04 * torch.rand(len(pictures), 1, 1, 1, generator=generator)
    return pictures.lerp(soft, share) + noise * torch.randn(pictures.shape, generator=generator)


def train_vae(shop: Workshop) -> None:
    """Squared error and a little KL; the latents are scaled when the bank is made."""
    model = networks.autoencoder()
    # begin almost without noise in the latents: it would drown the signal for the first thousand
    # steps
    nn.init.zeros_(model.quant_conv.weight[4:].data)
    nn.init.constant_(model.quant_conv.bias[4:].data, -6.0)

    def loss(step: int) -> dict[str, Tensor]:
        pictures, _ = _mixed_batch(shop, "vae", step, shop.plans["vae"].batch, 0.0)
        target = pictures.to(shop.device, memory_format=torch.channels_last) * 2 - 1
        posterior = model.encode(target).latent_dist
        latents = posterior.sample(generator=shop.generator("vae", step + 5_000_000))
        error = F.mse_loss(model.decode(latents).sample, target)
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return {"loss": error + 1e-5 * kl, "psnr": -10 * (error.detach() / 4).log10(), "kl": kl}

    shop.fit("vae", model, loss)


@torch.no_grad()
def standardise(model: nn.Module, pictures: Tensor) -> None:
    """Fold shift and scale into the 1 x 1 convolutions.

    Afterwards latents times `LATENT_SCALE` have mean 0 and variance 1.
    """
    latents = torch.cat(
        [model.encode(part * 2 - 1).latent_dist.mean for part in pictures.split(64)]
    )
    mean, scale = latents.mean((0, 2, 3)), latents.std((0, 2, 3)) * networks.LATENT_SCALE
    encode, decode = model.quant_conv, model.post_quant_conv
    count = len(mean)
    encode.bias[:count] -= mean
    encode.weight[:count] /= scale[:, None, None, None]
    encode.bias[:count] /= scale
    encode.bias[count:] -= 2 * scale.log()
    decode.bias += (decode.weight[:, :, 0, 0] * mean).sum(1)
    decode.weight *= scale[None, :, None, None]


@torch.no_grad()
def make_bank(shop: Workshop) -> None:
    """Encode a fixed set of pictures once; keep their latents and their puppets' numbers."""
    path = shop.folder / "bank.pt"
    if path.exists():
        return
    vae = shop.load("vae", networks.autoencoder())
    generator = shop.generator("bank", 0)
    puppets = world.sample(shop.bank, generator)
    pictures = torch.cat([world.render(part, networks.SIZE) for part in puppets.split(64)])
    flawed = shop.bank // 25
    pictures[:flawed], flaws = spoil(pictures[:flawed], generator)
    standardise(vae, pictures[-2048:].to(shop.device))
    encoded = [
        vae.encode(p.to(shop.device) * 2 - 1).latent_dist.mean.cpu() for p in pictures.split(64)
    ]
    latents = torch.cat(encoded) * networks.LATENT_SCALE
    _write(shop.folder / "vae_standard.pt", vae.state_dict())
    _write(path, {"puppets": puppets, "latents": latents, "flaws": flaws})


class Bank:
    """Batches of clean latents with the text tower's states of their captions."""

    def __init__(self, shop: Workshop) -> None:
        bank = _read(shop.folder / "bank.pt")
        if len(bank["latents"]) != shop.bank:
            raise ValueError(
                f"bank: holds {len(bank['latents'])}, want {shop.bank}; remove bank.pt"
            )
        self.puppets, self.latents, self.flaws = bank["puppets"], bank["latents"], bank["flaws"]
        self.shop, self.tokenizer = shop, _tokenizer(shop)
        self.text = shop.load("clip", networks.clip(len(self.tokenizer))).text_model
        self.states: dict[str, Tensor] = {}

    @torch.no_grad()
    def text_states(self, words: list[str]) -> Tensor:
        """`(n, TOKENS, 128)`; every caption is encoded once."""
        new = [word for word in dict.fromkeys(words) if word not in self.states]
        if new:
            ids = networks.tokenize(self.tokenizer, new).to(self.shop.device)
            self.states.update(zip(new, self.text(ids).last_hidden_state, strict=True))
        return torch.stack([self.states[word] for word in words])

    def batch(self, stage: str, step: int, unconditional: float) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, text states and the numbers of the puppets; a share of the captions is empty."""
        generator = self.shop.generator(stage, step)
        rows = torch.randint(
            len(self.latents), (self.shop.plans[stage].batch,), generator=generator
        )
        puppets = self.puppets[rows]
        words = loose_captions(puppets, generator)
        drop = torch.rand(len(rows), generator=generator) < unconditional
        for i, row in enumerate(rows.tolist()):
            if row < len(self.flaws):
                words[i] = self.flaws[row]
            if drop[i]:
                words[i] = ""
        return self.latents[rows].to(self.shop.device), self.text_states(words), puppets

    def noised(self, latents: Tensor, stage: str, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents, their timesteps, and the target v."""
        scheduler = networks.scheduler()
        generator = self.shop.generator(stage, step + 5_000_000)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        # stratified over the batch: every step sees the whole schedule
        places = (torch.arange(len(latents)) + torch.rand(len(latents), generator=generator)) / len(
            latents
        )
        timesteps = (places * 1000).long().to(latents.device)
        noisy = scheduler.add_noise(latents, noise, timesteps)
        return noisy, timesteps, scheduler.get_velocity(latents, noise, timesteps)


def train_unet(shop: Workshop) -> None:
    """Denoising with captions, one in ten empty."""
    bank, model = Bank(shop), networks.unet()

    def loss(step: int) -> dict[str, Tensor]:
        latents, text, _ = bank.batch("unet", step, 0.1)
        noisy, timesteps, target = bank.noised(latents, "unet", step)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        return {"loss": F.mse_loss(model(noisy, timesteps, text).sample, target)}

    shop.fit("unet", model, loss)


def train_controlnet(shop: Workshop) -> None:
    """A ControlNet on drawn skeletons, grown from the finished denoiser, which stays as it is."""
    from diffusers import ControlNetModel

    from ..pose import draw_batch

    bank, base = Bank(shop), shop.load("unet", networks.unet())
    model = ControlNetModel.from_unet(base)
    model.requires_grad_(True)
    hint_size = networks.SIZE // 4 * 8  # the hint network of every ControlNet shrinks eight times

    def loss(step: int) -> dict[str, Tensor]:
        latents, text, puppets = bank.batch("controlnet", step, 0.3)
        noisy, timesteps, target = bank.noised(latents, "controlnet", step)
        hint = draw_batch(world.poses(puppets, hint_size), hint_size, hint_size).to(shop.device)
        down, middle = model(noisy, timesteps, text, hint, return_dict=False)
        out = base(
            noisy,
            timesteps,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        )
        return {"loss": F.mse_loss(out.sample, target)}

    shop.fit("controlnet", model, loss)


def export(shop: Workshop) -> None:
    """Write the fp16 weights as a diffusers pipeline with ControlNet, CLIP and reader beside it."""
    from diffusers import ControlNetModel, StableDiffusionPipeline
    from safetensors.torch import save_file

    folder, tokenizer = shop.folder / "weights", _tokenizer(shop)
    clip = shop.load("clip", networks.clip(len(tokenizer)))
    vae = networks.autoencoder()
    vae.load_state_dict(_read(shop.folder / "vae_standard.pt"))
    unet = shop.load("unet", networks.unet())
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=clip.text_model,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=networks.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder)
    shop.load("controlnet", ControlNetModel.from_unet(unet)).half().save_pretrained(
        folder / "controlnet"
    )
    clip.half().save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    reader = shop.load("reader", networks.Reader()).half()
    save_file(reader.state_dict(), folder / "reader.safetensors")
    record = {
        "seed": shop.seed,
        "bank": shop.bank,
        "stages": {
            stage: {**asdict(plan), "figures": shop.figures(stage)}
            for stage, plan in shop.plans.items()
        },
    }
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument(
        "--stages", nargs="+", choices=ORDER, default=ORDER, help="which stages, in order"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of all step counts; 0.01 is a smoke test"
    )
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    shop = Workshop(options.work, options.seed, options.device, options.scale)
    run = {
        "tokenizer": train_tokenizer,
        "clip": train_clip,
        "reader": train_reader,
        "vae": train_vae,
        "bank": make_bank,
        "unet": train_unet,
        "controlnet": train_controlnet,
        "export": export,
    }
    for stage in options.stages:
        torch.manual_seed(options.seed)
        run[stage](shop)


if __name__ == "__main__":
    main()
