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
from support.limbs import all_limbs, without_arms
from support.measures import Measures
from support.puppets import SIZE, held_out
from support.report import parser, publish
from torch import Tensor
from ways import Bench, Way

from diffusion_interpolation.demo import world
from diffusion_interpolation.poses.motion import pose_at


def measured(bench: Bench, measures: Measures, pairs: Tensor, way: Way) -> dict[str, list[float]]:
    """Return the joint error and the presence of limbs of every frame of all pairs."""
    joints, limbs = [], []
    for pair in pairs.split(2):
        pictures = bench.made(way, pair).frames[0, 1:-1]
        numbers, poses = measures.read(pictures).cpu(), world.poses(pair, SIZE)
        places = torch.linspace(0, 1, len(pictures) + 2)[1:-1].tolist()
        truth = torch.stack([pose_at(poses, place)[0].points / SIZE for place in places])
        joints += (world.joints(numbers) - truth).norm(dim=-1).mean(1).tolist()
        limbs += all_limbs(pictures, numbers).tolist()
    return {"joints": joints, "limbs": limbs}


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--pairs", type=int, default=50)
    words.add_argument("--frames", type=int, default=9, help="of a path, the inputs among them")
    args = words.parse_args()
    bench, measures = Bench(args.frames, args.seed, args.device), Measures(args.device)
    puppets = held_out(2 * args.pairs, args.seed)
    posed, free = (measured(bench, measures, puppets, Way(posed=posed)) for posed in (True, False))
    drawn = world.render(puppets, SIZE)
    numbers = measures.read(drawn).cpu()
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
