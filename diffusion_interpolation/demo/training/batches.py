"""What the stages of the training learn from: pictures drawn by lot, and a bank of latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import networks, world
from . import captions
from .workshop import Workshop, read, write

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

DRAWN = 1024  # pictures drawn at once on a GPU, where many cost as much time as few
HINTS = 50_000  # skeletons that a GPU keeps


def spoil(pictures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flawed copies of pictures and which of `FLAWS` each has: a negative prompt's meaning."""
    count, device = len(pictures), pictures.device
    kinds = torch.randint(len(captions.FLAWS), (count,), generator=generator, device=device)
    small = F.interpolate(pictures, scale_factor=0.2, mode="area")
    blurry = F.interpolate(small, size=pictures.shape[-2:], mode="bicubic").clamp(0, 1)
    double = pictures.lerp(pictures.flip(0), 0.5)
    noise = 0.15 * torch.randn(pictures.shape, generator=generator, device=device)
    choices = torch.stack([blurry, double, (pictures + noise).clamp(0, 1)])
    return choices[kinds, torch.arange(count, device=device)], kinds


def weathered(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Slightly soft and noisy copies, like what an autoencoder gives back."""
    count, device = len(pictures), pictures.device
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    much = torch.rand(2, count, 1, 1, 1, generator=generator, device=device)
    noise = torch.randn(pictures.shape, generator=generator, device=device)
    return pictures.lerp(soft, much[0]) + 0.04 * much[1] * noise


class Pictures:
    """Batches of new pictures, their puppets and the numbers of their captions.

    The fraction `flawed` of every batch is spoiled, and its captions say so.
    """

    def __init__(self, shop: Workshop, stage: str, flawed: float = 0.0) -> None:
        self.shop, self.stage, self.flawed = shop, stage, flawed
        self.size = shop.plans[stage].batch
        self.parts = max(1, DRAWN // self.size) if shop.large else 1
        self.drawn, self.stock = -1, (torch.empty(0),) * 3

    @torch.no_grad()
    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures `(n, 3, SIZE, SIZE)`, puppets and captions of a step."""
        if self.drawn != step // self.parts:
            self.drawn = step // self.parts
            self.stock = self._draw(self.drawn)
        start = step % self.parts * self.size
        pictures, puppets, texts = (part[start : start + self.size] for part in self.stock)
        bad = int(self.size * self.flawed)
        if bad:
            generator = self.shop.generator(self.stage, step + 3_000_000)
            spoiled, kinds = spoil(pictures[:bad], generator)
            pictures = torch.cat([spoiled, pictures[bad:]])
            texts = torch.cat([captions.FIRST_FLAW + kinds, texts[bad:]])
        return pictures, puppets, texts

    def _draw(self, turn: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = self.shop.generator(self.stage, turn)
        puppets = world.sample(self.size * self.parts, generator)
        pictures = world.render(puppets, networks.SIZE)
        return pictures, puppets, captions.loose_numbers(puppets, generator)


def tokenizer(shop: Workshop) -> CLIPTokenizer:
    """The tokenizer of the first stage."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(shop.folder / "tokenizer")


def caption_ids(shop: Workshop) -> Tensor:
    """Token ids `(captions, TOKENS)` of all captions, on the device."""
    return read(shop.folder / "captions.pt", shop.device)["ids"].long()


class Texts:
    """The text tower's states of all captions, each computed once."""

    def __init__(self, shop: Workshop) -> None:
        words = tokenizer(shop)
        self.ids = caption_ids(shop)
        lengths = captions.text_lengths(self.ids, words.eos_token_id)
        self.longest = int(lengths.max())
        places = torch.arange(self.longest, device=shop.device)
        self.masks = places[None] < lengths[:, None]
        self.tower = shop.load("clip", networks.clip(len(words))).text_model
        self.known = torch.zeros(len(self.ids), dtype=torch.bool, device=shop.device)
        shape = (len(self.ids), networks.TOKENS, networks.TEXT_WIDTH)
        self.kept = torch.zeros(shape, device=shop.device, dtype=torch.float16)
        if shop.large:
            self._learn(torch.arange(len(self.ids), device=shop.device))
        self.whole = shop.large

    @torch.no_grad()
    def _learn(self, numbers: Tensor) -> None:
        for part in numbers.split(1024) if len(numbers) else ():
            self.kept[part] = self.tower(self.ids[part]).last_hidden_state.to(self.kept.dtype)
        self.known[numbers] = True

    def states(self, numbers: Tensor) -> Tensor:
        """`(n, TOKENS, 128)`, as Stable Diffusion takes them."""
        if not self.whole:
            self._learn(numbers[~self.known[numbers]].unique())
        return self.kept[numbers].float()

    def unpadded(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """States up to the longest caption and the mask of each caption's own tokens."""
        return self.states(numbers)[:, : self.longest], self.masks[numbers]


class Bank:
    """Batches of clean latents, their puppets and the numbers of their captions."""

    def __init__(self, shop: Workshop) -> None:
        bank = read(shop.folder / "bank.pt", shop.device)
        if len(bank["latents"]) != shop.bank:
            raise ValueError(
                f"bank: holds {len(bank['latents'])}, needs {shop.bank}; remove bank.pt"
            )
        self.puppets, self.latents, self.flaws = bank["puppets"], bank["latents"], bank["flaws"]
        self.shop, self.texts = shop, Texts(shop)

    def batch(
        self, stage: str, step: int, unconditional: float, rows: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, numbers of captions and rows of the bank; some of the captions are empty."""
        generator, device = self.shop.generator(stage, step), self.shop.device
        count = self.shop.plans[stage].batch
        among = len(self.latents) if rows is None else min(rows, len(self.latents))
        chosen = torch.randint(among, (count,), generator=generator, device=device)
        texts = captions.loose_numbers(self.puppets[chosen], generator)
        kinds = self.flaws[chosen.clamp_max(len(self.flaws) - 1)]
        texts = torch.where(chosen < len(self.flaws), captions.FIRST_FLAW + kinds, texts)
        dropped = torch.rand(count, generator=generator, device=device) < unconditional
        texts = torch.where(dropped, captions.EMPTY, texts)
        return self.latents[chosen].float(), texts, chosen

    def noise(self, latents: Tensor, stage: str, step: int) -> tuple[Tensor, Tensor]:
        """Noise, and times in 0..1 that are spread evenly over the batch."""
        generator = self.shop.generator(stage, step + 5_000_000)
        noise = torch.randn(latents.shape, generator=generator, device=latents.device)
        jitter = torch.rand(len(latents), generator=generator, device=latents.device)
        order = torch.arange(len(latents), device=latents.device)
        return noise, (order + jitter) / len(latents)


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
    last = world.render(puppets[-2048:], networks.SIZE)
    standardise(vae, last)
    count, latents, kinds = shop.bank // 25, [], []
    for start in range(0, shop.bank, 256):
        pictures = world.render(puppets[start : start + 256], networks.SIZE)
        bad = max(0, min(count - start, len(pictures)))
        if bad:
            pictures[:bad], flaws = spoil(pictures[:bad], generator)
            kinds.append(flaws)
        with shop.reduced("vae"):
            mean = vae.encode(pictures * 2 - 1).latent_dist.mean
        latents.append((mean.float() * networks.LATENT_SCALE).half())
    write(shop.folder / "vae_standard.pt", vae.state_dict())
    bank = {"puppets": puppets, "latents": torch.cat(latents), "flaws": torch.cat(kinds)}
    write(path, bank)
