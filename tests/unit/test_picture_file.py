"""Picture files of all kinds, as phones, scanners, editors and calibrated displays make them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from diffusion_interpolation.picture_file import read_picture
from diffusion_interpolation.pictures import encode_png, fit_picture, keyframe_png


def _stripes(width: int = 40, height: int = 20) -> Image.Image:
    """Black on the left, white on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    return Image.fromarray(pixels)


def _save(picture: Image.Image, file: Path, **options) -> Path:
    picture.save(file, **options)
    return file


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _swapped_profile(size: int = 0) -> bytes:
    """A profile whose red is sRGB's green and the reverse, of at least `size` bytes."""
    profile = bytearray(SRGB)
    entries = [132 + 12 * n for n in range(struct.unpack(">I", profile[128:132])[0])]
    red, green = (
        next(place for place in entries if profile[place : place + 4] == name)
        for name in (b"rXYZ", b"gXYZ")
    )
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    # random, so that it does not compress to nothing
    padding = max(0, size - len(profile))
    profile += np.random.default_rng(0).integers(0, 256, padding, np.uint8).tobytes()
    profile[:4] = struct.pack(">I", len(profile))
    return bytes(profile)


def test_pictures_are_turned_upright_and_lose_transparency(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    upright = read_picture(_save(_stripes(), tmp_path / "a.jpg", exif=exif, quality=100))
    assert upright.size == (20, 40)
    assert max(upright.getpixel((10, 2))) < 20 and min(upright.getpixel((10, 37))) > 235
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert read_picture(_save(clear, tmp_path / "a.png")).getpixel((0, 0)) == (255, 255, 255)
    grey = Image.new("L", (4, 4), 100)
    assert read_picture(_save(grey, tmp_path / "g.png")).getpixel((0, 0)) == (100, 100, 100)


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    whole = encode_png(_stripes())
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name, words in (
        ("missing.png", "there is no file"),
        ("text.png", "no picture"),
        ("cut.png", "cannot be read"),
        (".", "no picture"),
    ):
        with pytest.raises(ValueError, match=f"image: .*{words}"):
            read_picture(tmp_path / name)


def test_sixteen_bits_are_scaled_not_cut(tmp_path):
    deep = Image.fromarray(np.full((4, 4), 257 * 100, np.uint16))
    deep.save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png").getpixel((0, 0)) == (100, 100, 100)


def test_keyframes_keep_their_bytes_where_they_can(tmp_path):
    file = _save(_stripes(), tmp_path / "a.png", compress_level=1)
    assert keyframe_png(file, read_picture(file)) == file.read_bytes()
    jpeg = _save(_stripes(), tmp_path / "a.jpg")
    assert keyframe_png(jpeg, read_picture(jpeg)) == encode_png(read_picture(jpeg))
    smaller = fit_picture(read_picture(file), (20, 20))
    assert keyframe_png(file, smaller) == encode_png(smaller)


# Colours


def test_a_picture_with_a_profile_is_brought_to_srgb(tmp_path):
    colours = Image.new("RGB", (8, 8), (200, 40, 60))
    file = _save(colours, tmp_path / "a.png", icc_profile=_swapped_profile())
    picture = read_picture(file)
    assert np.abs(np.subtract(picture.getpixel((0, 0)), (40, 200, 60))).max() <= 3
    again = keyframe_png(file, picture)
    assert again == encode_png(picture), "all frames are in one colour space"
    jpeg = _save(colours, tmp_path / "a.jpg", icc_profile=_swapped_profile(), quality=100)
    assert np.abs(np.subtract(read_picture(jpeg).getpixel((0, 0)), (40, 200, 60))).max() <= 6


def test_a_profile_of_srgb_changes_nothing(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    file = _save(Image.fromarray(pixels), tmp_path / "a.png", icc_profile=SRGB)
    assert np.array_equal(np.asarray(read_picture(file)), pixels)
    assert keyframe_png(file, read_picture(file)) == file.read_bytes()


def test_transparency_is_kept_through_a_profile(tmp_path):
    clear = Image.new("RGBA", (4, 4), (200, 40, 60, 0))
    clear.paste((200, 40, 60, 255), (0, 0, 2, 4))
    for mode in ("RGBA", "P"):
        file = _save(clear.convert(mode), tmp_path / "a.png", icc_profile=_swapped_profile())
        picture = read_picture(file)
        assert picture.getpixel((3, 0)) == (255, 255, 255), mode
        assert picture.getpixel((0, 0))[1] > 190, mode


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_profile_of_another_kind_of_picture_is_left_out(tmp_path, caplog, mode):
    grey = Image.new(mode, (4, 4), 100 if mode == "L" else (0, 0, 0, 155))
    name = "a.png" if mode == "L" else "a.jpg"
    file = _save(grey, tmp_path / name, icc_profile=_swapped_profile())
    assert read_picture(file).getpixel((0, 0)) == pytest.approx((100, 100, 100), abs=2)
    assert ("colour profile of" in caplog.text) == (mode == "CMYK")


def test_a_broken_profile_is_left_out_and_said(tmp_path, caplog):
    file = _save(_stripes(), tmp_path / "a.png", icc_profile=b"no profile" * 20)
    assert np.array_equal(np.asarray(read_picture(file)), np.asarray(_stripes()))
    assert f"the colour profile of {file} cannot be used" in caplog.text


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


@pytest.mark.parametrize(
    "chunk",
    [
        _chunk(b"gAMA", struct.pack(">I", 100_000)),
        _chunk(
            b"cHRM", struct.pack(">8I", *[31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000])
        ),
        _chunk(b"tRNS", struct.pack(">3H", 255, 255, 255)),
    ],
    ids=["brightness", "primaries", "transparency"],
)
def test_a_keyframe_that_viewers_show_otherwise_than_the_frames_is_written_anew(tmp_path, chunk):
    file = _save(_stripes(), tmp_path / "a.png")
    content = file.read_bytes()
    end_of_header = 8 + 25
    file.write_bytes(content[:end_of_header] + chunk + content[end_of_header:])
    assert keyframe_png(file, read_picture(file)) == encode_png(read_picture(file))


def test_a_moving_keyframe_is_written_as_a_still(tmp_path):
    other = Image.new("RGB", (40, 20), "red")
    file = _save(_stripes(), tmp_path / "a.png", save_all=True, append_images=[other])
    assert keyframe_png(file, read_picture(file)) == encode_png(_stripes())


# Large chunks, and what Pillow does not read


def test_a_profile_of_more_than_a_mebibyte_is_used(tmp_path):
    """As a calibrated display has, whose screenshots carry its profile."""
    profile = _swapped_profile(3 * 2**20)
    file = _save(Image.new("RGB", (8, 8), (200, 40, 60)), tmp_path / "a.png", icc_profile=profile)
    assert read_picture(file).getpixel((0, 0))[1] > 190
    assert keyframe_png(file, read_picture(file)) == encode_png(read_picture(file))


@pytest.mark.parametrize("international", [False, True])
def test_a_long_text_in_a_picture_is_no_trouble(tmp_path, international):
    text = PngImagePlugin.PngInfo()
    add = text.add_itxt if international else text.add_text
    add("workflow", "node " * 600_000, zip=True)
    limit = PngImagePlugin.MAX_TEXT_CHUNK
    file = _save(_stripes(), tmp_path / "a.png", pnginfo=text)
    assert np.array_equal(np.asarray(read_picture(file)), np.asarray(_stripes()))
    assert keyframe_png(file, read_picture(file)) == file.read_bytes()
    assert limit == PngImagePlugin.MAX_TEXT_CHUNK, "other users of Pillow keep their limit"


def test_a_picture_that_unfolds_to_too_much_is_named(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("bomb", " " * (65 * 2**20), zip=True)
    file = _save(_stripes(), tmp_path / "bomb.png", pnginfo=text)
    with pytest.raises(ValueError, match=r"image: .*bomb\.png cannot be read"):
        read_picture(file)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"ftypmsf1\0\0\0\0hevcmsf1", "HEIC"),
    ],
)
def test_a_picture_of_a_phone_is_named_with_what_to_do(tmp_path, head, name):
    """Whatever it is called, as phones and messengers rename them."""
    file = tmp_path / "a.jpg"
    file.write_bytes(struct.pack(">I", 8 + len(head)) + head + b"\0" * 100)
    with pytest.raises(ValueError, match=f"a.jpg is in the format {name}, .*; save it as PNG"):
        read_picture(file)


def test_a_picture_of_a_web_site_is_read_or_named(tmp_path):
    """This one is broken, so that a Pillow that reads AVIF does not know it either."""
    file = tmp_path / "a.avif"
    file.write_bytes(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 100)
    with pytest.raises(ValueError, match=r"a\.avif is in the format AVIF"):
        read_picture(file)
