"""Frames as pictures to look at: a strip for each path, and sheets of strips."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from diffusion_interpolation.pictures import to_image

from .records import Run


def strip_file(folder: Path, run: Run, way: str, pair: int) -> Path:
    """Return where the strip of a pair and a way lies."""
    name = re.sub(r"[^a-z0-9.]+", "-", way.lower())
    poses = "poses" if run.posed else "none"
    return folder / f"{run.model}_{poses}_{name}_{pair:02d}.webp"


def save_strip(frames: Tensor, file: Path) -> None:
    """Write frames `(n, 3, h, w)` in a row."""
    file.parent.mkdir(parents=True, exist_ok=True)
    to_image(torch.cat(list(frames), dim=2)).save(file, lossless=True, method=2)


def save_sheet(strips: Iterable[Path], file: Path) -> None:
    """Write strips, one below the other."""
    pictures = [Image.open(strip).convert("RGB") for strip in strips]
    sheet = Image.new("RGB", (pictures[0].width, sum(p.height for p in pictures)))
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    sheet.save(file)
