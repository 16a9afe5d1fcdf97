"""Does textual inversion bring the keyframes back? `python benchmarks/inversion.py`

Pairs of held-out puppets are noised to a level and denoised again, under the prompt and under the
conditioning learned from that prompt. The distance is the root mean squared error of the pictures,
over several draws of noise that the learning has not seen.
"""

from __future__ import annotations

from argparse import Namespace

import torch
from support.puppets import HELD_OUT, SIZE, held_out
from support.report import parser, publish
from torch import Tensor

from diffusion_interpolation.command.job import EMBEDDED, EMBEDDED_MODELS, Job, defaults_of
from diffusion_interpolation.demo import load_named, world
from diffusion_interpolation.method.learning.inversion import invert
from diffusion_interpolation.method.noise import draw_noise
from diffusion_interpolation.models.contract import Guidance
from diffusion_interpolation.models.diffusers.model import DiffusersModel
from diffusion_interpolation.models.prompts import PromptEmbeddings
from diffusion_interpolation.settings import InversionSettings


def distance(
    model: DiffusersModel,
    picture: Tensor,
    positive: PromptEmbeddings,
    negative: PromptEmbeddings,
    args: Namespace,
) -> float:
    """RMSE between a picture `(3, h, w)` and what it comes back as from `args.noises` noises."""
    latent = model.encode(picture[None])
    schedule = model.schedule(args.level)
    signal, sigma = model.scales(schedule)
    noise = torch.stack(
        [draw_noise(latent.shape[1:], args.seed + HELD_OUT, 0.0, n) for n in range(args.noises)]
    ).to(latent)
    guidance = Guidance(positive, negative, args.cfg)
    back = model.sample(signal * latent + sigma * noise, schedule, guidance).latents
    return (model.decode(back).cpu() - picture).square().mean().sqrt().item()


def pair_distances(
    model: DiffusersModel, pictures: Tensor, args: Namespace
) -> list[tuple[float, float]]:
    """Distance under the prompt and under the learned conditioning, of both pictures of a pair."""
    positive, negative = model.encode_text([args.prompt]), model.encode_text([args.negative])
    settings = InversionSettings(
        steps=args.inversion_steps,
        learning_rate=args.learning_rate,
        draws=args.draws,
        augmentations=args.augmentations,
        cfg=args.cfg,
        seed=args.seed,
    )
    learned = invert(model, pictures, positive, negative, settings)
    return [
        (
            distance(model, picture, positive.rows([i]), negative, args),
            distance(model, picture, learned.positive.rows([i]), learned.negative, args),
        )
        for i, picture in enumerate(pictures)
    ]


def main() -> None:
    options = parser(__doc__, EMBEDDED_MODELS)
    options.add_argument("--puppets", type=int, default=20)
    options.add_argument("--level", type=float, help="(the highest of a path)")
    options.add_argument("--steps", type=int, default=50)
    options.add_argument("--inversion-steps", type=int, default=100)
    options.add_argument("--noises", type=int, default=4, help="to measure with")
    embedded = defaults_of(EMBEDDED)
    for name in ("cfg", "learning_rate", "draws", "augmentations"):
        default = getattr(Job.of(embedded).learning, name)
        flag = "--" + name.replace("_", "-")
        options.add_argument(flag, type=type(default), default=default)
    options.add_argument("--prompt", default=embedded["prompt"][0])
    options.add_argument("--negative", default=embedded["negative_prompt"])
    args = options.parse_args()
    args.level = args.level or defaults_of(args.model)["max_denoise"]
    model = load_named(args.model, steps=args.steps, device=args.device)
    pictures = world.render(held_out(args.puppets, args.seed), SIZE)
    found = [one for two in pictures.split(2) for one in pair_distances(model, two, args)]
    before, after = torch.tensor(found).unbind(1)
    rows = [
        ("RMSE under the prompt, median", before.median().item(), ""),
        ("RMSE under what was learned, median", after.median().item(), ""),
        ("puppets closer", f"{(after < before).sum().item()} of {len(found)}", ">= 18 of 20"),
        ("gain, median, %", 100 * (1 - after / before).median().item(), ">= 20"),
        ("gain, lowest, %", 100 * (1 - after / before).min().item(), ""),
    ]
    rows = [{"measure": m, "value": v, "wanted": w} for m, v, w in rows]
    publish(rows, args.json)


if __name__ == "__main__":
    main()
