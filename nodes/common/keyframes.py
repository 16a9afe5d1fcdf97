"""The pictures between which frames are made: gathered, brought to one size, and checked."""

from __future__ import annotations

from typing import Any

import comfy.utils
import torch
from comfy_api.latest import io
from torch import Tensor

from .images import to_rgb
from .notes import CROPPED, FITTED, Note


def keyframe_inputs() -> list[io.Input]:
    """Return the inputs that keyframes come by: two pictures, or any number in a batch."""
    return [
        io.Image.Input(
            "first",
            optional=True,
            tooltip="The first picture of the path, from Load Image. Connect the other picture to "
            "last, and nothing to keyframes.",
        ),
        io.Image.Input(
            "last",
            optional=True,
            tooltip="The last picture of the path. A picture of another size is resized and "
            "cropped to the size of the first one.",
        ),
        io.Image.Input(
            "keyframes",
            optional=True,
            tooltip="The pictures of a path through more than two, in order, as one batch (Batch "
            "Images). first comes before them and last after them, where these are connected.",
        ),
    ]


def gather(
    first: Tensor | None, keyframes: Tensor | None, last: Tensor | None, vae: Any
) -> tuple[Tensor, list[Note]]:
    """Return the pictures `(N, 3, h, w)` of the three inputs of `keyframe_inputs`.

    All are brought to the size of the first one, as Batch Images does, and cropped to what `vae`
    takes. Raises `ValueError` for fewer than 2 pictures, and as `cropped` does.
    """
    given = {"first": first, "keyframes": keyframes, "last": last}
    pictures = {name: to_rgb(name, images) for name, images in given.items() if images is not None}
    count = sum(map(len, pictures.values()))
    if count < 2:
        raise ValueError(
            f"keyframes: got {count} in first, keyframes and last together, needs at least 2"
        )
    size = next(iter(pictures.values())).shape[2:]
    notes = [
        Note(FITTED, {"name": name, "before": _sides(batch), "after": _sides(size)})
        for name, batch in pictures.items()
        if batch.shape[2:] != size
    ]
    fitted = torch.cat([_fitted(batch, size) for batch in pictures.values()])
    taken, more = cropped(fitted, vae, next(iter(pictures)))
    return taken, notes + more


def counted(**given: Tensor | None) -> str:
    """Say how many pictures each input of `keyframe_inputs` gives, where several do."""
    parts = [f"{len(one)} in {name}" for name, one in given.items() if one is not None]
    return f" ({', '.join(parts)})" if len(parts) > 1 else ""


def _fitted(batch: Tensor, size: torch.Size) -> Tensor:
    if batch.shape[2:] == size:
        return batch
    return comfy.utils.common_upscale(batch, size[1], size[0], "bilinear", "center")


def keyframe_pictures(images: Tensor) -> Tensor:
    """Return the pictures `(N, 3, h, w)` of an IMAGE `(N, h, w, c)` of at least 2.

    Raises `ValueError` for what is no picture, and for one alone.
    """
    pictures = to_rgb("keyframes", images)
    if len(pictures) < 2:
        raise ValueError(
            f"keyframes: got {len(pictures)} picture, needs at least 2; Batch Images joins them"
        )
    return pictures


def read_keyframes(images: Tensor, vae: Any) -> Tensor:
    """Return the pictures of `keyframe_pictures`, cropped to what `vae` takes.

    Raises `ValueError` as it does, for pictures that are too small, and where a checkpoint came
    without a VAE.
    """
    return cropped(keyframe_pictures(images), vae)[0]


def cropped(pictures: Tensor, vae: Any, name: str = "keyframes") -> tuple[Tensor, list[Note]]:
    """Return the middle of `pictures` `(N, 3, h, w)` whose sides are multiples of the VAE's step.

    It is what the host's VAE Encode takes of a picture. Raises `ValueError` for pictures smaller
    than one step; `name` is the input that has their size.
    """
    check_vae(vae)
    unit = vae.spacial_compression_encode()
    height, width = pictures.shape[2:]
    if height < unit or width < unit:
        raise ValueError(f"{name}: got {width} x {height} pixels, both sides need at least {unit}")
    top, left = (side % unit // 2 for side in (height, width))
    taken = pictures[:, :, top : top + height - height % unit, left : left + width - width % unit]
    if taken.shape == pictures.shape:
        return pictures, []
    return taken, [Note(CROPPED, {"before": _sides(pictures), "after": _sides(taken)})]


def check_vae(vae: Any) -> None:
    """Raise `ValueError` where a checkpoint came without a VAE."""
    if vae is None:
        raise ValueError(
            "vae: got none (the checkpoint has none inside), needs one; Load VAE reads a VAE file"
        )


def _sides(size: Tensor | torch.Size) -> str:
    height, width = size.shape[2:] if isinstance(size, Tensor) else size
    return f"{width} x {height}"
