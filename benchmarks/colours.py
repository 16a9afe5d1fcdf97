"""Are colours that stray mended, and right ones left alone? `python benchmarks/colours.py`

Paths whose truth is known are made from photographs that scikit-image and scikit-learn
have inside: `grade` goes over to a graded copy, `relit` to one with another light, `crop` moves and
zooms a view, and `warp` bends a graded view. Colours then stray as those of made frames do: at each
depth of the path there are new errors of tint, contrast, saturation and light, and each frame has
those of its neighbours, too.

Match Colors works in two ways: `followed` from frame to frame, and along the `map` of the path's
ends by the embedded model's features. Where that map says too little of colours, frames are
followed; `maps` is the fraction of paths where it says enough.

`before` and `after` are root mean squared errors to the truth, without and with Match Colors.
`harm` is how far Match Colors moves the truth itself, `largest harm` that of its worst pixel in a
thousand. Photographs of a package that is not installed are left out.
"""

from __future__ import annotations

import importlib.util
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from support.report import parser, publish
from torch import Tensor
from torch.nn import functional as F

from diffusion_interpolation.command.job import EMBEDDED, defaults_of
from diffusion_interpolation.demo import load_model
from diffusion_interpolation.method.colours.mapped import ColoursAlong
from diffusion_interpolation.method.colours.tracing import match_colours
from diffusion_interpolation.method.matching.correspondence import (
    Correspondence,
    match_keyframes,
)
from diffusion_interpolation.method.path import Path as FramePath
from diffusion_interpolation.models.contract import LearnableModel
from diffusion_interpolation.pictures import to_tensor

PHOTOGRAPHS = {
    "skimage": ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png"],
    "sklearn": ["china.jpg", "flower.jpg"],
}
FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
KINDS = ("grade", "relit", "crop", "warp")
MARGIN = 1.25
"""Sides of a photograph for one of a view."""
WARM = torch.tensor([1.12, 1.0, 0.82])[:, None, None]


def main() -> None:
    args = _arguments()
    photographs = [photograph(file, args.size) for file in files()][: args.photographs]
    if not photographs:
        raise SystemExit("photographs: got none, needs scikit-image or scikit-learn")
    model, rows = load_model(device=args.device), []
    for kind in KINDS:
        found: dict[str, list[list[float]]] = {"followed": [], "map": []}
        for number, picture in enumerate(photographs):
            truth = path(picture, kind, args.size, args.frames)
            wrong = strayed(truth, args.seed + number, args.amount)
            gap = mapped(model, truth)
            found["followed"].append([*figures(truth, wrong, args.device), 0.0])
            says = float(*ColoursAlong([gap], truth[[0, -1]]).says)
            found["map"].append([*figures(truth, wrong, args.device, [gap]), says])
        for way, each in found.items():
            means = torch.tensor(each).mean(0).tolist()
            names = "before", "after", "harm", "largest harm", "maps"
            rows.append({"path": kind, "way": way, **dict(zip(names, means, strict=True))})
    publish(rows, args.json)


def mapped(model: LearnableModel, frames: Tensor) -> Correspondence:
    """What is where in the first and in the last frame, by the model's features."""
    prompt = model.encode_text(defaults_of(EMBEDDED)["prompt"])
    [gap] = match_keyframes(model, prompt, frames[[0, -1]])
    return gap


def _arguments() -> Namespace:
    words = parser(__doc__)
    words.add_argument(
        "--size", type=int, default=128, help="of a frame's side in pixels, a multiple of 32 (128)"
    )
    words.add_argument("--frames", type=int, default=17, help="of a path (17)")
    words.add_argument("--amount", type=float, default=0.06, help="how far colours stray (0.06)")
    words.add_argument("--photographs", type=int, metavar="N", help="the first N alone (all)")
    return words.parse_args()


def files() -> Iterator[Path]:
    """The photographs of the packages that are installed."""
    for package, names in PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin:
            yield from (Path(spec.origin).parent / FOLDERS[package] / name for name in names)


def photograph(file: Path, size: int) -> Tensor:
    """The middle of a photograph `(3, h, w)`, somewhat larger than views of `size` pixels."""
    with Image.open(file) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        large = round(2 * MARGIN * size)
        return to_tensor([image.convert("RGB").resize((large, large), box=box)])[0]


def path(picture: Tensor, kind: str, size: int, frames: int) -> Tensor:
    """The frames `(frames, 3, size, size)` of a path of one kind."""
    places = torch.linspace(0, 1, frames).tolist()
    return torch.stack([coloured(view(picture, t, kind, size), t, kind) for t in places])


def view(picture: Tensor, t: float, kind: str, size: int) -> Tensor:
    """What a frame at `t` shows of a photograph."""
    zoom = 1 / MARGIN - 0.15 * t * (kind == "crop")
    pan = 0.16 * (2 * t - 1) * (kind in ("crop", "warp"))
    matrix = torch.tensor([[[zoom, 0, pan], [0, zoom, 0]]])
    x, y = F.affine_grid(matrix, [1, 3, size, size], align_corners=False).unbind(-1)
    if kind == "warp":
        x, y = x + 0.08 * t * torch.sin(3 * y), y + 0.08 * t * torch.sin(4 * x)
    grid = torch.stack([x, y], -1)
    options = {"mode": "bicubic", "padding_mode": "reflection", "align_corners": False}
    return F.grid_sample(picture[None], grid, **options)[0].clamp(0, 1)


def coloured(picture: Tensor, t: float, kind: str) -> Tensor:
    """A view in the colours, or in the light, of a frame at `t`."""
    if kind == "relit":
        light = torch.linspace(0.5, 1.15, picture.shape[-1])
        return picture.lerp((picture * light).clamp(0, 1), t)
    if kind == "crop":
        return picture
    warm = picture * WARM
    grey = warm.mean(0, keepdim=True)
    return picture.lerp((0.85 * grey.lerp(warm, 0.6) + 0.06).clamp(0, 1), t)


def strayed(frames: Tensor, seed: int, amount: float) -> Tensor:
    """Frames whose colours have strayed, as those of neighbours that they were made from."""
    generator = torch.Generator().manual_seed(seed)
    errors = torch.zeros(len(frames), 8)
    for slot in (slot for slots in FramePath((len(frames) - 2,)).slots() for slot in slots):
        new = torch.randn(8, generator=generator) * amount * 0.65 ** (slot.depth - 1)
        errors[slot.index] = errors[[slot.left, slot.right]].mean(0) + new
    return torch.stack([_off(*pair) for pair in zip(frames, errors, strict=True)]).clamp(0, 1)


def _off(frame: Tensor, error: Tensor) -> Tensor:
    grey = frame.mean(0, keepdim=True)
    tint, contrast = error[:3, None, None], error[3:6, None, None]
    light = torch.linspace(-1, 1, frame.shape[-1])
    off = 0.7 * tint + 1.4 * contrast * (grey - 0.45) + 0.4 * error[7] * light
    return frame + off + 3 * error[6] * (frame - grey)


def figures(
    truth: Tensor, frames: Tensor, device: str, gaps: list[Correspondence] | None = None
) -> list[float]:
    """Errors before and after, harm, and the largest harm."""
    between = slice(1, -1)
    made = [match_colours(one, device=device, gaps=gaps) for one in (truth, frames)]
    moved = (made[0] - truth).abs()
    errors = [(one - truth)[between] for one in (frames, made[1])]
    sizes = [error.square().mean().sqrt().item() for error in (*errors, moved[between])]
    worst = moved.flatten().topk(max(1, moved.numel() // 1000)).values[-1].item()
    return [*sizes, worst]


if __name__ == "__main__":
    main()
