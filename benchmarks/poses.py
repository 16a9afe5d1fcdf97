"""Do people move with their poses? `python benchmarks/poses.py`

Frames between pairs of held-out puppets, with the poses of both and a ControlNet, and without. The
demo's reader reads the joints off each frame; they are held against the pose that lies between the
two at the frame's place. `joints` is their mean distance in picture heights.

`limbs` is the fraction of frames with all eight parts of arms and legs. A part is there if at least
half of it stands out from the background at least half as much as in a new drawing of the puppet
that was read. `drawn` is the same for true puppets, and `without arms` for puppets whose arms are
painted over, which is as far as the measure can be trusted.
"""

from __future__ import annotations

import torch
from demo_model import SIZE, held_out
from report import parser, publish
from schemes import Bench, Way
from torch import Tensor, nn

from diffusion_interpolation.demo import world
from diffusion_interpolation.poses.motion import pose_at

LIMBS = ((2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13))
POINTS = 9
"""Along a limb."""


def measured(bench: Bench, pairs: Tensor, way: Way) -> dict[str, list[float]]:
    """Of every frame of all pairs."""
    joints, limbs = [], []
    for pair in pairs.split(2):
        pictures = bench.made(way, pair).frames[1:-1]
        numbers, poses = bench.read(pictures), world.poses(pair, SIZE)
        places = torch.linspace(0, 1, len(pictures) + 2)[1:-1].tolist()
        truth = torch.stack([pose_at(poses, place)[0].points / SIZE for place in places])
        joints += (world.joints(numbers) - truth).norm(dim=-1).mean(1).tolist()
        limbs += all_limbs(pictures, numbers).tolist()
    return {"joints": joints, "limbs": limbs}


def all_limbs(pictures: Tensor, numbers: Tensor) -> Tensor:
    """`(n,)` of bool: whether all limbs of the puppets `numbers` are in the `pictures`."""
    at = world.joints(numbers)
    along = torch.linspace(0, 1, POINTS)[:, None]
    points = [at[:, [a]].lerp(at[:, [b]], along) for a, b in LIMBS]
    # (n, 8, POINTS, 2), from picture heights to grid_sample's -1 to 1
    grid = 2 * torch.stack(points, dim=1) - 1
    seen, drawn = (
        nn.functional.grid_sample(p, grid, align_corners=False).movedim(1, -1)
        for p in (pictures, world.render(numbers, SIZE))
    )
    background = numbers[:, None, None, world.BACK]
    contrasts = [(colours - background).norm(dim=-1) for colours in (seen, drawn)]
    there = contrasts[0] >= contrasts[1] / 2
    return (there.float().mean(-1) >= 0.5).all(1)


def without_arms(puppets: Tensor) -> Tensor:
    """Pictures of puppets with the background in the place of both forearms."""
    pictures, at = world.render(puppets, SIZE), world.joints(puppets) * SIZE
    for elbow, wrist in ((3, 4), (6, 7)):
        for share in torch.linspace(0, 1, POINTS):
            for picture, place, puppet in zip(
                pictures, at[:, elbow].lerp(at[:, wrist], share), puppets, strict=True
            ):
                x, y = (place - 3).round().clamp(0, SIZE).int().tolist()
                picture[:, y : y + 7, x : x + 7] = puppet[world.BACK, None, None]
    return pictures


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--pairs", type=int, default=50)
    words.add_argument("--frames", type=int, default=9, help="of a path, the inputs among them")
    args = words.parse_args()
    bench, puppets = Bench(args.frames, args.seed, args.device), held_out(2 * args.pairs, args.seed)
    posed, free = (measured(bench, puppets, Way(posed=posed)) for posed in (True, False))
    drawn = world.render(puppets, SIZE)
    numbers = bench.read(drawn)
    known = [all_limbs(p, numbers).tolist() for p in (drawn, without_arms(puppets))]
    publish(rows(posed, free, *known), args.json)


def rows(
    posed: dict[str, list[float]],
    free: dict[str, list[float]],
    drawn: list[bool],
    armless: list[bool],
) -> list[dict[str, object]]:
    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    errors = mean(posed["joints"]), mean(free["joints"])
    found = [
        ("joints, with poses, mean, %", 100 * errors[0], "< 5"),
        ("joints, without, mean, %", 100 * errors[1], ""),
        ("joints, without against with", errors[1] / errors[0], ">= 2"),
        ("limbs, with poses, % of frames", 100 * mean(posed["limbs"]), ">= 95"),
        ("limbs, without, % of frames", 100 * mean(free["limbs"]), ""),
        ("limbs, drawn, % of pictures", 100 * mean(drawn), ""),
        ("limbs, without arms, % of pictures", 100 * mean(armless), ""),
    ]
    return [{"measure": m, "value": v, "wanted": w} for m, v, w in found]


if __name__ == "__main__":
    main()
