"""Brings pictures to one size, and writes frames and animations."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .files import replacing
from .picture_file import is_just, read_picture
from .settings import FITS, Fit

log = logging.getLogger(__name__)

SMALLEST_ANIMATION = 256


def fit_picture(picture: Image.Image, size: tuple[int, int], how: Fit = "cover") -> Image.Image:
    """The picture at `size` (width, height).

    `cover` fills it and cuts off what stands over, `contain` shows all on black, `stretch` lets the
    sides have their own factors.
    """
    if picture.size == size:
        return picture
    if how == "cover":
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    if how == "contain":
        return ImageOps.pad(picture, size, Image.Resampling.LANCZOS, color="black")
    if how == "stretch":
        return picture.resize(size, Image.Resampling.LANCZOS)
    raise ValueError(f"fit: got {how!r}, needs one of {', '.join(FITS)}")


class Placement(NamedTuple):
    """Where a point (x, y) of a picture lies once that is fitted: `x_factor * x + x_shift`, ..."""

    x_factor: float
    y_factor: float
    x_shift: float
    y_shift: float

    @classmethod
    def of(cls, source: tuple[int, int], size: tuple[int, int], how: Fit) -> Placement:
        """For a picture of `source` fitted to `size`, both (width, height)."""
        x, y = size[0] / source[0], size[1] / source[1]
        if how != "stretch":
            x = y = max(x, y) if how == "cover" else min(x, y)
        return cls(x, y, (size[0] - x * source[0]) / 2, (size[1] - y * source[1]) / 2)


def fit_keyframes(
    paths: Sequence[Path],
    pictures: Sequence[Image.Image],
    size: tuple[int, int] | None = None,
    how: Fit = "cover",
) -> list[Image.Image]:
    """All pictures at `size` (width, height), or at that of the first; a change is logged."""
    wanted = size or pictures[0].size
    for path, picture in zip(paths, pictures, strict=True):
        if picture.size != wanted:
            sides = *picture.size, *wanted
            log.info("%s: %d x %d is resized to %d x %d (--fit %s)", path, *sides, how)
    return [fit_picture(picture, wanted, how) for picture in pictures]


def to_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """`(n, 3, h, w)` in 0..1 of RGB pictures of one size."""
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    return torch.from_numpy(arrays).movedim(-1, 1).float() / 255


def to_image(picture: Tensor) -> Image.Image:
    """A picture of `(3, h, w)` in 0..1; what lies outside is cut off."""
    pixels = (picture.movedim(0, -1).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(pixels)


def to_png(picture: Tensor) -> bytes:
    """A PNG of `(3, h, w)` in 0..1."""
    return encode_png(to_image(picture))


def strip(thumbnails: Tensor) -> Image.Image:
    """Small pictures `(n, h, w, 3)`, uint8, side by side from left to right."""
    return Image.fromarray(torch.cat(list(thumbnails), dim=1).cpu().numpy())


def encode_jpeg(picture: Image.Image) -> bytes:
    """A JPEG of a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def encode_png(picture: Image.Image) -> bytes:
    """A PNG of a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def keyframe_png(path: Path, picture: Image.Image) -> bytes:
    """The bytes of `path` itself where it is a PNG that shows just `picture`, else a PNG of it."""
    return path.read_bytes() if is_just(path, picture) else encode_png(picture)


def write_webp(file: Path, frames: Sequence[Path], fps: float, bounce: bool = True) -> None:
    """Write an animated WebP that repeats without end: forwards and, with `bounce`, backwards.

    Small pictures are enlarged by a whole factor, and odd sides lose a pixel.
    """
    options = {"quality": "90", "loop": "0"}
    order = _there_and_back(frames) if bounce else frames
    _write_film(file, order, fps, "webp", "libwebp_anim", "bgra", options)


def write_mp4(file: Path, frames: Sequence[Path], fps: float, bounce: bool = False) -> None:
    """Write a film in H.264: forwards and, with `bounce`, backwards.

    Small pictures are enlarged by a whole factor, and odd sides lose a pixel.
    """
    order = _there_and_back(frames) if bounce else frames
    _write_film(file, order, fps, "mp4", "libx264", "yuv420p", {"crf": "16"})


def _there_and_back(frames: Sequence[Path]) -> list[Path]:
    """The two ends once each, so that none stands still when it is repeated."""
    return [*frames, *frames[-2:0:-1]]


def _write_film(
    file: Path,
    frames: Sequence[Path],
    fps: float,
    container: str,
    codec: str,
    pixels: str,
    options: dict[str, str],
) -> None:
    """One frame at a time, so that a thousand need no more memory than ten; sides made even."""
    import av

    rate = Fraction(fps).limit_denominator(1000)
    container_options = {"loop": "0"} if container == "webp" else {}
    try:
        with (
            replacing(file) as unfinished,
            # without the prefix FFmpeg takes what stands before a colon for a protocol
            av.open(f"file:{unfinished}", "w", format=container, options=container_options) as film,
        ):
            stream = film.add_stream(codec, rate=rate, options=options)
            stream.pix_fmt = pixels
            stream.width, stream.height = (side - side % 2 for side in next(_enlarged(frames)).size)
            for picture in _enlarged(frames):
                even = picture.crop((0, 0, stream.width, stream.height))
                film.mux(stream.encode(av.VideoFrame.from_image(even)))
            film.mux(stream.encode())
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(file)) from error
        raise ValueError(f"film: {file} cannot be written ({error})") from error


def _enlarged(frames: Sequence[Path]) -> Iterator[Image.Image]:
    """The pictures at the size of the first, made larger by a whole factor where that is small."""
    size = None
    for path in frames:
        picture = read_picture(path)
        size = size or picture.size
        picture = fit_picture(picture, size, "contain")
        factor = max(1, SMALLEST_ANIMATION // min(picture.size))
        yield ImageOps.scale(picture, factor, Image.Resampling.NEAREST)
