"""The node that makes all frames between the keyframes: half-way, at the quarters, and so on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..diffusion_interpolation.method.bisection import Bisection
from ..diffusion_interpolation.method.choice.candidates import THUMBNAIL
from ..diffusion_interpolation.method.choice.picks import Picks
from ..diffusion_interpolation.method.choice.recall import of_all_frames
from ..diffusion_interpolation.method.matching.correspondence import Correspondence
from ..diffusion_interpolation.method.matching.moved_neighbours import AlongMap
from ..diffusion_interpolation.method.path import Path
from ..diffusion_interpolation.options import Record, option
from ..diffusion_interpolation.scoring.contract import Scorer
from ..diffusion_interpolation.scoring.likeness import likeness
from ..diffusion_interpolation.settings import FrameSettings, PoseSettings, SamplingSettings
from .comfy.codec import ComfyCodec, check_channels, from_network
from .comfy.control import References
from .comfy.lora import check_lora
from .comfy.model import comfy_model
from .comfy.object_state import fingerprint
from .comfy.prompts import PoseOptions, closed, poses_of, read_prompts
from .common.early import check_prompts, unasked
from .common.inputs import (
    ONLY_CUSTOM,
    PROMPTS,
    found_by,
    late_prompts,
    pose_inputs,
    sampler_input,
    scheduler_input,
)
from .common.keyframes import counted, gather, keyframe_inputs
from .common.notes import Note
from .common.option_inputs import advanced, checked, inputs_of
from .common.presets import PresetSettings, decide, preset_input
from .common.types import CATEGORY, CorrespondenceType, Reranker
from .preview.files import About, lost_runs
from .preview.frame_run import FrameRun
from .preview.memory import KEYFRAMES, frame_cache, holds_nothing


@dataclass(frozen=True)
class PathSettings(Record):
    """Options of the node alone."""

    frames_per_gap: str = option(
        "15",
        "Number of new frames between two neighbouring keyframes. 15 makes 17 frames, the two "
        "keyframes included. More frames make a slower and smoother film and take longer. With "
        "more than two keyframes, 15, 31, 7 gives each gap a number of its own.",
    )
    loop: bool = option(
        False,
        "Whether the path goes on from the last keyframe to the first. The film can then be "
        "repeated without a jump. The first keyframe is not there twice.",
    )
    max_batch: int = option(
        0,
        "How many frames and candidates are denoised together. Higher values need more memory and "
        "can be faster. At 0 as many as fit in memory are taken, but at most 32. The frames do not "
        "depend on this number, except with the sampler dpm_adaptive.",
        min=0,
        max=4096,
        advanced=True,
    )
    picks: str = option(
        "",
        "The candidates that you chose in the slider below. You can also type them, with commas "
        "between. Each is a position in keyframes, a colon, and a choice. 0.5: 0 takes the first "
        "candidate of the frame half-way between the first two keyframes; candidates are numbered "
        "from 0. 0.25: roll 1 draws other candidates at the first quarter, from which the best is "
        "chosen, and roll 2 others again. Only frames that depend on a changed choice are made "
        "again.",
        advanced=True,
    )
    reference_latents: bool = option(
        False,
        "Whether an edit model sees the two keyframes of a frame as reference pictures. Frames "
        "then keep the subject of the keyframes more closely, and take about three times as long. "
        "It needs a model such as Flux.1 Kontext, Flux.2 or Qwen-Image-Edit.",
        advanced=True,
    )


RECORDS = PresetSettings, PathSettings, FrameSettings, SamplingSettings, PoseSettings


class FrameBisector(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        frames_per_gap, loop, *others = inputs_of(PathSettings)
        seed, *frames = inputs_of(FrameSettings)
        # the preset decides them; whoever takes no preset is shown them all
        by_hand = map(advanced, (*inputs_of(SamplingSettings), *frames))
        return io.Schema(
            node_id="FrameBisector",
            display_name="Frame Bisector",
            category=CATEGORY,
            description="Makes the frames between two or more pictures: first the frame half-way, "
            "then the frames at the quarters, and so on. The keyframes themselves stay as they "
            "are.",
            **found_by("morph", "interpolate", "in between", "tween", "transition"),
            inputs=[
                *_sockets(),
                preset_input(),
                frames_per_gap,
                loop,
                seed,
                *by_hand,
                advanced(sampler_input(ONLY_CUSTOM)),
                advanced(scheduler_input(ONLY_CUSTOM)),
                *inputs_of(PoseSettings),
                *others,
            ],
            outputs=_outputs(),
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> int:
        return lost_runs()

    @classmethod
    def check_lazy_status(
        cls,
        model: Any,
        vae: Any,
        first: Tensor | None = None,
        last: Tensor | None = None,
        keyframes: Tensor | None = None,
        control_net: Any = None,
        poses: Any = None,
        **given: Any,
    ) -> list[str]:
        """Ask for the prompts once all else fits together."""
        if not (prompts := unasked(given)):
            return []
        deciding = "negative", "reranker", "correspondence"
        there = tuple(given.get(name) is not None or name in prompts for name in deciding)
        sockets = *deciding, *PROMPTS
        options = {name: value for name, value in given.items() if name not in sockets}
        count = len(gather(first, keyframes, last, vae)[0])
        _, path, *_ = _read(model, options, there)[1]
        Path.read(str(path.frames_per_gap), count - 1 + path.loop)
        Picks.parse(path.picks)
        pictures = {"first": first, "keyframes": keyframes, "last": last}
        poses_of(PoseOptions(control_net, poses), count, counted(**pictures))
        check_prompts(cls.hidden, pictures, count)
        return prompts

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        positive: Any,
        first: Tensor | None = None,
        last: Tensor | None = None,
        keyframes: Tensor | None = None,
        negative: Any = None,
        reranker: Scorer | None = None,
        control_net: Any = None,
        poses: Any = None,
        correspondence: list[Correspondence] | None = None,
        **options: Any,
    ) -> io.NodeOutput:
        """`options` are those of `RECORDS`, and `sampler_name` and `scheduler`."""
        pictures, notes = gather(first, keyframes, last, vae)
        check_lora(model, len(pictures))
        there = tuple(one is not None for one in (negative, reranker, correspondence))
        names, records, decided, said = _read(model, options, there)
        _, path, settings, sampling, posing = records
        about = About(settings.seed, (*notes, *said), path.loop, decided)
        pose = PoseOptions(control_net, poses, posing, tuple(pictures.shape[2:]))
        guide = read_prompts(positive, negative, sampling.cfg, len(pictures), pose)
        encoded = _encode(model, vae, pictures)
        if path.loop:
            guide = closed(guide, len(pictures))
            pictures, encoded = (torch.cat([one, one[:1]]) for one in (pictures, encoded))
        seen = References(model, encoded if path.reference_latents else None)
        made_by = {**names, "control_net": control_net, "references": seen, "rows": path.max_batch}
        wrapped = comfy_model(model, vae, sampling.steps, **made_by)
        frames = Path.read(str(path.frames_per_gap), len(pictures) - 1)
        along = AlongMap.of(wrapped, frames, correspondence, pictures, settings.match_colors)
        # all that a frame depends on, except its place, its denoise and its neighbours
        drawing = model, vae, reranker, names, sampling, correspondence
        scorer = likeness(settings, wrapped) if reranker is None else reranker
        told = path.reference_latents, of_all_frames(settings), positive, negative, pose
        cache, picks = frame_cache(fingerprint(drawing, told)), Picks.parse(path.picks)
        bisection = Bisection(
            wrapped, frames, guide, settings, scorer, picks, cache, THUMBNAIL, along
        )
        made = FrameRun(bisection, pictures, encoded, about).make(cls.hidden)
        latents = {"samples": from_network(model, made.latents)}
        return io.NodeOutput(made.images, latents, "\n".join(made.lines), ui=made.ui)


def _read(
    model: Any, options: dict[str, Any], there: tuple[bool, bool, bool]
) -> tuple[dict[str, str], list[Any], dict[str, Any], list[Note]]:
    """Return sampler and scheduler, `RECORDS`, what the preset decides, and what to say of that.

    `there`: whether there are a negative, a reranker and a correspondence.
    """
    decided, said = decide(model, options, *there)
    options = {**options, **decided}
    names = {name: options.pop(name) for name in ("sampler_name", "scheduler")}
    return names, checked(options, *RECORDS), decided, said


def _sockets() -> list[io.Input]:
    positive, negative = late_prompts()
    return [
        io.Model.Input("model", tooltip="The model that draws the frames."),
        io.Vae.Input("vae", tooltip="The model's VAE."),
        positive,
        *keyframe_inputs(),
        negative,
        Reranker.Input(
            "reranker",
            optional=True,
            tooltip="Chooses the best candidate of each frame. Without a reranker, it is the one "
            "that is most like its two neighbours.",
        ),
        *pose_inputs(),
        CorrespondenceType.Input(
            "correspondence",
            optional=True,
            tooltip="What is where in neighbouring keyframes, from Match Keyframes. With it, "
            "things move from one keyframe to the next instead of fading over, and a max_denoise "
            "of 0.35 and a min_denoise of 0.15 are enough; presets take these two then.",
        ),
    ]


def _outputs() -> list[io.Output]:
    return [
        io.Image.Output(
            "frames",
            display_name="frames",
            tooltip="All frames in order, the keyframes included.",
        ),
        io.Latent.Output("latents", display_name="latents", tooltip="The latents of all frames."),
        io.String.Output(
            "scores",
            display_name="scores",
            tooltip="One line for each new frame. Preview as Text shows the lines.",
        ),
    ]


def _encode(model: Any, vae: Any, pictures: Tensor) -> Tensor:
    """Return the latents of the keyframes, with the very same bits each time.

    Not every device gives these in a batch of another size, so each picture is encoded by itself.
    """
    return torch.cat([_encode_one(model, vae, picture) for picture in pictures.split(1)])


def _encode_one(model: Any, vae: Any, picture: Tensor) -> Tensor:
    key = fingerprint(model, vae, picture)
    if (latent := KEYFRAMES.get(key)) is None:
        codec = ComfyCodec(model, vae)
        latent = codec.encode(picture).cpu()
        check_channels("vae", latent, model)
        codec.check_size(picture, latent)
        if not holds_nothing():
            KEYFRAMES.put(key, latent)
    return latent
