"""The nodes that keep a learned conditioning: safetensors with what it was made with."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..diffusion_interpolation.method.learning.inversion import Inversion
from ..diffusion_interpolation.models.conditioning_file import (
    MadeFor,
    is_savable,
    load_inversion,
    save_inversion,
)
from ..diffusion_interpolation.models.prompts import (
    AnyPrompts,
    Prompts,
)
from .comfy.conditioning import read_conditioning, write_conditioning
from .common.model_files import file_state, loadable
from .common.types import CATEGORY, INVERSION_KEY

log = logging.getLogger(__name__)

FOLDER = "inversions"

for _place in (folder_paths.models_dir, folder_paths.get_output_directory()):
    folder_paths.add_model_folder_path(FOLDER, str(Path(_place) / FOLDER))


class SaveInversion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveInversion",
            display_name="Save Inversion",
            category=CATEGORY,
            description="Saves the prompts that Textual Invert learned, so that you need not learn "
            "them again.",
            inputs=[
                io.Conditioning.Input(
                    "positive", tooltip="The learned prompts, from Textual Invert."
                ),
                io.Conditioning.Input(
                    "negative", tooltip="The learned negative prompt, from Textual Invert."
                ),
                io.String.Input(
                    "filename_prefix",
                    default="inversion",
                    tooltip=f"The file goes to output/{FOLDER}, with a number after this name. "
                    "A slash makes a subfolder.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, positive: Any, negative: Any, filename_prefix: str) -> io.NodeOutput:
        towards = read_conditioning("positive", positive)
        away = read_conditioning("negative", negative)
        facts = towards.parts[0].extras.get(INVERSION_KEY, {})
        folder, name, counter, _, _ = folder_paths.get_save_image_path(
            f"{FOLDER}/{filename_prefix}", folder_paths.get_output_directory()
        )
        file = Path(folder) / f"{name}_{counter:05}_.safetensors"
        learned = Inversion(_savable(towards), _savable(away), facts.get("losses", {}))
        save_inversion(file, learned, MadeFor(facts.get("cfg")))
        lines = [file.name, *_left_out("positive", towards), *_left_out("negative", away)]
        return io.NodeOutput(ui={"text": tuple(lines)})


class LoadInversion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadInversion",
            display_name="Load Inversion",
            category=CATEGORY,
            description="Loads the prompts that Save Inversion or the command saved. Use them with "
            "the same model and keyframes.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=loadable(FOLDER),
                    tooltip=f"A file in output/{FOLDER} or models/{FOLDER}. Press R to "
                    "list a new file.",
                )
            ],
            outputs=[
                io.Conditioning.Output(
                    "positive",
                    display_name="positive",
                    tooltip="The prompts, one for each keyframe.",
                ),
                io.Conditioning.Output(
                    "negative",
                    display_name="negative",
                    tooltip="The negative prompt for all keyframes.",
                ),
                io.Float.Output(
                    "cfg",
                    display_name="cfg",
                    tooltip="The cfg at which the prompts were learned. Use it for sampling, too. "
                    "It is 7.5 if the file does not name a cfg.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> str:
        return file_state(FOLDER, file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        path = folder_paths.get_full_path_or_raise(FOLDER, file)
        learned, made_for = load_inversion(Path(path))
        facts = {INVERSION_KEY: {"cfg": made_for.cfg, "losses": learned.losses}}
        return io.NodeOutput(
            write_conditioning(learned.positive.map_extras(lambda held: {**(held or {}), **facts})),
            write_conditioning(learned.negative),
            float(made_for.cfg) if made_for.cfg is not None else 7.5,
        )


def _savable(text: AnyPrompts) -> AnyPrompts:
    """The prompts with those of their extras that a file can hold: sizes, guidance, other texts."""

    def change(extras: dict[str, Any]) -> dict[str, Any]:
        held = {key: value for key, value in extras.items() if is_savable(value)}
        held.pop(INVERSION_KEY, None)
        return held

    return text.map_extras(change)


def _left_out(name: str, text: Prompts) -> list[str]:
    """A line, which is logged too, that names what is not in the file; none where all is."""
    pairs = zip(text.parts, _savable(text).parts, strict=True)
    lost = {key for part, kept in pairs for key in part.extras.keys() - kept.extras.keys()}
    if not (lost := sorted(lost - {INVERSION_KEY})):
        return []
    line = f"{name}: {', '.join(lost)} cannot be saved in a file; add it again after Load Inversion"
    log.warning("SaveInversion: %s", line)
    return [line]
