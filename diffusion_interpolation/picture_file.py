"""Reads picture files as they look: upright, in sRGB, on white."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

log = logging.getLogger(__name__)

LARGEST_CHUNK = 64 * 2**20
"""Bytes of a PNG's compressed chunk. Profiles of calibrated displays exceed Pillow's 2**20."""
SAME_COLOUR = 2
"""Levels of 256. A profile that moves no colour by more is sRGB, up to rounding."""
SRGB_GAMMA = 1 / 2.2
SRGB_CHROMATICITY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
"""x and y of white, red, green and blue."""

_LIMITS = threading.RLock()
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""For a profile's colour space the mode of the pictures that it describes."""
_UNREAD = {
    "AVIF": (b"avif", b"avis"),
    # the last two are of all pictures of this family, AVIF among them
    "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
}
"""Brands of formats that phones and web sites use, and Pillow, or an older one, does not read."""


def read_picture(path: Path) -> Image.Image:
    """Return the picture in a file, upright, in RGB; what is transparent becomes white.

    Colours of a picture with an ICC profile are converted to sRGB, in which the frames are
    written. Raises `ValueError` for what is missing or no picture.
    """
    with opened(path) as file:
        profile = file.info.get("icc_profile")
        picture = _in_srgb(_eight_bits(ImageOps.exif_transpose(file), path), profile, path)
        if not picture.has_transparency_data:
            return picture.convert("RGB")
        solid = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(solid, picture.convert("RGBA")).convert("RGB")


def is_just(path: Path, picture: Image.Image) -> bool:
    """Whether `path` is a PNG that everything shows as `picture`, an RGB one of `read_picture`.

    It is not one if it holds other pixels, moves, is transparent, or asks for other colours.
    """
    with opened(path) as file:
        if file.format != "PNG" or file.mode != "RGB" or file.size != picture.size:
            return False
        gamma = file.info.get("gamma", SRGB_GAMMA)
        primaries = file.info.get("chromaticity", SRGB_CHROMATICITY)
        plain = (
            getattr(file, "n_frames", 1) == 1
            and not file.has_transparency_data
            and np.allclose(gamma, SRGB_GAMMA, atol=0.005)
            and np.allclose(primaries, SRGB_CHROMATICITY, atol=0.005)
        )
        return plain and file.tobytes() == picture.tobytes()


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The picture file, open; whatever goes wrong within is a `ValueError` that names it."""
    try:
        with _large_chunks(), Image.open(path) as file:
            yield file
    except FileNotFoundError:
        raise ValueError(f"image: there is no file {path}") from None
    except (UnidentifiedImageError, IsADirectoryError) as error:
        raise ValueError(_no_picture(path)) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if str(error).startswith("image: "):
            raise
        raise ValueError(f"image: {path} cannot be read: {error}") from error


@contextmanager
def _large_chunks() -> Iterator[None]:
    """Within, Pillow reads a PNG's chunks up to `LARGEST_CHUNK`; it has one limit for all."""
    with _LIMITS:
        limit = PngImagePlugin.MAX_TEXT_CHUNK
        PngImagePlugin.MAX_TEXT_CHUNK = max(limit, LARGEST_CHUNK)
        try:
            yield
        finally:
            PngImagePlugin.MAX_TEXT_CHUNK = limit


def _no_picture(path: Path) -> str:
    """What to say of a file that Pillow does not know, which may be a picture nevertheless."""
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(32)
    brands = [head[place : place + 4] for place in (8, *range(16, 32, 4))]
    for name, known in _UNREAD.items():
        if head[4:8] == b"ftyp" and any(brand in known for brand in brands):
            return f"image: {path} is in the format {name}, which is not read; save it as PNG"
    return f"image: {path} is no picture that can be read"


def _eight_bits(picture: Image.Image, path: Path) -> Image.Image:
    """Grey pictures of 16 bits brought to 8, which Pillow would cut off instead."""
    if picture.mode == "F":
        raise ValueError(f"image: {path} holds floating-point numbers, needs 8 or 16 bits")
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture) / 257).round().clip(0, 255).astype(np.uint8))


# Colours


def _in_srgb(picture: Image.Image, profile: bytes | None, path: Path) -> Image.Image:
    """The picture with its colours in sRGB; a profile that cannot be used is left out, with a
    warning, as viewers do."""
    if not profile:
        return picture
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES.get(given.profile.xcolor_space)
        if mode is None:
            raise ValueError(f"it is of the colour space {given.profile.xcolor_space.strip()!r}")
        return _converted(picture, given, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, ImportError) as error:
        log.warning("image: the colour profile of %s cannot be used (%s)", path, error)
        return picture


def _converted(picture: Image.Image, given: ImageCms.ImageCmsProfile, mode: str) -> Image.Image:
    """`picture` in sRGB, with its transparency; `given` describes pictures of `mode`."""
    fits = {"RGB": picture.mode != "CMYK", "L": picture.mode in ("1", "L", "LA")}
    if not fits.get(mode, picture.mode == mode):
        raise ValueError(f"it is for {mode} pictures, this one is {picture.mode}")
    if mode == "RGB" and _is_srgb(given):
        return picture
    if picture.mode == "P":
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    opaque = picture.convert(mode)
    colours = ImageCms.profileToProfile(
        opaque,
        given,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if picture.has_transparency_data:
        colours.putalpha(picture.convert("RGBA").getchannel("A"))
    return colours


def _is_srgb(given: ImageCms.ImageCmsProfile) -> bool:
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    seen = ImageCms.profileToProfile(
        Image.fromarray(colours),
        given,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return np.abs(np.asarray(seen).astype(int) - colours).max() <= SAME_COLOUR
