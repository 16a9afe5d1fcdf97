"""How good are the embedded models, on puppets they have not seen?

`python benchmarks/demo_model.py`, or with `--model demo-flow`, which has no ControlNet and so no
row of it; a row `8 steps` is of its student.
"""

from __future__ import annotations

from argparse import Namespace

import torch
from support.puppets import held_out
from support.report import parser, publish
from torch import Tensor

from diffusion_interpolation.command.job import EMBEDDED, EMBEDDED_MODELS
from diffusion_interpolation.demo import load_flow, load_model, load_reader, reranker, world
from diffusion_interpolation.demo.networks import GRID, SIZE
from diffusion_interpolation.models.contract import Guidance
from diffusion_interpolation.models.diffusers.model import DiffusersModel
from diffusion_interpolation.poses.pose import draw_batch

STUDENT_STEPS = 8

Row = tuple[str, float, str]
"""What is measured, its value, and what is wanted."""


def psnr(model: DiffusersModel, puppets: Tensor) -> float:
    """Mean of `-10 log10(mean squared error)` after a round trip through the autoencoder."""
    pictures = world.render(puppets, SIZE)
    back = model.decode(model.encode(pictures)).cpu()
    return (-10 * (back - pictures).square().mean((1, 2, 3)).log10()).mean().item()


def sample(model: DiffusersModel, puppets: Tensor, cfg: float, seed: int, posed: bool) -> Tensor:
    """Pictures from pure noise under the captions of `puppets` and, if `posed`, their poses."""
    pictures = []
    generator = torch.Generator().manual_seed(seed)
    for part in puppets.split(model.max_batch):
        noise = torch.randn(len(part), 4, GRID, GRID, generator=generator).to(model.device)
        guidance = Guidance(model.encode_text(world.captions(part)), model.encode_text([""]), cfg)
        if posed:
            size = GRID * model.hint_scale
            hint = draw_batch(world.poses(part, size), size, size).to(model.device)
            guidance = Guidance(
                guidance.positive, guidance.negative, cfg, hint, torch.ones(len(part)).to(hint)
            )
        latents = model.sample(noise, model.schedule(1.0), guidance).latents
        pictures.append(model.decode(latents).cpu())
    return torch.cat(pictures)


def words_right(read: Tensor, puppets: Tensor) -> dict[str, float]:
    """Shares of pictures whose looks, as read, have the words of the caption."""
    same = {
        "body": _same(
            world.colour_words(read[:, world.BODY]), world.colour_words(puppets[:, world.BODY])
        ),
        "background": _same(
            world.colour_words(read[:, world.BACK]), world.colour_words(puppets[:, world.BACK])
        ),
        "hat": _same(world.hat_words(read), world.hat_words(puppets)),
    }
    same["all three"] = torch.stack(list(same.values())).all(0)
    same["trousers"] = _same(
        world.colour_words(read[:, world.LEGS]), world.colour_words(puppets[:, world.LEGS])
    )
    same["kind of background"] = _same(world.scene_words(read), world.scene_words(puppets))
    return {name: right.float().mean().item() for name, right in same.items()}


def _same(read: list[str], true: list[str]) -> Tensor:
    return torch.tensor([a == b for a, b in zip(read, true, strict=True)])


def retrieval(puppets: Tensor, device: str, group: int = 32) -> float:
    """Share of pictures whose caption CLIP finds among `group` different ones."""
    pair = reranker(device)
    captions = world.captions(puppets)
    right = total = 0
    for start in range(0, len(puppets), 2 * group):
        rows = list(
            {captions[i]: i for i in range(start, min(start + 2 * group, len(puppets)))}.values()
        )[:group]
        texts = pair.embed_texts([captions[i] for i in rows])
        found = (pair.embed_pictures(world.render(puppets[rows], SIZE)) @ texts.T).argmax(1).cpu()
        right += (found == torch.arange(len(rows))).sum().item()
        total += len(rows)
    return right / total


class Measures:
    """Everything that is measured of one model on the same held-out puppets."""

    def __init__(self, args: Namespace) -> None:
        self.args, self.puppets = args, held_out(args.count, args.seed)
        self.reader = load_reader(args.device)

    def read(self, pictures: Tensor) -> Tensor:
        """The numbers of the puppets in pictures."""
        return self.reader(pictures.to(self.args.device)).cpu()

    def joint_error(self, pictures: Tensor) -> float:
        """Mean distance of joints from where the puppets have them, in % of the height."""
        off = world.joints(self.read(pictures)) - world.joints(self.puppets)
        return 100 * off.norm(dim=-1).mean().item()

    def words(self, model: DiffusersModel, cfg: float, name: str = "") -> list[Row]:
        """What is right in pictures from captions alone."""
        pictures = sample(model, self.puppets, cfg, self.args.seed, posed=False)
        right = words_right(self.read(pictures), self.puppets)
        wanted = {"body", "background", "hat", "all three"}
        return [
            (f"caption obeyed{name}: {part}, %", 100 * share, ">= 95" if part in wanted else "")
            for part, share in right.items()
        ]

    def unet(self) -> list[Row]:
        """Of Stable Diffusion, without its ControlNet and with it."""
        args = self.args
        options = {"steps": args.steps, "device": args.device}
        rows = self.words(load_model(controlnet=False, **options), args.cfg)
        pictures = sample(load_model(**options), self.puppets, args.cfg, args.seed, posed=True)
        error = self.joint_error(pictures)
        return [*rows, ("joint error under ControlNet, % of height", error, "< 2")]

    def flow(self) -> list[Row]:
        """Of the flow transformer and its student."""
        student = load_flow(student=True, steps=STUDENT_STEPS, device=self.args.device)
        whole = load_flow(steps=self.args.steps, device=self.args.device)
        return [*self.words(whole, self.args.cfg), *self.words(student, 1.0, ", 8 steps")]

    def shared(self) -> list[Row]:
        """Of the parts that both models have."""
        args = self.args
        plain = load_model(controlnet=False, device=args.device)
        # 64 puppets have 32 different captions
        puppets = held_out(64 * max(1, args.count // 10), args.seed + 1)
        found = 100 * retrieval(puppets, args.device)
        own = self.joint_error(world.render(self.puppets, SIZE))
        return [
            ("autoencoder PSNR, dB", psnr(plain, self.puppets), ">= 32"),
            ("caption found among 32 by CLIP, %", found, ">= 90"),
            ("joint error of the reader itself, % of height", own, "< 0.5"),
        ]


@torch.no_grad()
def main() -> None:
    options = parser(__doc__, EMBEDDED_MODELS)
    options.add_argument("--count", type=int, default=200, help="pictures of each measurement")
    options.add_argument("--cfg", type=float, default=4.0)
    options.add_argument("--steps", type=int, default=50)
    args = options.parse_args()
    measures = Measures(args)
    own = measures.unet() if args.model == EMBEDDED else measures.flow()
    rows = [*own, *measures.shared()]
    publish([{"measure": m, "value": v, "wanted": w} for m, v, w in rows], args.json)


if __name__ == "__main__":
    main()
