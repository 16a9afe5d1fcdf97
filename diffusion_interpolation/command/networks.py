"""Loads the networks that a job asks for."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from .. import demo
from ..hub import pinned
from ..models.diffusers import families
from ..models.diffusers.model import DiffusersModel
from ..models.memory import accelerators
from ..poses.detection import Find
from ..poses.detectors import PUPPETS_NAME, find_folders, load_detector
from ..scoring.clip import ClipPair, open_clip_pair, transformers_pair
from .job import EMBEDDED, EMBEDDED_FLOW, EMBEDDED_MODELS, Job, MachineSettings


def resolved(job: Job) -> Job:
    """Return the job with what this machine and the hub decide filled in.

    That is the device, the type of numbers and, where downloads are allowed, the commit that each
    model of the hub has now. Raises `ValueError` as `pinned` does.
    """
    device = job.machine.device or next(iter(accelerators()), "cpu")
    dtype = job.machine.dtype or ("float16" if device.startswith("cuda") else "float32")
    networks = job.networks
    if networks.allow_download:
        names = ("model", "config", "controlnet")
        commits = {name: pinned(name, getattr(networks, name)) for name in names}
        networks = replace(networks, **commits)
    return replace(job, networks=networks, machine=replace(job.machine, device=device, dtype=dtype))


def load_model(job: Job) -> DiffusersModel:
    """Return the diffusion model. Raises `ValueError` for what cannot be read, or run here."""
    networks = job.networks
    options = _options(job)
    if networks.model == EMBEDDED:
        return demo.load_model(bool(job.people.pose), **options)
    if networks.model == EMBEDDED_FLOW:
        return demo.load_flow(**options)
    online = networks.allow_download
    if Path(networks.model).suffix != ".safetensors":
        return families.load_model(networks.model, networks.controlnet, online, **options)
    if not networks.config:
        raise ValueError(
            f"config: got none, but {networks.model} is a single file, which needs the folder "
            "with the configurations and tokenizers of such a model"
        )
    return DiffusersModel.from_single_file(
        networks.model, networks.config, networks.controlnet, online, **options
    )


def load_find(job: Job) -> Find:
    """Return what finds the people in a picture for `--pose detect`.

    It computes on the CPU, so that the same command finds the same joints again. Raises
    `ValueError` that says which files or package it lacks.
    """
    if job.networks.model == EMBEDDED:
        return _detector(PUPPETS_NAME, ())
    name, download = job.people.detector, job.networks.allow_download
    roots = [job.people.detector_folder or Path.home() / ".cache" / "diffusion-interpolation"]
    try:
        return _detector(name, find_folders(name, roots, download))
    except ValueError as error:
        hint = "" if download else "; --allow-download allows it"
        raise ValueError(f"{error}{hint}") from error


@lru_cache(maxsize=1)
def _detector(name: str, folders: tuple[Path, ...]) -> Find:
    """All paths of a batch have the same one."""
    return load_detector(name, folders).find


def load_reranker(job: Job) -> ClipPair | None:
    """Return the CLIP that chooses among candidates, if there is one."""
    networks, device = job.networks, job.machine.device
    if networks.reranker is None:
        return demo.reranker(device) if networks.model in EMBEDDED_MODELS else None
    place = Path(networks.reranker)
    if place.is_dir():
        return transformers_pair(place, device)
    return open_clip_pair(networks.reranker_architecture, place, device)


def _options(job: Job) -> dict[str, Any]:
    """Return the options of a model. Raises `ValueError` for a device that cannot be used."""
    machine: MachineSettings = job.machine
    try:
        torch.empty(1, device=machine.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {machine.device} cannot be used ({reason})") from error
    return {
        "steps": job.sampling.steps,
        "max_batch": machine.max_batch,
        "device": machine.device,
        "dtype": getattr(torch, machine.dtype),
    }
