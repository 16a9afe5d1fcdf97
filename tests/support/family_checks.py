"""Runs the nodes on each family of `family_list`, in the host's process; by the host's Python.

`python family_checks.py FILE [FAMILY ...]`, in the host's folder, writes to FILE what each check of
each family found, as JSON: numbers, or under `error` what was raised.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any

FILE, ONLY = Path(sys.argv[1]), sys.argv[2:]
os.environ["TQDM_DISABLE"] = "1"
# the host reads its options from there; each path is made again
sys.argv = [sys.argv[0], "--cpu", "--cache-none"]
sys.path.insert(0, str(Path.cwd()))
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.samplers  # noqa: E402
import comfy.supported_models  # noqa: E402
import comfyui_version  # noqa: E402
import folder_paths  # noqa: E402
import torch  # noqa: E402
from comfy_extras.nodes_custom_sampler import DisableNoise, SamplerCustomAdvanced  # noqa: E402
from torch import Tensor  # noqa: E402


def package(name: str, folder: Path) -> None:
    """Make a folder a package, without what its own __init__ imports."""
    module = ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module


CHECKOUT = Path(__file__).parents[2]
package("checkout", CHECKOUT)
package("pack", CHECKOUT / "tests" / "host" / "pack")
from checkout.nodes.comfy.control import PoseControl  # noqa: E402
from checkout.nodes.common.types import INVERSION_KEY  # noqa: E402
from checkout.nodes.conditioned_denoise import ConditionedDenoise  # noqa: E402
from checkout.nodes.frame_bisector import FrameBisector  # noqa: E402
from checkout.nodes.keyframe_conditioning import KeyframeConditioning  # noqa: E402
from checkout.nodes.keyframe_lora import KeyframeLora  # noqa: E402
from checkout.nodes.noisy_latent_lerp import NoisyLatentLerp  # noqa: E402
from checkout.nodes.textual_invert import TextualInvert  # noqa: E402
from pack import families  # noqa: E402
from pack.family_list import FAMILIES, Family  # noqa: E402

SCHEDULE = {"scheduler": "simple", "steps": 3, "blend": "lerp", "seed": 0}
DENOISE = 0.55
LEARNING = {"steps": 1, "learning_rate": 0.02, "min_denoise": 0.33, "max_denoise": 0.67}


def pose(turn: float) -> dict[str, Any]:
    """A POSE_KEYPOINT of one person, whose joints are on a circle."""
    angles = torch.arange(18) + turn
    joints = torch.stack([0.5 + 0.4 * angles.cos(), 0.5 + 0.4 * angles.sin(), torch.ones(18)], 1)
    people = [{"pose_keypoints_2d": joints.flatten().tolist()}]
    return {"people": people, "canvas_width": 64, "canvas_height": 64}


POSES = [pose(0.0), pose(1.0)]


def off(got: Tensor, want: Tensor) -> float:
    """The largest difference, as a fraction of the largest number."""
    return float((got - want).abs().max() / want.abs().max().clamp_min(1e-9))


class Case:
    """A family's model and VAE, two pictures, and prompts of two lengths."""

    def __init__(self, family: Family, **types: torch.dtype) -> None:
        self.family = family
        self.model, self.vae = families.model(family, **types), families.vae(family.vae)
        first, second, negative = family.prompt.tokens
        self.first = family.prompt.conditioning(1, first)
        self.second = family.prompt.conditioning(2, second)
        self.negative = family.prompt.conditioning(3, negative)
        self.both = KeyframeConditioning.execute(self.first, self.second).args[0]
        self.pictures = pictures(family.pixels)
        self.sampler = comfy.samplers.sampler_object("euler")

    @cached_property
    def latents(self) -> dict[str, Tensor]:
        """Those of the pictures, from VAE Encode, one by one."""
        encoded = [self.vae.encode(picture[None]) for picture in self.pictures]
        return {"samples": torch.cat(encoded)}

    def path(
        self, positive: Any, max_batch: int = 0, model: Any = None, **more: Any
    ) -> tuple[Tensor, Tensor]:
        """The frames of FrameBisector `(5, h, w, 3)`, and their latents."""
        images, latents, _ = FrameBisector.execute(
            model=model or self.model,
            vae=self.vae,
            keyframes=self.pictures,
            positive=positive,
            negative=self.negative,
            preset="custom",
            frames_per_gap="3",
            max_denoise=DENOISE,
            min_denoise=0.30,
            denoise_curve="linear",
            candidates=1,
            sampler_name="euler",
            cfg=2.0,
            max_batch=max_batch,
            **SCHEDULE,
            **more,
        ).args
        return images, latents["samples"]

    @cached_property
    def frames(self) -> tuple[Tensor, Tensor]:
        return self.path(self.both)

    def noisy(self, position: float, candidates: int = 1) -> tuple[Any, ...]:
        """What NoisyLatentLerp gives."""
        return NoisyLatentLerp.execute(
            model=self.model,
            latents=self.latents,
            position=position,
            denoise=DENOISE,
            candidates=candidates,
            **SCHEDULE,
        ).args

    def denoised(self, noisy: tuple[Any, ...], positive: Any, negative: Any = None) -> Tensor:
        """What ConditionedDenoise makes of it."""
        latent, sigmas, position = noisy
        return ConditionedDenoise.execute(
            model=self.model,
            noisy_latent=latent,
            sigmas=sigmas,
            sampler=self.sampler,
            positive=positive,
            negative=negative or self.negative,
            cfg=2.0,
            position=position,
            seed=0,
        ).args[0]["samples"]


def pictures(pixels: int) -> Tensor:
    """Two pictures `(2, h, w, 3)` of soft colours."""
    low = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    size = pixels, pixels
    soft = torch.nn.functional.interpolate(low, size, mode="bicubic").clamp(0, 1)
    return soft.movedim(1, -1).contiguous()


def first_output(node: Any, **inputs: Any) -> Any:
    """What a node of the host gives, in the older form of nodes as well."""
    if hasattr(node, "execute"):
        return node.execute(**inputs).args[0]
    return getattr(node(), node.FUNCTION)(**inputs)[0]


def frames(case: Case) -> dict[str, float]:
    """The frames between two prompts of other lengths and extras."""
    images, _ = case.frames
    assert images.shape == (5, *case.pictures.shape[1:]) and images.isfinite().all()
    ends = off(images[[0, -1]], case.pictures)
    return {"ends": ends, "deviation": float(images[1:-1].std((1, 2, 3)).min())}


def batches(case: Case) -> dict[str, float]:
    """Frame by frame, what is made all at once."""
    return {"off": off(case.path(case.both, max_batch=1)[1], case.frames[1])}


def parts(case: Case) -> dict[str, float]:
    """The first five nodes against FrameBisector's frame half-way."""
    made = case.denoised(case.noisy(0.5), case.both)
    return {"off": off(made, case.frames[1][2:3])}


def host(case: Case) -> dict[str, float]:
    """The host's own sampler against ConditionedDenoise."""
    noisy = case.noisy(0.5, candidates=2)
    guider = comfy.samplers.CFGGuider(case.model)
    guider.set_conds(case.first, case.negative)
    guider.set_cfg(2.0)
    inputs = {"guider": guider, "sampler": case.sampler, "sigmas": noisy[1]}
    inputs |= {"latent_image": noisy[0], "noise": first_output(DisableNoise)}
    theirs = first_output(SamplerCustomAdvanced, **inputs)
    return {"off": off(case.denoised(noisy, case.first), theirs["samples"])}


def own_prompt(case: Case) -> dict[str, float]:
    """At a keyframe: both prompts against that keyframe's own, and against the other."""
    found = {}
    for position, own in ((0.0, case.first), (1.0, case.second)):
        noisy = case.noisy(position)
        want = case.denoised(noisy, own)
        found[f"off {position:g}"] = off(case.denoised(noisy, case.both), want)
    return {**found, "other": off(case.denoised(noisy, case.first), want)}


def poses(case: Case) -> dict[str, float]:
    """Frames under a ControlNet: what it changes, and frame by frame against all at once."""
    if not case.family.poses:
        return {}
    pose = {"control_net": families.control(case.family), "poses": POSES}
    made = case.path(case.both, **pose)[1]
    change = off(made, case.frames[1])
    return {"change": change, "off": off(case.path(case.both, max_batch=1, **pose)[1], made)}


def seeing(case: Case, conditioning: list[list[Any]]) -> list[list[Any]]:
    """A CONDITIONING with the two pictures as reference latents, as nodes of the host add them."""
    method = {"reference_latents_method": "index"} if case.family.config == "Krea2" else {}
    latents = list(case.latents["samples"].split(1))
    made = []
    for states, rest in conditioning:
        seen = {"reference_latents": [*rest.get("reference_latents", []), *latents]}
        made.append([states, {**rest, **method, **seen}])
    return made


def references(case: Case) -> dict[str, float]:
    """Frames that see their keyframes: the change, one by one, and half-way by the parts."""
    made = case.path(case.both, reference_latents=True)[1]
    alone = case.path(case.both, max_batch=1, reference_latents=True)[1]
    held = [seeing(case, prompt) for prompt in (case.both, case.negative)]
    half_way = case.denoised(case.noisy(0.5), *held)
    return {
        "change": off(made, case.frames[1]),
        "off": off(alone, made),
        "parts": off(half_way, made[2:3]),
    }


def others(case: Case) -> dict[str, str]:
    """What is said of ControlNets of other kinds; nothing where one is taken."""
    said = {}
    for kind in OTHER_CONTROLS:
        try:
            PoseControl(other_control(kind), case.model, case.vae)
        except ValueError as error:
            said[kind] = str(error)
    return said


def videos(case: Case) -> dict[str, str]:
    """What NoisyLatentLerp says of a video that VAE Encode made of a batch of pictures."""
    if getattr(case.vae, "latent_dim", 2) != 3:
        return {}
    said = {}
    for count in (2, 5):
        batch = case.pictures[torch.arange(count) % 2]
        latents = {"samples": case.vae.encode(batch)}
        settings = {"position": 0.5, "denoise": DENOISE, "candidates": 1, **SCHEDULE}
        try:
            NoisyLatentLerp.execute(model=case.model, latents=latents, **settings)
        except ValueError as error:
            said[f"of {count}"] = str(error)
    return said


def learning(case: Case) -> dict[str, float]:
    """TextualInvert of both prompts: how the loss falls, how far each moves, what they change."""
    learned, away, _ = TextualInvert.execute(
        model=case.model,
        vae=case.vae,
        keyframes=case.pictures,
        positive=case.both,
        negative=case.negative,
        cfg=2.0,
        seed=0,
        # as many as the loss on fixed noise has, so that it falls with the loss of the steps
        draws=4,
        augmentations=0,
        **LEARNING,
    ).args
    losses = list(learned[0][1][INVERSION_KEY]["losses"].values())
    entries = zip((*learned, *away), (*case.both, *case.negative), strict=True)
    moved = min(off(after, before) for (after, _), (before, _) in entries)
    noisy = case.noisy(0.5)
    change = off(case.denoised(noisy, learned, away), case.denoised(noisy, case.both))
    return {"fall": 1 - min(losses) / losses[0], "moved": moved, "change": change}


def loras(case: Case) -> dict[str, float]:
    """KeyframeLora: what it changes, and frame by frame against all at once."""
    told = {"steps": 1, "learning_rate": 0.01, "rank": 2, "min_denoise": 0.2, "max_denoise": 0.6}
    sources = {"model": case.model, "vae": case.vae, "keyframes": case.pictures}
    learned = KeyframeLora.execute(positive=case.both, seed=0, **sources, **told).args[0]
    made = case.path(case.both, model=learned)[1]
    alone = case.path(case.both, model=learned, max_batch=1)[1]
    return {"change": off(made, case.frames[1]), "off": off(alone, made)}


OTHER_CONTROLS = {
    **{
        name: partial(families.control, FAMILIES[name])
        for name in ("SD 1.5", "SDXL, Pony, Illustrious", "SD 3, SD 3.5", "Flux.1 dev, Krea")
    },
    "Qwen-Image": partial(families.control, FAMILIES["Qwen-Image, Qwen-Image-Edit"]),
    "adapter": partial(families.adapter, xl=False),
    "adapter of SDXL": partial(families.adapter, xl=True),
    "union": partial(families.union, FAMILIES["SDXL, Pony, Illustrious"]),
}
"""ControlNets of all kinds, by their families."""


@cache
def other_control(kind: str) -> Any:
    """One of each kind is enough: nothing is computed with it, nor put on it."""
    return OTHER_CONTROLS[kind]()


HALVES = {
    "bfloat16": {"dtype": torch.bfloat16},
    "float8 computed in float32": {"dtype": torch.float8_e4m3fn, "computed": torch.float32},
}
"""Types of weights that flags of the host choose; computing in float16 takes minutes on a CPU."""

HALVED = ("FluxSchnell", "ZImage")


def halves(case: Case) -> dict[str, dict[str, float]]:
    """Frames and learning with weights of smaller types, for some families."""
    found = {}
    for name, types in HALVES.items() if case.family.config in HALVED else ():
        small = Case(case.family, **types)
        away = off(small.frames[1], case.frames[1])
        found[name] = {**learning(small), "off": away, "parts": parts(small)["off"]}
    return found


CHECKS: tuple[Callable[[Case], dict[str, Any]], ...] = (
    frames,
    batches,
    parts,
    host,
    own_prompt,
    poses,
    references,
    others,
    videos,
    learning,
    loras,
    halves,
)


def attempt(work: Callable[..., Any], *args: Any) -> Any:
    """What `work` gives, or what it raised."""
    begun = time.perf_counter()
    try:
        found = work(*args)
    except Exception as error:
        logging.exception("%s", work)
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        logging.info("%s took %.2f s", work, time.perf_counter() - begun)
    return found


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "version": comfyui_version.__version__,
        "classes": [one.__name__ for one in comfy.supported_models.models],
        "families": {},
    }
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        folder_paths.set_temp_directory(folder)
        for name, family in FAMILIES.items():
            if (ONLY and name not in ONLY) or not hasattr(comfy.supported_models, family.config):
                continue
            case = attempt(Case, family)
            results = {"build": case} if isinstance(case, dict) else {}
            for check in CHECKS if not results else ():
                results[check.__name__] = attempt(check, case)
            found["families"][name] = results
            logging.info("%s: %s", name, results)
            FILE.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
