"""What the frames cost, and where the time goes: `python benchmarks/speed.py`

`one at a time` is the order of the authors' code: each candidate alone, the two halves of guidance
in two forward passes, the hint embedded again in each of them, one decode and one CLIP score a
candidate. `batched` makes the same frames in this package's order, `default` with its own settings,
too, which need fewer evaluations for better frames (`schemes.py`). All take turns in this process.
`wall time to networks' time` is the ratio to the forward passes of all networks, batched as they
are. An evaluation is one run of the denoiser on one latent, both halves of guidance as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from diffusers import DDIMScheduler
from support.puppets import SIZE, held_out
from support.report import parser, publish
from support.watch import watched
from torch import Tensor

from diffusion_interpolation.demo import load_model, reranker, weights_folder, world
from diffusion_interpolation.method.bisection import Bisection
from diffusion_interpolation.method.blend import slerp
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.method.noise import draw_noise
from diffusion_interpolation.method.path import Path
from diffusion_interpolation.models.diffusers.files import load_controlnet, load_folder
from diffusion_interpolation.models.diffusers.model import DiffusersModel
from diffusion_interpolation.settings import PAPER, FrameSettings, SamplingSettings


class Reference:
    """The authors' loop, written out for one candidate."""

    def __init__(self, bisection: Bisection, steps: int) -> None:
        parts = load_folder(weights_folder(), torch.float32, False)
        self.vae, self.unet = parts["vae"].eval(), parts["unet"].eval()
        self.controlnet = load_controlnet(
            weights_folder() / "controlnet", torch.float32, False
        ).eval()
        self.scheduler = DDIMScheduler.from_config(parts["scheduler"], clip_sample=False)
        self.scheduler.set_timesteps(steps)
        self.bisection = bisection

    @torch.no_grad()
    def frames(self, keyframes: Tensor) -> dict[int, int]:
        """The chosen candidate of every frame."""
        b, chosen = self.bisection, {}
        latents = dict(zip(b.path.keyframes, keyframes, strict=True))
        for slot in (slot for slots in b.path.slots() for slot in slots):
            tries = []
            for candidate in range(b.plan.count(slot)):
                noise = draw_noise(keyframes.shape[1:], b.settings.seed, slot.position, candidate)
                a, s = b.model.scales(b.model.schedule(b.plan.denoise(slot)))
                ends = (a * latents[i][None] + s * noise for i in (slot.left, slot.right))
                latent = self.denoise(
                    slerp(*ends, slot.weight), slot.position, b.plan.denoise(slot)
                )
                picture = (
                    self.vae.decode(latent / self.vae.config.scaling_factor).sample / 2 + 0.5
                ).clamp(0, 1)
                tries.append((b.scorer(picture).item(), latent[0]))
            chosen[slot.index] = max(range(len(tries)), key=lambda n: tries[n][0])
            latents[slot.index] = tries[chosen[slot.index]][1]
        return chosen

    def denoise(self, x: Tensor, position: float, level: float) -> Tensor:
        """DDIM, one half of guidance after the other."""
        model, guide = self.bisection.model, self.bisection.guide
        guidance = guide.at([position], model, tuple(x.shape[2:]))
        # whole timesteps, which the scheduler of diffusers needs
        for timestep in map(round, model.schedule(level).points[:-1]):
            halves = []
            for text in (guidance.negative, guidance.positive):
                down, middle = self.controlnet(
                    x,
                    timestep,
                    text.embeddings,
                    guidance.hint,
                    float(guidance.strength),
                    return_dict=False,
                )
                halves.append(
                    self.unet(
                        x,
                        timestep,
                        text.embeddings,
                        down_block_additional_residuals=down,
                        mid_block_additional_residual=middle,
                    ).sample
                )
            noise = halves[0] + guidance.cfg * (halves[1] - halves[0])
            x = self.scheduler.step(noise, timestep, x).prev_sample
        return x


def prepare(
    model: DiffusersModel, frames: int, settings: FrameSettings
) -> tuple[Bisection, Tensor]:
    """A posed path between two held-out puppets."""
    scorer = reranker().scorer(["a puppet"], "a double exposure")
    puppets = held_out(2, settings.seed)
    guide = Guide(
        positive=model.encode_text(world.captions(puppets)),
        negative=model.encode_text([""]),
        cfg=4.0,
        poses=world.poses(puppets, SIZE),
        pose_size=(SIZE, SIZE),
    )
    bisection = Bisection(model, Path.of(frames, 2), guide, settings, scorer)
    return bisection, model.encode(world.render(puppets, SIZE))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--frames", type=int, default=17)
    options.add_argument("--paper-steps", type=int, default=200)
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--max-batch", type=int, default=16)
    options.set_defaults(device="cpu")
    args = options.parse_args()
    if args.device != "cpu":
        options.error("the order of the authors' code is written out for the CPU only")
    paper, default = (
        prepare(load_model(steps=steps, max_batch=args.max_batch), args.frames, settings)
        for steps, settings in (
            (args.paper_steps, replace(PAPER, seed=args.seed)),
            (SamplingSettings.steps, FrameSettings(seed=args.seed)),
        )
    )
    reference = Reference(paper[0], args.paper_steps)
    orders = {
        "one at a time": lambda: reference.frames(paper[1]),
        "batched": lambda: choices(*paper),
        "default": lambda: choices(*default),
    }
    chosen, best = timed(orders, args.repeat)
    same = sum(chosen["batched"][i] == n for i, n in chosen["one at a time"].items())
    print(
        f"the same candidate chosen one at a time and batched: {same} of {len(chosen['batched'])}"
    )
    evaluations = {"default": count(default[0])}
    rows = [
        {
            "order": name,
            "evaluations": evaluations.get(name, count(paper[0])),
            "forward passes": passes,
            "seconds": wall,
            "times faster": best["one at a time"][0] / wall,
            "wall time to networks' time": wall / inside,
        }
        for name, (wall, inside, passes) in best.items()
    ]
    publish(rows, args.json)


def timed(
    orders: dict[str, Callable[[], dict[int, int]]], repeat: int
) -> tuple[dict[str, dict[int, int]], dict[str, tuple[float, float, int]]]:
    """What each order chooses, and its fastest run: seconds, those in networks, and passes."""
    runs: dict[str, list[tuple[float, float, int]]] = {name: [] for name in orders}
    chosen = {}
    for _ in range(repeat):
        for name, work in orders.items():
            begun = time.perf_counter()
            with watched() as watch:
                chosen[name] = work()
            runs[name].append((time.perf_counter() - begun, watch.seconds, watch.passes))
    return chosen, {name: min(found) for name, found in runs.items()}


def choices(bisection: Bisection, keyframes: Tensor) -> dict[int, int]:
    """The chosen candidate of every frame."""
    return {frame.info.index: frame.info.candidate for frame in bisection.frames(keyframes)}


def count(bisection: Bisection) -> int:
    """Runs of the denoiser on one latent, both halves of guidance as one."""
    return sum(bisection.evaluations(slot) for slots in bisection.path.slots() for slot in slots)


if __name__ == "__main__":
    main()
