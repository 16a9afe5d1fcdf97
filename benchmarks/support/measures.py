"""What is measured of a path between two puppets, whose truth is known."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_interpolation.demo import load_reader, reranker, world
from diffusion_interpolation.scoring.metrics import Distance, feature_distance, measure_path

from .limbs import all_limbs
from .puppets import SIZE, truth

COLOURS = (world.BODY, world.LEGS, world.BACK)


class Measures:
    """Measures paths with the demo's reader and CLIP on `device`.

    The distance of PPL, rPPD and PDV is the chord between the CLIP's embeddings, or `distance`.
    """

    def __init__(self, device: str, distance: Distance | None = None) -> None:
        self.device, self.reader, self.clip = device, load_reader(device), reranker(device)
        self.distance = distance or feature_distance(lambda features: features)
        self._own = distance is None

    @torch.no_grad()
    def read(self, pictures: Tensor) -> Tensor:
        """Return the numbers of the puppets in pictures `(n, 3, h, w)`."""
        return self.reader(pictures.to(self.device))

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """Return the embeddings `(n, width)` of pictures on the CPU."""
        return self.clip.embed_pictures(pictures.to(self.device)).float().cpu()

    @torch.no_grad()
    def figures(self, frames: Tensor, features: Tensor, pair: Tensor) -> dict[str, float]:
        """Return the figures of one path `(n, 3, h, w)`, of which `features` are the embeddings.

        `pair` are the two puppets `(2, numbers)`.
        """
        path = measure_path(features if self._own else frames, self.distance)
        between = frames[1:-1].to(self.device)
        numbers, wanted = self.read(between), truth(pair.to(self.device), len(frames))[0]
        off = (between - world.render(numbers, SIZE)).square().mean((1, 2, 3)).sqrt()
        joints = (world.joints(numbers) - world.joints(wanted)).norm(dim=-1)
        colours = torch.cat([numbers[:, c] - wanted[:, c] for c in COLOURS], 1)
        return {
            "realism": off.mean().item(),
            "joints": joints.mean().item(),
            "colours": colours.square().mean().sqrt().item(),
            "limbs": all_limbs(between, numbers).float().mean().item(),
            "PPL": path.ppl,
            "rPPD": path.rppd,
            "PDV x 1000": 1000 * path.pdv,
            "step next to inputs": path.step_next_to_inputs,
        }
