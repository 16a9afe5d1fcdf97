"""The node that makes all frames between the keyframes, from the middle outward."""

from __future__ import annotations

from typing import Any

import comfy.samplers
from comfy_api.latest import io
from torch import Tensor

from ..diffusion_interpolation.method.bisection import Bisection, Settings
from ..diffusion_interpolation.method.path import CURVES, Path
from ..diffusion_interpolation.method.picks import Picks
from ..diffusion_interpolation.poses.motion import MOTIONS
from ..diffusion_interpolation.scoring.contract import Scorer
from .comfy.codec import ComfyCodec, check_channels, from_network
from .comfy.control import PoseControl
from .comfy.model import ComfyModel
from .comfy.object_state import fingerprint
from .comfy.sampler import ComfySampler
from .comfy.schedule import ComfySchedule, host_sigmas
from .inputs import (
    PoseOptions,
    blend_input,
    cfg_input,
    denoise_input,
    negative_input,
    pose_inputs,
    pose_motion_input,
    positive_input,
    read_keyframes,
    read_prompts,
    schedule_inputs,
    seed_input,
)
from .preview.files import THUMBNAIL, lost_runs
from .preview.frame_run import FrameRun
from .preview.memory import KEYFRAMES, frame_cache, holds_nothing
from .types import CATEGORY, Reranker


class FrameBisector(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FrameBisector",
            display_name="Frame Bisector",
            category=CATEGORY,
            description="Makes the frames between two or more pictures: first the frame half-way, "
            "then the frames at the quarters, and so on. The keyframes themselves stay as they "
            "are.",
            inputs=[
                io.Model.Input("model", tooltip="The model that draws the frames."),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                io.Image.Input(
                    "keyframes",
                    tooltip="The pictures between which frames are made, in order, as one batch of "
                    "at least 2 (Batch Images).",
                ),
                positive_input(),
                io.Int.Input(
                    "frames_per_gap",
                    default=15,
                    min=1,
                    max=1023,
                    tooltip="Number of new frames between two neighbouring keyframes. 15 makes 17 "
                    "frames, the two keyframes included. More frames make a slower and smoother "
                    "film and take longer.",
                ),
                denoise_input(
                    "max_denoise",
                    0.55,
                    "Denoise of the frame half-way, from 0 to 1 as in KSampler. Higher values let "
                    "the model invent more. Above 0.65 the frame drifts away from the keyframes.",
                ),
                denoise_input(
                    "min_denoise",
                    0.30,
                    "Denoise of the frames that are made last. Lower values keep them closer to "
                    "their neighbours. Under 0.25 they look like a cross-fade.",
                ),
                io.Combo.Input(
                    "denoise_curve",
                    options=list(CURVES),
                    default="linear",
                    tooltip="How the denoise falls from the frame half-way to the last frames. "
                    "linear falls evenly, convex falls mostly at the start, and concave falls "
                    "mostly at the end.",
                ),
                io.Int.Input(
                    "candidates",
                    default=4,
                    min=1,
                    max=64,
                    tooltip="Number of candidates for the frame half-way, from which the reranker "
                    "chooses the best. Each later depth has one candidate fewer, but not fewer "
                    "than 3. More candidates give a better choice and take longer. Without a "
                    "reranker there is one candidate.",
                ),
                *schedule_inputs(),
                io.Combo.Input(
                    "sampler_name",
                    options=comfy.samplers.SAMPLER_NAMES,
                    default="euler",
                    tooltip="The sampler that removes the noise. euler is the paper's choice "
                    "(DDIM).",
                ),
                cfg_input(),
                blend_input(),
                seed_input("frames"),
                negative_input(),
                Reranker.Input(
                    "reranker",
                    optional=True,
                    tooltip="Chooses the best candidate of each frame. Without a reranker, each "
                    "frame has one candidate.",
                ),
                *pose_inputs(),
                io.Int.Input(
                    "max_batch",
                    default=0,
                    min=0,
                    max=4096,
                    optional=True,
                    tooltip="How many frames and candidates are denoised together. Higher values "
                    "need more memory and can be faster. At 0 as many as fit in memory are taken, "
                    "but at most 32. The frames do not depend on this number, except with the "
                    "sampler dpm_adaptive.",
                ),
                io.String.Input(
                    "picks",
                    default="",
                    optional=True,
                    tooltip="The candidates that you chose in the slider below. You can also type "
                    "them: 0.5: 3 takes candidate 3 of the frame half-way, and 0.5: roll 1 draws "
                    "new candidates there. Only frames that depend on a changed choice are made "
                    "again.",
                ),
                pose_motion_input(),
                io.Float.Input(
                    "smoothness_weight",
                    default=4.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    optional=True,
                    tooltip="Weight of similarity to the two neighbouring frames when candidates "
                    "are ranked. Higher values give a smoother path. 0 ranks by the prompt alone, "
                    "as in the paper. Similarity and prompt are both measured in standard "
                    "deviations of the frame's candidates, so that a value means the same with "
                    "every CLIP.",
                ),
                io.Float.Input(
                    "rank_fraction",
                    default=0.5,
                    min=0.05,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="Fraction of the steps after which candidates are ranked. The ranking "
                    "uses the denoised prediction (x0), and then only the best candidate is "
                    "finished. Lower values are faster, but the prediction is less clear. At 1 all "
                    "candidates are finished before the ranking, as in the paper, which takes "
                    "longer.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "frames",
                    display_name="frames",
                    tooltip="All frames in order, the keyframes included.",
                ),
                io.Latent.Output(
                    "latents", display_name="latents", tooltip="The latents of all frames."
                ),
                io.String.Output(
                    "scores",
                    display_name="scores",
                    tooltip="One line for each new frame. Preview as Text shows the lines.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> int:
        return lost_runs()

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        keyframes: Tensor,
        positive: Any,
        frames_per_gap: int,
        max_denoise: float,
        min_denoise: float,
        denoise_curve: str,
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
        max_batch: int = 0,
        picks: str = "",
        pose_motion: str = MOTIONS[0],
        smoothness_weight: float = 4.0,
        rank_fraction: float = 0.5,
    ) -> io.NodeOutput:
        pictures = read_keyframes(keyframes, vae)
        strengths = strength_at_keyframes, strength_half_way
        size = tuple(pictures.shape[2:])
        pose = PoseOptions(control_net, poses, *strengths, pose_motion, size)
        prompts = read_prompts(positive, negative, cfg, len(pictures), pose)
        settings = Settings(
            max_denoise=max_denoise,
            min_denoise=min_denoise,
            curve=denoise_curve,
            candidates=candidates,
            blend=blend,
            seed=seed,
            smoothness_weight=smoothness_weight,
            rank_fraction=rank_fraction,
        )
        settings.check()
        schedule = ComfySchedule(model, host_sigmas(model, scheduler, steps))
        sampler = ComfySampler(
            model,
            comfy.samplers.sampler_object(sampler_name),
            PoseControl(control_net, model, vae),
            positive=prompts.positive,
            negative=prompts.negative,
            rows=max_batch,
        )
        wrapped = ComfyModel(schedule, sampler, ComfyCodec(model, vae))
        drawing = (model, scheduler, steps, sampler_name, cfg, blend, seed, vae, reranker)
        bisection = Bisection(
            wrapped,
            Path((frames_per_gap,) * (len(pictures) - 1)),
            prompts.guide,
            settings,
            reranker,
            Picks.parse(picks),
            # all that a frame depends on, except its place, its denoise and its neighbours
            frame_cache(fingerprint(drawing, positive, negative, pose)),
            THUMBNAIL,
        )
        run = FrameRun(bisection, pictures, _encode(wrapped, model, vae, pictures))
        made = run.make(cls.hidden)
        latents = {"samples": from_network(model, made.latents)}
        return io.NodeOutput(made.images, latents, "\n".join(made.lines), ui=made.ui)


def _encode(wrapped: ComfyModel, model: Any, vae: Any, pictures: Tensor) -> Tensor:
    """Latents of the keyframes; the very same bits each time, which not every device gives."""
    key = fingerprint(model, vae, pictures)
    if (latents := KEYFRAMES.get(key)) is None:
        latents = wrapped.encode(pictures).cpu()
        check_channels("vae", latents, model)
        if not holds_nothing():
            KEYFRAMES.put(key, latents)
    return latents
