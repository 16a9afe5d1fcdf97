"""How good is the embedded model, on puppets it has not seen? `python benchmarks/demo_model.py`"""

from __future__ import annotations

import torch
from report import parser, publish
from torch import Tensor

from diffusion_interpolation.demo import load_model, load_reader, reranker, world
from diffusion_interpolation.diffusers_model import DiffusersModel
from diffusion_interpolation.model import Guidance
from diffusion_interpolation.pose import draw_batch

SIZE = 64
HELD_OUT = 987_654_321


def held_out(count: int, seed: int) -> Tensor:
    """Puppets from a stream of numbers that no stage of the training draws from."""
    return world.sample(count, torch.Generator().manual_seed(HELD_OUT + seed))


def psnr(model: DiffusersModel, puppets: Tensor) -> float:
    """Mean of `-10 log10(mean squared error)` after a round trip through the autoencoder."""
    pictures = world.render(puppets, SIZE)
    back = model.decode(model.encode(pictures)).cpu()
    return (-10 * (back - pictures).square().mean((1, 2, 3)).log10()).mean().item()


def sample(model: DiffusersModel, puppets: Tensor, cfg: float, seed: int, posed: bool) -> Tensor:
    """Pictures from pure noise under the captions of `puppets` and, if `posed`, their poses."""
    pictures = []
    generator = torch.Generator().manual_seed(seed)
    for part in puppets.split(model.batch_size):
        noise = torch.randn(len(part), 4, SIZE // 4, SIZE // 4, generator=generator).to(
            model.device
        )
        guidance = Guidance(model.encode_text(world.captions(part)), model.encode_text([""]), cfg)
        if posed:
            size = SIZE // 4 * model.hint_scale
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


@torch.no_grad()
def main() -> None:
    options = parser(__doc__)
    options.add_argument("--count", type=int, default=200, help="pictures of each measurement")
    options.add_argument("--cfg", type=float, default=4.0)
    options.add_argument("--steps", type=int, default=50)
    args = options.parse_args()
    plain = load_model(steps=args.steps, device=args.device, controlnet=False)
    posed = load_model(steps=args.steps, device=args.device)
    reader = load_reader(args.device)
    puppets = held_out(args.count, args.seed)

    def read(pictures: Tensor) -> Tensor:
        return reader(pictures.to(args.device)).cpu()

    def joint_error(pictures: Tensor) -> float:
        return (
            100 * (world.joints(read(pictures)) - world.joints(puppets)).norm(dim=-1).mean().item()
        )

    rows = [("autoencoder PSNR, dB", psnr(plain, puppets), ">= 32")]
    right = words_right(read(sample(plain, puppets, args.cfg, args.seed, posed=False)), puppets)
    rows += [(f"caption obeyed: {name}, %", 100 * share, ">= 95") for name, share in right.items()]
    pictures = sample(posed, puppets, args.cfg, args.seed, posed=True)
    rows += [
        ("joint error under ControlNet, % of height", joint_error(pictures), "< 4"),
        (
            "caption found among 32 by CLIP, %",
            100 * retrieval(held_out(20 * 64, args.seed + 1), args.device),
            ">= 90",
        ),
        (
            "joint error of the reader itself, % of height",
            joint_error(world.render(puppets, SIZE)),
            "",
        ),
    ]
    publish([{"measure": m, "value": v, "wanted": w} for m, v, w in rows], args.json)


if __name__ == "__main__":
    main()
