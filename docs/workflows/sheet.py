"""A graph in columns, and the nodes that several example workflows have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from comfy_host import Graph, Node

_TALLER = {"PuppetDemo": 60, "LoadReranker": 90, "RerankerFromCLIP": 60, "NoisyLatentLerp": 30}
"""Room that nodes take in the front end's other renderer, where that is much."""


@dataclass
class Column:
    """A titled group of nodes in rows of `across`; `below` the last column, or right of it."""

    name: str
    width: int
    color: str
    below: bool = False
    across: int = 1
    nodes: list[dict[str, Any] | None] = field(default_factory=list)


class Sheet(Graph):
    """A graph in the making, in columns from left to right."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: list[Column] = []

    def column(self, name: str, width: int = 320, below: bool = False, across: int = 1) -> None:
        self.columns.append(Column(name, width, "#3f789e", below, across))

    def put(
        self,
        kind: str,
        /,
        title: str = "",
        room: int = 0,
        tall: int = 0,
        collapsed: bool = False,
        **inputs: Any,
    ) -> Node:
        """A node at the end of the last column, with `room` pixels for what it will show.

        Or it is `tall` pixels high. Of a `collapsed` node only the title is drawn.
        """
        node = self.add(kind, **inputs)
        room = room or _TALLER.get(kind, 0)
        place = {
            "id": node.id,
            "title": title,
            "room": room,
            "tall": tall,
            "collapsed": collapsed,
        }
        self.columns[-1].nodes.append(place)
        return node

    def skip(self, count: int) -> None:
        """Leave the next `count` places of the last column empty."""
        self.columns[-1].nodes += [None] * count

    def note(self, words: str, height: int) -> None:
        self.put("MarkdownNote", title="Note", tall=height, text=words)

    def prompt_of(self, clip: list, words: str, title: str) -> list:
        return self.put("CLIPTextEncode", title=title, tall=100, clip=clip, text=words)[0]


Wires = dict[str, list]

INVERT = {
    "steps": 100,
    "learning_rate": 1e-4,
    "min_denoise": 0.33,
    "max_denoise": 0.67,
    "draws": 1,
    "augmentations": 16,
    "seed": 0,
}
LORA = {
    "steps": 200,
    "learning_rate": 5e-4,
    "rank": 16,
    "seed": 0,
    "min_denoise": 0.02,
    "max_denoise": 1.0,
}
NAMES = ["first", "second", "third", "fourth"]
SCHEDULE = {"scheduler": "ddim_uniform", "steps": 20}
PATH = {
    "preset": "balanced",
    "loop": False,
    "max_denoise": 0.55,
    "min_denoise": 0.3,
    "denoise_curve": "linear",
    "candidates": 4,
    **SCHEDULE,
    "sampler_name": "euler",
    "blend": "lerp",
    "seed": 0,
}
FAULTS = "blurry, distorted, text, watermark"
WEBP = {"lossless": False, "quality": 90, "method": "default"}


def two_prompts(
    sheet: Sheet,
    clip: list,
    positive: str,
    negative: str = FAULTS,
    width: int = 300,
    below: bool = False,
) -> list[list]:
    sheet.column("Prompts", width, below)
    return [
        sheet.prompt_of(clip, positive, "What all frames show"),
        sheet.prompt_of(clip, negative, "What they should not look like"),
    ]


def puppets(sheet: Sheet, note: str, height: int) -> tuple[Node, list[list]]:
    """The embedded demo and its two prompts."""
    sheet.column("Puppets: nothing to download")
    demo = sheet.put(
        "PuppetDemo", positive="a puppet", negative="a double exposure", network="unet"
    )
    sheet.note(note, height)
    return demo, two_prompts(sheet, demo[1], "a puppet", "a double exposure")


def learn(
    sheet: Sheet, words: list[list], source: Wires, room: int = 220, **values: Any
) -> list[list]:
    """What TextualInvert makes of the positive and negative prompt `words`, in the last column."""
    prompts = {"positive": words[0], "negative": words[1]}
    learned = sheet.put("TextualInvert", room=room, **source, **prompts, **{**INVERT, **values})
    return [learned[0], learned[1]]


def between(
    sheet: Sheet, words: list[list], source: Wires, width: int = 560, **values: Any
) -> list:
    """All frames, under the positive and negative prompt `words`."""
    sheet.column("Frames between", width)
    prompts = {"positive": words[0], "negative": words[1]}
    return sheet.put("FrameBisector", tall=850, **source, **prompts, **{**PATH, **values})[0]


def save(sheet: Sheet, frames: list, prefix: str, fps: float, below: bool = False) -> None:
    """The animation as a file: in a column of its own, or collapsed `below` the last node."""
    if not below:
        sheet.column("Animation")
    values = {"images": frames, "filename_prefix": prefix, "fps": fps, **WEBP}
    # Nodes 2.0 opens a template as if collapsed nodes were as high as expanded ones
    sheet.put("SaveAnimatedWEBP", room=0 if below else 340, collapsed=below, **values)


def keyframes(sheet: Sheet, count: int, side: int, width: int = 250) -> list:
    """Pictures from the input folder, two in a column, of one size, as one batch."""
    across = -(-count // 2)
    sheet.column("Keyframes", width, across=across)
    loaded = [
        sheet.put("LoadImage", title=f"{name.title()} keyframe", room=224, image=f"{name}.png")
        for name in NAMES[:count]
    ]
    sheet.column("One size, one batch", width, below=True, across=across)
    batch: list = []
    for image in loaded:
        sized = sheet.put(
            "ImageScale",
            title=f"{side} x {side}",
            collapsed=True,
            image=image[0],
            upscale_method="lanczos",
            width=side,
            height=side,
            crop="center",
        )
        if batch:
            wires = {"image1": batch, "image2": sized[0]}
            batch = sheet.put("ImageBatch", title="Batch Images", collapsed=True, **wires)[0]
        else:
            batch = sized[0]
            sheet.skip(across - 1)
    return batch
