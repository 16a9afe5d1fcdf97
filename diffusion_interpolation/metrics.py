"""How good a path is: measures over its frames, each with its formula.

`d` is a perceptual distance between pictures, given by the caller and to be named with every
figure. A cross-fade has the lowest PPL of all, so a low PPL alone does not make a path good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]
"""From two batches of pictures `(n, 3, h, w)` in 0..1 to `n` distances."""

Features = Callable[[Tensor], Tensor]
"""From pictures `(n, 3, h, w)` in 0..1 to `(n, width)`."""


@dataclass(frozen=True)
class PathMeasures:
    """The measures of one path that need no truth (method, "Measures").

    `steps` are the distances `d(x_i, x_{i+1})` of adjacent frames, `(frames - 1,)`, and `ends` is
    `d(x_0, x_n)`.
    """

    steps: Tensor
    ends: float

    @property
    def ppl(self) -> float:
        """Perceptual path length `sum_i d(x_i, x_{i+1})`."""
        return self.steps.sum().item()

    @property
    def rppd(self) -> float:
        """`PPL / d(x_0, x_n)`; 1 for a straight way, infinite for ends that are alike."""
        return self.ppl / self.ends if self.ends else float("inf")

    @property
    def pdv(self) -> float:
        """Variance of the steps about their mean, over their number; 0 for constant speed."""
        return self.steps.var(correction=0).item()

    @property
    def beside_inputs(self) -> float:
        """The larger of the steps next to the two inputs, in medians of all steps."""
        largest = torch.maximum(self.steps[0], self.steps[-1])
        return (largest / self.steps.median()).item()


def measure_path(frames: Tensor, distance: Distance) -> PathMeasures:
    """The measures of the frames of a path, its two inputs among them.

    Frames are pictures `(n, 3, h, w)`, or whatever `distance` takes, `(n, ...)`. Raises
    `ValueError` for fewer than three.
    """
    if len(frames) < 3:
        raise ValueError(f"frames: got {len(frames)}, want at least 3, the two inputs among them")
    steps = distance(frames[:-1], frames[1:]).float().cpu()
    return PathMeasures(steps, distance(frames[:1], frames[-1:]).item())


def feature_distance(features: Features) -> Distance:
    """The length `|f(x) - f(y)|` of the way between features that have length 1."""
    return lambda a, b: torch.linalg.vector_norm(features(a) - features(b), dim=-1)


def lpips_distance(weights: Path, device: torch.device | str = "cpu") -> Distance:
    """LPIPS 0.1 on AlexNet (Zhang et al. 2018), by the package `lpips`, which must be installed.

    It brings all but the network itself: `weights` is torchvision's file of AlexNet, as trained on
    ImageNet, on this machine. Raises `ValueError` where it is missing or holds something else.
    """
    import lpips

    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).to(device)
    layers = network.net.state_dict()
    try:
        trained = torch.load(weights, map_location=device, weights_only=True)
        # `slice3.6.bias` is torchvision's `features.6.bias`
        own = {key: trained[f"features.{key.split('.', 1)[1]}"] for key in layers}
        network.net.load_state_dict(own)
    except (OSError, EOFError, RuntimeError, UnpicklingError, KeyError, TypeError) as error:
        raise ValueError(
            f"lpips: {weights} is not a file of torchvision's AlexNet ({type(error).__name__})"
        ) from error

    @torch.no_grad()
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return network(a.to(device), b.to(device), normalize=True).flatten()

    return distance


def frechet_distance(real: Tensor, made: Tensor) -> float:
    """`|m_r - m_g|^2 + tr(S_r + S_g - 2 (S_r S_g)^(1/2))` of features `(n, width)` (FID).

    `m` and `S` are mean and covariance; in float64. Heusel et al. 2017. Raises `ValueError` for
    fewer than two rows, which have no covariance.
    """
    if min(len(real), len(made)) < 2:
        raise ValueError(f"features: got {len(real)} and {len(made)} rows, want at least 2 of each")
    # not every device has float64
    real, made = real.cpu().double(), made.cpu().double()
    means = (real.mean(0) - made.mean(0)).square().sum()
    first, second = torch.cov(real.T), torch.cov(made.T)
    root = _root(first)
    # the trace of a root of a product is that of the root of this, which is symmetric
    mixed = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return (means + first.trace() + second.trace() - 2 * mixed).item()


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T
