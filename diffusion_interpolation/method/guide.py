"""Interpolates the conditioning of the keyframes along a path: prompts and poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..models.contract import Guidance, LatentDiffusionModel
from ..models.prompts import PromptEmbeddings, Prompts, move
from ..pictures import Placement
from ..poses.motion import Motion, pose_at
from ..poses.pose import Pose, draw_batch


@dataclass(frozen=True)
class Guide:
    """Conditioning of N keyframes.

    `positive` has N rows, one row, or the prompts of N keyframes in several parts; `negative` has
    one row for all frames (method, step 2). `poses` holds the paired people of every keyframe, in
    pixels of a picture of `pose_size` (height, width). If the latents have another shape, that
    picture is scaled to cover it, centred and cropped. Between keyframes people move as `motion`
    says. The ControlNet's strength goes from `strength_at_keyframes` to `strength_half_way` and
    back in every gap (method, step 3).
    """

    positive: Prompts
    negative: PromptEmbeddings
    cfg: float = 7.5
    poses: Sequence[list[Pose]] | None = None
    pose_size: tuple[int, int] = (0, 0)
    strength_at_keyframes: float = 1.0
    strength_half_way: float = 1.5
    motion: Motion = "swing"

    def __post_init__(self) -> None:
        if self.poses is not None and min(self.pose_size) < 1:
            raise ValueError(f"pose size: got {self.pose_size}, needs pixels of (height, width)")

    def at(
        self, positions: Sequence[float], model: LatentDiffusionModel, grid: tuple[int, int]
    ) -> Guidance:
        """Return the guidance of latents of `grid` (h', w'), one row for each of `positions`."""
        # all candidates of a position share its texts and its skeletons
        rows = {position: row for row, position in enumerate(dict.fromkeys(positions))}
        places = torch.tensor(list(rows), dtype=torch.float64)
        like = torch.empty(0, device=model.device)
        index = [rows[position] for position in positions]
        guidance = Guidance(
            move(self.positive, like).at(places).rows(index),
            move(self.negative, like),
            self.cfg,
            positions=list(positions),
        )
        if self.poses is None:
            return guidance
        size = grid[0] * model.hint_scale, grid[1] * model.hint_scale
        return replace(
            guidance,
            hint=self._hints(list(rows), size)[index].to(model.device),
            strength=self._strengths(places)[index].float().to(model.device),
        )

    def _hints(self, positions: Sequence[float], size: tuple[int, int]) -> Tensor:
        """Draw the skeletons at `positions`, `(n, 3, *size)`."""
        assert self.poses is not None
        fitted = Placement.of(self.pose_size[::-1], size[::-1], "cover")
        people = [
            [pose.scaled(*fitted) for pose in pose_at(self.poses, place, self.motion)]
            for place in positions
        ]
        return draw_batch(people, *size)

    def _strengths(self, places: Tensor) -> Tensor:
        share = 1 - 2 * (places - places.floor() - 0.5).abs()
        return self.strength_at_keyframes + share * (
            self.strength_half_way - self.strength_at_keyframes
        )
