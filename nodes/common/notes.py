"""What a node has to say of a run besides its frames."""

from __future__ import annotations

from typing import Any, NamedTuple

# Each text has its translation in js/slider/texts_zh.js.
FITTED = (
    "The picture {name} was resized and cropped from {before} to {after}, the size of the first."
)
CROPPED = "The keyframes were cropped in the middle from {before} to {after}, which the VAE takes."
PRESET = "{preset} for {family}: {steps} steps, cfg {cfg}, denoise from {high} to {low}."
WORK = "{candidates} candidates of {frames} frames, {evaluations} runs of the model."
TIME = "At the speed of the last run this takes about {time}."
STRAY = "The pick {pick} is left out, since no frame is there; it counts again once one is."
ALIKE = "Without a reranker the candidate that is most like its neighbours is taken."
UNRANKED = "Without a reranker and a smoothness_weight each frame has one candidate."


class Note(NamedTuple):
    """A sentence with `{names}` in it for `values`; the page says it in its own language."""

    text: str
    values: dict[str, str | int] = {}  # noqa: RUF012
    running: bool = False
    """Whether it is about the run, not its frames, and so is said only while the run goes on."""

    def __str__(self) -> str:
        return self.text.format(**self.values)

    def to_json(self) -> dict[str, Any]:
        return self._asdict()
