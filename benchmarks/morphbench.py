"""The field's measures on your own pairs and model: `python benchmarks/morphbench.py FOLDER ...`

FOLDER has a folder for each pair, with two pictures in it and, if you like, a `prompt.txt` of one
line for both or one line for each. Or it has pictures `NAME_0.*` and `NAME_1.*`, as MorphBench has
them. All options that are not named below go to the command as they are, such as `--model`,
`--prompt`, `--frames` and `--size`, so the figures are those of the frames that the command gives:

    python benchmarks/morphbench.py pairs --out made --lpips alexnet.pth --inception inc.pth \\
        --model path/to/stable-diffusion --reranker path/to/clip --frames 7

For a pair, `LPIPS` is the sum of the distances of adjacent frames (FreeMorph's; the paper's path
length), `PPL` is that sum times the square of the number of frames between the inputs (FreeMorph's
tables have 25 for 5), and `PDV` is the variance of the distances (DiffMorpher's). The last row has
the sums of LPIPS and PPL over all pairs, the mean of PDV, and FID of all frames in between against
all inputs.

`--lpips` is torchvision's file of AlexNet, `--inception` its file of Inception 3 (v3). They cannot
be packed with this project. Without them, the distance is the chord between embeddings of the
demo's CLIP, and FID is over these embeddings: good for comparing paths with each other, and not
with anybody's table. FID by torchvision's Inception is not quite that of the first FID code, which
had other weights.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from support.distances import frechet_distance, inception_features, lpips_distance
from support.report import parser, publish
from torch import Tensor

from diffusion_interpolation.command.cli import main as command
from diffusion_interpolation.demo import reranker
from diffusion_interpolation.pictures import to_tensor
from diffusion_interpolation.scoring.metrics import (
    Distance,
    Features,
    feature_distance,
    measure_path,
)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class Pair(NamedTuple):
    """Two pictures, and the prompts that are written beside them."""

    name: str
    images: list[Path]
    prompts: list[str]


def find_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a folder. Raises `ValueError` where there are none."""
    found = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        images = _pictures(place)
        if len(images) == 2:
            found.append(Pair(place.name, images, _prompts(place / "prompt.txt")))
    names: dict[str, list[Path]] = {}
    for image in _pictures(folder):
        if match := re.fullmatch(r"(.+)_[01]", image.stem):
            names.setdefault(match[1], []).append(image)
    found += [Pair(name, images, []) for name, images in names.items() if len(images) == 2]
    if not found:
        raise ValueError(
            f"FOLDER: {folder} has no pairs, needs folders with two pictures each, "
            "or pictures NAME_0 and NAME_1"
        )
    return found


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def _prompts(file: Path) -> list[str]:
    if not file.is_file():
        return []
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def frames_of(pair: Pair, out: Path, options: Sequence[str]) -> Tensor:
    """Make a pair's frames by the command, or take those of an earlier run; `(n, 3, h, w)`."""
    prompts = [word for prompt in pair.prompts for word in ("--prompt", prompt)]
    words = [*map(str, pair.images), "--out", str(out), *prompts, *options]
    if command(words):
        raise SystemExit(f"{pair.name}: the command failed; what it said is above")
    pictures = [Image.open(file).convert("RGB") for file in sorted((out / "frames").glob("*.png"))]
    return to_tensor(pictures)


class Judge(NamedTuple):
    """What pictures are compared by."""

    distance: Distance
    features: Features

    @classmethod
    def of(cls, args: Namespace) -> Judge:
        """Return the networks that were given, or the demo's CLIP."""
        embed = reranker(args.device).embed_pictures
        distance = (
            lpips_distance(args.lpips, args.device) if args.lpips else feature_distance(embed)
        )
        return cls(
            distance, inception_features(args.inception, args.device) if args.inception else embed
        )


@torch.no_grad()
def measured(judge: Judge, frames: Tensor) -> dict[str, float]:
    """Return the figures of one path."""
    path = measure_path(frames, judge.distance)
    return {"LPIPS": path.ppl, "PPL": path.ppl * (len(frames) - 2) ** 2, "PDV": path.pdv}


def main() -> None:
    words = parser(__doc__)
    words.add_argument("folder", type=Path, metavar="FOLDER")
    words.add_argument("--out", type=Path, required=True, help="where the command makes the paths")
    words.add_argument("--lpips", type=Path, metavar="FILE", help="torchvision's AlexNet")
    words.add_argument("--inception", type=Path, metavar="FILE", help="torchvision's Inception 3")
    args, options = words.parse_known_args()
    options += ["--device", args.device, "--seed", str(args.seed)]
    judge, rows, inputs, between = Judge.of(args), [], [], []
    for pair in find_pairs(args.folder):
        frames = frames_of(pair, args.out / pair.name, options)
        rows.append({"pair": pair.name, **measured(judge, frames), "FID": "-"})
        with torch.no_grad():
            features = judge.features(frames).cpu()
        inputs.append(features[[0, -1]])
        between.append(features[1:-1])
    totals = {key: sum(row[key] for row in rows) for key in ("LPIPS", "PPL", "PDV")}
    totals["PDV"] /= len(rows)
    fid = frechet_distance(torch.cat(inputs), torch.cat(between))
    publish([*rows, {"pair": f"all {len(rows)}", **totals, "FID": fid}], args.json)


if __name__ == "__main__":
    main()
