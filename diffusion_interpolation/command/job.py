"""What a run of the command is asked to do: its options, each written once (`options.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path as File
from typing import Any, Literal, NamedTuple, get_type_hints

from ..method.path import Path
from ..options import Option, Record, option, options_of
from ..presets import MATCHED
from ..settings import (
    Fit,
    FrameSettings,
    InversionSettings,
    Pairing,
    People,
    PoseSettings,
    SamplingSettings,
)

EMBEDDED, EMBEDDED_FLOW = "demo", "demo-flow"
EMBEDDED_MODELS = (EMBEDDED, EMBEDDED_FLOW)
"""The values of `--model` that are no files: a UNet and a flow transformer."""

DETECT = "detect"
"""The value of `--pose` that is no file."""

# The embedded models know only puppets and the flaws in their training pictures, and they need a
# higher learning rate than large models.
_OF_EMBEDDED = {
    "prompt": ["a puppet"],
    "negative_prompt": "a double exposure",
    "cfg": 2.0,
    "inversion_learning_rate": 0.25,
    "inversion_draws": 4,
    "inversion_augmentations": 0,
}
OF_MODEL = dict.fromkeys(EMBEDDED_MODELS, _OF_EMBEDDED)
"""Defaults that differ with the value of `--model`, by the names of options."""


@dataclass(frozen=True)
class PictureSettings(Record):
    """The pictures between which frames are made."""

    images: list[File] = option(list, "Two or more pictures, in order.", metavar="IMAGE")
    size: tuple[int, int] | None = option(
        None,
        "Size of the frames.",
        metavar="WxH",
        shown="the size of the first image",
        identity=False,
    )
    fit: Fit = option(
        "cover",
        "How an image of another size is brought to the size of the frames.",
        identity=False,
    )


@dataclass(frozen=True)
class TextSettings(Record):
    """What the pictures show."""

    prompt: list[str] = option(
        lambda: [""],
        "Describes what all images show. Repeat the option to describe each image.",
        metavar="TEXT",
        shown="none",
    )
    negative_prompt: str = option(
        "", "Describes what the frames should not look like.", metavar="TEXT", shown="none"
    )
    rerank_prompt: str = option(
        "",
        "Describes what the best candidate looks like.",
        metavar="TEXT",
        shown="the prompts",
    )
    rerank_negative_prompt: str = option(
        "",
        "Describes what the best candidate does not look like.",
        metavar="TEXT",
        shown="the negative prompt",
    )


@dataclass(frozen=True)
class PeopleSettings(Record):
    """The people in the pictures."""

    pose: list[File] = option(
        list,
        "OpenPose files, one for each image, or the word detect, to find the people in the images. "
        "Poses need --controlnet or --model demo.",
        metavar="JSON",
        shown="none",
        identity=False,
    )
    detector: Literal["ViTPose", "OpenPose"] = option(
        "ViTPose",
        "What finds the people for --pose detect, on the CPU. OpenPose needs the package "
        "controlnet-aux, and its weights are for non-commercial use. --model demo reads its "
        "puppets without weights.",
        identity=False,
    )
    detector_folder: File | None = option(
        None,
        "Folder with the detector's files: the folders vitpose and rtdetr, or body_pose_model.pth. "
        "With --allow-download, missing files are downloaded there.",
        metavar="DIR",
        shown="~/.cache/diffusion-interpolation",
        identity=False,
    )
    people: People = option(
        "largest",
        "Whether the largest person of each image is used, or everyone.",
        identity=False,
    )
    pairing: Pairing = option(
        "left to right",
        "How the people of one image are paired with those of the next, with --people all: in this "
        "order, or so that joints move as little as possible.",
        identity=False,
    )
    fill_joints: bool = option(
        False,
        "Add a joint that an image lacks at the place where the other images have it, instead of "
        "leaving it out.",
        identity=False,
    )

    @property
    def detected(self) -> bool:
        """Whether poses are found in the pictures, and not read from files."""
        return self.pose == [File(DETECT)]


@dataclass(frozen=True)
class MatchSettings(Record):
    """What is where in the pictures."""

    match: bool = option(
        False,
        "Find by the model's own features which places of neighbouring images show the same thing, "
        "and move things from one to the other instead of fading them over. Joints of --pose are "
        "taken as certain.",
    )


@dataclass(frozen=True)
class NetworkSettings(Record):
    """The networks that make frames and choose among candidates."""

    model: str = option(
        EMBEDDED,
        "A folder in the layout of diffusers, or a .safetensors file together with --config. demo "
        "and demo-flow are embedded models.",
        metavar="PATH",
    )
    config: str | None = option(
        None,
        "Folder with the configurations for a single file.",
        metavar="DIR",
        shown="none",
    )
    controlnet: str | None = option(
        None, "Folder of an OpenPose ControlNet, for --pose.", metavar="DIR", shown="none"
    )
    reranker: str | None = option(
        None,
        "A CLIP that ranks candidates: a folder, or a .safetensors file of open-clip. Without it, "
        "candidates are ranked by likeness to their neighbours alone.",
        metavar="PATH",
        shown="none",
    )
    reranker_architecture: str = option(
        "ViT-L-14-quickgelu", "Architecture of the open-clip file.", metavar="NAME"
    )
    allow_download: bool = option(
        False,
        "Let --model, --config and --controlnet be OWNER/NAME or OWNER/NAME@REVISION on the "
        "Hugging Face hub. path.json says which commit was fetched. The files of the detector are "
        "downloaded, too, if they are missing.",
        identity=False,
    )


@dataclass(frozen=True)
class MachineSettings(Record):
    """What the networks run on."""

    device: str | None = option(
        None, "cuda, xpu, mps or cpu.", metavar="NAME", shown="the first that the machine has"
    )
    dtype: Literal["float32", "float16", "bfloat16"] | None = option(
        None,
        "Type of the networks' numbers: float32, float16 or bfloat16.",
        metavar="NAME",
        shown="float16 on cuda, otherwise float32",
    )
    max_batch: int = option(
        16,
        "How many candidates are denoised together. The frames do not depend on it.",
        min=1,
        max=4096,
        identity=False,
    )
    checkpointing: bool = option(
        False,
        "Learn prompts with less memory, which takes about a third more time.",
        identity=False,
    )


@dataclass(frozen=True)
class OutputSettings(Record):
    """What is written, and where."""

    out: File | None = option(
        None,
        "Folder for the results.",
        metavar="DIR",
        shown="FIRST-to-LAST, by the names of the images",
        identity=False,
    )
    frames: int = option(17, "Number of frames, the inputs included.", min=3)
    fps: float = option(
        12.0, "Frames per second of the WebP and the mp4.", min=0.01, max=1000.0, identity=False
    )
    overwrite: bool = option(
        False,
        "Replace a run with other settings in the folder of --out. The same run is continued.",
        identity=False,
    )


class Part(NamedTuple):
    """A record of a job, and how the names of its options differ from the record's own.

    They are behind `prefix`, but for those that are `shared`: these have the value that the option
    of the same name has in another record.
    """

    field: str
    record: type[Record]
    prefix: str = ""
    shared: tuple[str, ...] = ()

    def options(self) -> list[Option]:
        """Return the options by which the command gives the record."""
        own = [one for one in options_of(self.record) if one.name not in self.shared]
        return [replace(one, name=self.prefix + one.name) for one in own]

    def of(self, values: Mapping[str, Any]) -> Record:
        """Return the record with `values` of the command's options."""
        shared = {self.prefix + name: values[name] for name in self.shared}
        return self.record.of({**values, **shared}, self.prefix)


def _part(prefix: str = "", shared: tuple[str, ...] = ()) -> Any:
    return field(metadata={"prefix": prefix, "shared": shared})


@dataclass(frozen=True)
class Job:
    """Everything that a run needs to know."""

    pictures: PictureSettings = _part()
    output: OutputSettings = _part()
    text: TextSettings = _part()
    learning: InversionSettings = _part("inversion_", shared=("cfg", "seed"))
    sampling: SamplingSettings = _part()
    frames: FrameSettings = _part()
    poses: PoseSettings = _part()
    people: PeopleSettings = _part()
    matching: MatchSettings = _part()
    networks: NetworkSettings = _part()
    machine: MachineSettings = _part()

    @classmethod
    def parts(cls) -> list[Part]:
        """Return the records that a job is made of, in the order of the command's help."""
        types = get_type_hints(cls)
        return [Part(one.name, types[one.name], **one.metadata) for one in fields(cls)]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Job:
        """Return the job that values of the command's options describe."""
        return cls(**{part.field: part.of(values) for part in cls.parts()})

    def path(self) -> Path:
        """Return the path; raise `ValueError` for settings that cannot be run."""
        for part in self.parts():
            getattr(self, part.field).check(part.prefix)
        self._check_files()
        self._check_poses()
        images, prompts = self.pictures.images, self.text.prompt
        if len(prompts) not in (1, len(images)):
            raise ValueError(
                f"prompt: got {len(prompts)}, needs 1 or as many as images ({len(images)})"
            )
        return Path.of(self.output.frames, len(images))

    def _check_files(self) -> None:
        images, out = self.pictures.images, self.output.out
        if len(images) < 2:
            raise ValueError(f"images: got {len(images)}, needs at least 2")
        if out is None:
            raise ValueError("out: got none, needs a folder for the results")
        inside = [image for image in images if out.resolve() in image.resolve().parents]
        if inside:
            raise ValueError(f"images: got {inside[0]}, needs a file outside of the folder {out}")

    def _check_poses(self) -> None:
        networks, given = self.networks, self.people.pose
        if given and networks.model == EMBEDDED_FLOW:
            raise ValueError(
                f"pose: got poses, but {EMBEDDED_FLOW} has no ControlNet, which takes them; "
                f"use --model {EMBEDDED}, or no --pose"
            )
        if given and networks.model != EMBEDDED and not networks.controlnet:
            raise ValueError("pose: got poses, but no --controlnet, which takes them")
        if networks.controlnet and networks.model in EMBEDDED_MODELS:
            raise ValueError(
                f"controlnet: got {networks.controlnet}, but the embedded models take none from "
                "outside"
            )

    def identity(self) -> dict[str, Any]:
        """Return all options that frames depend on, but pictures and poses, in JSON's types."""
        found = {}
        for part in self.parts():
            for one in part.options():
                if one.identity:
                    value = getattr(getattr(self, part.field), one.name.removeprefix(part.prefix))
                    found[one.name] = value
        return {**found, "images": [image.name for image in self.pictures.images]}


def defaults_of(model: str, match: bool = False) -> dict[str, Any]:
    """Return the default of every option of the command, for a value of `--model`.

    With `match` they are those of the options beside `--match`.
    """
    found = {one.name: one.default for part in Job.parts() for one in part.options()}
    changed = {**OF_MODEL.get(model, {}), **(MATCHED if match else {})}
    return {**found, "model": model, **changed}
