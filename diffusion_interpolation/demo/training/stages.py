"""The stages of the training but the flow transformer's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...scoring.clip import normalise
from .. import networks, world
from . import captions
from .batches import HINTS, Bank, Pictures, caption_ids, tokenizer, weathered
from .workshop import Workshop, write


def train_tokenizer(shop: Workshop) -> None:
    """A vocabulary of the captions' words, and the token ids of all captions."""
    if (shop.folder / "captions.pt").exists():
        return
    texts = list(captions.all_captions())
    folder = shop.folder / "tokenizer"
    if not folder.exists():
        # a few captions hold every word; no step of 23 is in time with the lengths of the parts
        few = [*texts[: captions.FIRST_PUPPET], *texts[captions.FIRST_PUPPET :: 23]]
        networks.write_tokenizer(few, folder)
    ids = networks.tokenize(tokenizer(shop), texts)
    write(shop.folder / "captions.pt", {"ids": ids.short()})


def train_clip(shop: Workshop) -> None:
    """Contrastive training; equal captions of one batch count as right for each other."""
    ids = caption_ids(shop)
    model = networks.clip(len(tokenizer(shop)))
    pool = Pictures(shop, "clip", flawed=0.12)

    def loss(step: int) -> dict[str, Tensor]:
        pictures, _, texts = pool.batch(step)
        out = model(input_ids=ids[texts], pixel_values=normalise(pictures, networks.SIZE))
        same = (texts[:, None] == texts[None]).float()
        target = same / same.sum(1, keepdim=True)
        scores = out.logits_per_image.float()
        both = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
        right = target.gather(1, scores.argmax(1, keepdim=True)).gt(0).float().mean()
        return {"loss": both, "right": right}

    shop.fit("clip", model, loss)


def train_reader(shop: Workshop) -> None:
    """Regression of all numbers, with joints weighted by where they end up in the picture."""
    model, pool = networks.Reader(), Pictures(shop, "reader")

    def loss(step: int) -> dict[str, Tensor]:
        pictures, truth, _ = pool.batch(step)
        read = model(weathered(pictures, shop.generator("reader", step + 5_000_000)))
        numbers = F.smooth_l1_loss((read - truth) / model.spread, torch.zeros_like(truth), beta=0.1)
        places = (world.joints(read) - world.joints(truth)).norm(dim=-1).mean()
        return {"loss": numbers + 20 * places, "joints": places}

    shop.fit("reader", model, loss)


def train_vae(shop: Workshop) -> None:
    """Squared error, a little absolute error of pixels and edges, which is sharper, and KL.

    The latents are scaled when the bank is made.
    """
    model, pool = networks.autoencoder(), Pictures(shop, "vae")
    # begin almost without noise in the latents: it would drown the signal for the first thousand
    # steps
    nn.init.zeros_(model.quant_conv.weight[4:].data)
    nn.init.constant_(model.quant_conv.bias[4:].data, -6.0)

    def loss(step: int) -> dict[str, Tensor]:
        target = pool.batch(step)[0] * 2 - 1
        posterior = model.encode(target).latent_dist
        latents = posterior.sample(generator=shop.generator("vae", step + 5_000_000))
        wrong = model.decode(latents).sample.float() - target
        error, edges = wrong.square().mean(), wrong.diff(dim=2).abs().mean()
        edges = edges + wrong.diff(dim=3).abs().mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        sharp = 0.05 * (wrong.abs().mean() + edges)
        psnr = -10 * (error.detach() / 4).log10()
        return {"loss": error + sharp + 1e-5 * kl, "psnr": psnr, "kl": kl}

    shop.fit("vae", model, loss)


class Noiser:
    """Stable Diffusion's noise, for training."""

    def __init__(self, bank: Bank) -> None:
        self.bank, self.scheduler = bank, networks.scheduler()
        self.scheduler.alphas_cumprod = self.scheduler.alphas_cumprod.to(bank.shop.device)

    def __call__(self, latents: Tensor, stage: str, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents, their timesteps, and the target v."""
        noise, places = self.bank.noise(latents, stage, step)
        timesteps = (places * 1000).long()
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        return noisy, timesteps, self.scheduler.get_velocity(latents, noise, timesteps)


def train_unet(shop: Workshop) -> None:
    """Denoising with captions, one in ten empty."""
    bank, model = Bank(shop), networks.unet()
    noised = Noiser(bank)

    def loss(step: int) -> dict[str, Tensor]:
        latents, texts, _ = bank.batch("unet", step, 0.1)
        noisy, timesteps, target = noised(latents, "unet", step)
        out = model(noisy, timesteps, bank.texts.states(texts)).sample
        return {"loss": F.mse_loss(out.float(), target)}

    shop.fit("unet", model, loss)


def _skeletons(puppets: Tensor) -> Tensor:
    """Hints `(n, 3, SIZE, SIZE)` in 0..255: every ControlNet's hint network shrinks 8 times."""
    from ...poses.pose import draw_batch

    size = networks.SIZE
    return (draw_batch(world.poses(puppets, size), size, size) * 255).round().to(torch.uint8)


def train_controlnet(shop: Workshop) -> None:
    """A ControlNet on drawn skeletons, grown from the finished denoiser, which stays as it is."""
    from diffusers import ControlNetModel

    bank, base = Bank(shop), shop.load("unet", networks.unet())
    model = ControlNetModel.from_unet(base)
    model.requires_grad_(True)
    noised, rows = Noiser(bank), HINTS if shop.large else None
    kept = [_skeletons(part) for part in bank.puppets[:rows].split(1024)] if shop.large else []
    stock = torch.cat(kept) if kept else None

    def loss(step: int) -> dict[str, Tensor]:
        latents, texts, chosen = bank.batch("controlnet", step, 0.3, rows)
        noisy, timesteps, target = noised(latents, "controlnet", step)
        text = bank.texts.states(texts)
        hint = _skeletons(bank.puppets[chosen]) if stock is None else stock[chosen]
        down, middle = model(noisy, timesteps, text, hint.float() / 255, return_dict=False)
        out = base(
            noisy,
            timesteps,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        )
        return {"loss": F.mse_loss(out.sample.float(), target)}

    shop.fit("controlnet", model, loss)
