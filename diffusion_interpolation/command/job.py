"""What a run of the command is asked to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path as File
from typing import Any

import torch

from .. import demo
from ..hub import pinned
from ..method.bisection import Settings
from ..method.inversion import InversionSettings
from ..method.path import Path
from ..models.diffusers.model import DiffusersModel
from ..pictures import Fit
from ..poses.motion import Motion
from ..poses.pose import Pairing, People
from ..scoring.clip import ClipPair, load_pair

EMBEDDED, EMBEDDED_FLOW = EMBEDDED_MODELS = tuple(demo.MODELS)
"""The values of `ModelChoice.model` that are no files: a UNet and a flow transformer."""


@dataclass(frozen=True)
class ModelChoice:
    """Which networks a job runs on, and how."""

    model: str = EMBEDDED
    config: str | None = None
    controlnet: str | None = None
    reranker: str | None = None
    reranker_architecture: str = "ViT-L-14-quickgelu"
    allow_download: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    steps: int = 20
    max_batch: int = 16

    def pinned(self) -> ModelChoice:
        """The same choice with a commit for each model that is to be downloaded from the hub."""
        if not self.allow_download:
            return self
        names = ("model", "config", "controlnet")
        return replace(self, **{name: pinned(name, getattr(self, name)) for name in names})

    def load(self) -> DiffusersModel:
        """The diffusion model. Raises `ValueError` for what cannot be read, or run here."""
        _check_device(self.device)
        options: dict[str, Any] = {
            "steps": self.steps,
            "max_batch": self.max_batch,
            "device": self.device,
            "dtype": getattr(torch, self.dtype),
        }
        if self.model == EMBEDDED:
            return demo.load_model(self.controlnet == EMBEDDED, **options)
        if self.model == EMBEDDED_FLOW:
            return demo.load_flow(**options)
        if File(self.model).suffix == ".safetensors":
            if not self.config:
                raise ValueError(
                    f"config: got none, but {self.model} is a single file, which needs the folder "
                    "with the configurations and tokenizers of such a model"
                )
            return DiffusersModel.from_single_file(
                self.model, self.config, self.controlnet, self.allow_download, **options
            )
        return DiffusersModel.from_folder(
            self.model, self.controlnet, self.allow_download, **options
        )

    def load_reranker(self) -> ClipPair | None:
        """The CLIP that chooses among candidates, if there is one."""
        if self.reranker is None:
            return demo.reranker(self.device) if self.model in EMBEDDED_MODELS else None
        return load_pair(File(self.reranker), self.reranker_architecture, self.device)


@dataclass(frozen=True)
class Job:
    """Everything that a run needs to know.

    `size` is (width, height); the cfg and the seed of `inversion` should be those of the sampling.
    """

    images: list[File]
    out: File
    prompts: list[str]
    negative: str = ""
    frames: int = 17
    cfg: float = 7.5
    networks: ModelChoice = field(default_factory=ModelChoice)
    bisection: Settings = field(default_factory=Settings)
    inversion: InversionSettings = field(default_factory=InversionSettings)
    checkpointing: bool = False
    rerank_prompt: str = ""
    rerank_negative: str = ""
    poses: list[File] = field(default_factory=list)
    people: People = "largest"
    pairing: Pairing = "left to right"
    motion: Motion = "swing"
    fill_joints: bool = False
    size: tuple[int, int] | None = None
    fit: Fit = "cover"
    fps: float = 12.0
    overwrite: bool = False

    def path(self) -> Path:
        """The path; raises `ValueError` for settings that cannot be run."""
        if len(self.images) < 2:
            raise ValueError(f"images: got {len(self.images)}, a path needs at least 2")
        inside = [image for image in self.images if self.out.resolve() in image.resolve().parents]
        if inside:
            raise ValueError(f"images: {inside[0]} lies in the output folder {self.out}")
        if self.frames < 3:
            raise ValueError(f"frames: got {self.frames}, needs at least 3, the inputs among them")
        if len(self.prompts) not in (1, len(self.images)):
            raise ValueError(
                f"prompt: got {len(self.prompts)}, needs 1 or as many as images "
                f"({len(self.images)})"
            )
        self.bisection.check()
        if self.poses and self.networks.model == EMBEDDED_FLOW:
            raise ValueError(
                f"pose: got poses, but {EMBEDDED_FLOW} has no ControlNet, which takes them; "
                f"use --model {EMBEDDED}, or no --pose"
            )
        if self.poses and not self.networks.controlnet:
            raise ValueError("pose: got poses, but no --controlnet, which takes them")
        self._check_numbers()
        return Path.of(self.frames, len(self.images))

    def _check_numbers(self) -> None:
        for name, value in (
            ("cfg", self.cfg),
            ("fps", self.fps),
            ("learning rate", self.inversion.learning_rate),
        ):
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: got {value}, needs a finite number above 0")
        self.inversion.check()

    def frame_settings(self) -> dict[str, Any]:
        """All but the pictures and the poses that frames depend on, in JSON's types."""
        networks = asdict(self.networks)
        for name in ("allow_download", "max_batch"):
            del networks[name]
        return {
            "images": [image.name for image in self.images],
            "frames": self.frames,
            "prompts": self.prompts,
            "negative": self.negative,
            "cfg": self.cfg,
            "motion": self.motion,
            **networks,
            **asdict(self.bisection),
            "inversion_steps": self.inversion.steps,
            "learning_rate": self.inversion.learning_rate,
            "draws": self.inversion.draws,
            "augmentations": self.inversion.augmentations,
            "rerank_prompt": self.rerank_prompt,
            "rerank_negative": self.rerank_negative,
        }


def _check_device(name: str) -> None:
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {name} cannot be used ({reason})") from error
