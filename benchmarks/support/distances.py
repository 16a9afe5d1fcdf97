"""Distances between pictures, and between sets of them, that need more than the package has."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from diffusion_interpolation.resize import resize
from diffusion_interpolation.scoring.metrics import Distance, Features


def lpips_distance(weights: Path, device: torch.device | str = "cpu") -> Distance:
    """Return LPIPS 0.1 on AlexNet (Zhang et al. 2018), by the package `lpips`.

    It brings all but the network itself: `weights` is torchvision's file of AlexNet, as trained on
    ImageNet, on this machine. Raises `ValueError` where it is missing or holds something else.
    """
    import lpips

    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).to(device)
    # `slice3.6.bias` is torchvision's `features.6.bias`
    names = {key: f"features.{key.split('.', 1)[1]}" for key in network.net.state_dict()}
    _load("lpips", "AlexNet", network.net, weights, names)

    @torch.no_grad()
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return network(a.to(device), b.to(device), normalize=True).flatten()

    return distance


def inception_features(weights: Path, device: torch.device | str = "cpu") -> Features:
    """Return the 2048 pooled features of Inception 3 (Szegedy et al. 2015), which FID is over.

    `weights` is torchvision's file. Raises `ValueError` where it is missing or holds something
    else.
    """
    from torchvision.models import Inception3

    network = Inception3(init_weights=False)
    names = {key: key for key in network.state_dict()}
    _load("inception", "Inception 3", network, weights, names)
    network.fc = nn.Identity()
    network.to(device).eval()

    @torch.no_grad()
    def features(pictures: Tensor) -> Tensor:
        parts = [resize(part.to(device), (299, 299), "bilinear") for part in pictures.split(16)]
        return torch.cat([network(2 * part - 1) for part in parts])

    return features


def _load(option: str, kind: str, network: nn.Module, weights: Path, names: dict[str, str]) -> None:
    """Load torchvision's weights; `names` has their names by those of `network`."""
    try:
        trained = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict({own: trained[name] for own, name in names.items()})
    except (OSError, EOFError, RuntimeError, UnpicklingError, KeyError, TypeError) as error:
        raise ValueError(
            f"{option}: {weights} is not a file of torchvision's {kind} ({type(error).__name__})"
        ) from error


def frechet_distance(real: Tensor, made: Tensor) -> float:
    """`|m_r - m_g|^2 + tr(S_r + S_g - 2 (S_r S_g)^(1/2))` of features `(n, width)` (FID).

    `m` and `S` are mean and covariance; in float64. Heusel et al. 2017. Raises `ValueError` for
    fewer than two rows, which have no covariance.
    """
    if min(len(real), len(made)) < 2:
        raise ValueError(
            f"features: got {len(real)} and {len(made)} rows, needs at least 2 of each"
        )
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
