"""Noise that depends on the seed, the position and the candidate alone (method, step 5)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from ..options import option_of
from ..settings import FrameSettings


def row_seed(seed: int, position: float, candidate: int) -> int:
    """Return a seed of its own for every candidate of every frame, below 2^64.

    `position` is in keyframes. Raises `ValueError` for a `seed` below 0, or of 2^63 and more.
    """
    if fault := option_of(FrameSettings, "seed").fault(seed):
        raise ValueError(fault)
    key = struct.pack("<qdq", seed, position, candidate)
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")


def draw_noise(shape: Sequence[int], seed: int, position: float, candidate: int) -> Tensor:
    """Return standard normal noise on the CPU that depends on its arguments alone."""
    generator = torch.Generator().manual_seed(row_seed(seed, position, candidate))
    return torch.randn(tuple(shape), generator=generator)
