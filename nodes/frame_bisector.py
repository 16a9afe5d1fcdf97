"""The node that makes all frames between the keyframes, from the middle outward."""

from __future__ import annotations

import logging
from typing import Any

import comfy.samplers
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..diffusion_interpolation.bisection import Bisection, DecodeError, Frame, Scorer, Settings
from ..diffusion_interpolation.path import CURVES, Path
from .comfy_model import ComfyModel, check_channels, from_network, whole_schedule
from .inputs import (
    PoseOptions,
    blend_input,
    cfg_input,
    level_input,
    negative_input,
    pose_inputs,
    positive_input,
    read_keyframes,
    read_prompts,
    schedule_inputs,
    seed_input,
)
from .progress import FrameProgress
from .types import CATEGORY, Reranker

log = logging.getLogger(__name__)


class FrameBisector(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FrameBisector",
            display_name="Frame Bisector",
            category=CATEGORY,
            description="Makes the frames between two or more pictures: first the one half-way, "
            "then the quarters, and so on. The keyframes themselves stay as they are.",
            inputs=[
                io.Model.Input("model", tooltip="The model that draws the frames."),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                io.Image.Input(
                    "keyframes",
                    tooltip="The pictures to go between, one batch of at least 2 (Batch Images).",
                ),
                positive_input(),
                io.Int.Input(
                    "frames_per_gap",
                    default=15,
                    min=1,
                    max=1023,
                    tooltip="New frames between each two keyframes. 15 makes 17 with both ends.",
                ),
                level_input(
                    "highest_level",
                    0.55,
                    "Noise of the frame half-way. Higher invents more; above 0.65 it "
                    "drifts away from the keyframes.",
                ),
                level_input(
                    "lowest_level",
                    0.30,
                    "Noise of the last frames made. Lower keeps them closer to their "
                    "neighbours; under 0.25 they look like a cross-fade.",
                ),
                io.Combo.Input(
                    "level_curve",
                    options=list(CURVES),
                    default="linear",
                    tooltip="How the noise falls from the half-way frame to the last ones: linear "
                    "evenly, convex mostly at once, concave mostly at the end.",
                ),
                io.Int.Input(
                    "candidates",
                    default=8,
                    min=1,
                    max=64,
                    tooltip="Versions of the half-way frame to choose from, one fewer at each "
                    "depth after it, never under 3. Without a reranker there is one.",
                ),
                *schedule_inputs(),
                io.Combo.Input(
                    "sampler_name",
                    options=comfy.samplers.SAMPLER_NAMES,
                    default="euler",
                    tooltip="How noise is taken off. Euler is the paper's (DDIM).",
                ),
                cfg_input(),
                blend_input(),
                seed_input("frames"),
                negative_input(),
                Reranker.Input(
                    "reranker",
                    optional=True,
                    tooltip="Chooses the best candidate of each frame.",
                ),
                *pose_inputs(),
                io.Int.Input(
                    "batch_size",
                    default=0,
                    min=0,
                    max=4096,
                    optional=True,
                    tooltip="Frames and candidates to denoise at once. 0: as many as fit in "
                    "memory, 32 at most. The frames are the same at any size (not with the sampler "
                    "dpm_adaptive).",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "frames",
                    display_name="frames",
                    tooltip="All frames in order, the keyframes among them.",
                ),
                io.Latent.Output(
                    "latents", display_name="latents", tooltip="The latents of all frames."
                ),
                io.String.Output(
                    "scores",
                    display_name="scores",
                    tooltip="A line for each frame that was made. Preview as Text shows it.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        keyframes: Tensor,
        positive: Any,
        frames_per_gap: int,
        highest_level: float,
        lowest_level: float,
        level_curve: str,
        candidates: int,
        scheduler: str,
        steps: int,
        sampler_name: str,
        cfg: float,
        blend: str,
        seed: int,
        negative: Any = None,
        reranker: Scorer | None = None,
        control_net: Any = None,
        poses: Any = None,
        strength_at_keyframes: float = 1.0,
        strength_half_way: float = 1.5,
        batch_size: int = 0,
    ) -> io.NodeOutput:
        pictures = read_keyframes(keyframes, vae)
        pose = PoseOptions(control_net, poses, strength_at_keyframes, strength_half_way)
        prompts = read_prompts(positive, negative, cfg, len(pictures), pose)
        settings = Settings(
            highest=highest_level,
            lowest=lowest_level,
            curve=level_curve,
            candidates=candidates,
            blend=blend,
            seed=seed,
        )
        settings.check()
        wrapped = ComfyModel(
            model,
            whole_schedule(model, scheduler, steps),
            comfy.samplers.sampler_object(sampler_name),
            vae=vae,
            control_net=control_net,
            positive=prompts.positive,
            negative=prompts.negative,
            rows=batch_size,
        )
        path = Path((frames_per_gap,) * (len(pictures) - 1))
        bisection = Bisection(wrapped, path, prompts.guide, settings, reranker)
        run = _Run(model, wrapped, bisection, pictures)
        images, latents, lines = run.outputs(run.make())
        shown = ui.PreviewImage(images, cls=cls).as_dict()
        return io.NodeOutput(
            images, {"samples": latents}, "\n".join(lines), ui={**shown, "text": tuple(lines)}
        )


class _Run:
    """The frames of one execution."""

    def __init__(
        self, model: Any, wrapped: ComfyModel, bisection: Bisection, pictures: Tensor
    ) -> None:
        self.model, self.wrapped, self.bisection = model, wrapped, bisection
        self.pictures = pictures
        self.keyframes = wrapped.encode(pictures)
        check_channels("vae", self.keyframes, model)
        self.progress = FrameProgress(model, self._work(), bisection.path.frames, pictures)
        self.failure = ""

    def _work(self) -> int:
        """Steps of the sampler, counted for each latent."""
        return sum(
            self.bisection.count(slot) * (len(self.wrapped.sigmas(self.bisection.level(slot))) - 1)
            for slots in self.bisection.path.slots()
            for slot in slots
        )

    def make(self) -> dict[int, Frame]:
        """The frames by number; fewer where decoding fails, and then `failure` says why."""
        made: dict[int, Frame] = {}
        self.wrapped.on_step = self.progress.step
        for index, picture in zip(self.bisection.path.keyframes, self.pictures, strict=True):
            self.progress.add(index, picture)
        try:
            for frame in self.bisection.frames(self.keyframes):
                made[frame.index] = frame
                self.progress.add(frame.index, frame.picture)
        except DecodeError as error:
            if not made:
                raise
            missing = self.bisection.path.frames - len(self.keyframes) - len(made)
            self.failure = f"{error}; {missing} frames are missing"
            log.error("FrameBisector: %s", self.failure)
        return made

    def outputs(self, made: dict[int, Frame]) -> tuple[Tensor, Tensor, list[str]]:
        """IMAGE and LATENT of all frames in order, and a line for each that was made."""
        pictures = {index: frame.picture for index, frame in made.items()}
        latents = {index: frame.latent for index, frame in made.items()}
        ends = self.bisection.path.keyframes
        pictures |= dict(zip(ends, self.pictures.cpu(), strict=True))
        latents |= dict(zip(ends, self.keyframes.cpu(), strict=True))
        images = torch.stack([pictures[index].movedim(0, -1) for index in sorted(pictures)])
        samples = torch.stack([latents[index] for index in sorted(latents)])
        lines = [_line(made[index]) for index in sorted(made)]
        return (
            images,
            from_network(self.model, samples),
            [*lines, self.failure] if self.failure else lines,
        )


def _line(frame: Frame) -> str:
    where = f"frame {frame.index}, position {frame.position:g}, depth {frame.depth}"
    if not frame.scores:
        return where
    scores = ", ".join(f"{score:+.4f}" for score in frame.scores)
    return f"{where}: candidate {frame.candidate} of {scores}"
