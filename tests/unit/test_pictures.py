from __future__ import annotations

import logging
import os
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_interpolation.pictures import (
    Placement,
    fit_keyframes,
    fit_picture,
    read_picture,
    strip,
    to_image,
    to_png,
    to_tensor,
    write_mp4,
    write_webp,
)


def _stripes(width: int = 40, height: int = 20) -> Image.Image:
    """Black on the left, white on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    return Image.fromarray(pixels)


def _save(picture: Image.Image, file, **options):
    picture.save(file, **options)
    return file


def test_ways_to_fit():
    stripes = _stripes()
    cover, contain, stretch = (
        fit_picture(stripes, (20, 20), how) for how in ("cover", "contain", "stretch")
    )
    assert cover.size == contain.size == stretch.size == (20, 20)
    assert cover.getpixel((19, 0)) == (255, 255, 255), "cover leaves no margin"
    assert contain.getpixel((19, 0)) == (0, 0, 0) and contain.getpixel((19, 10)) == (255, 255, 255)
    assert stretch.getpixel((19, 0)) == (255, 255, 255)
    with pytest.raises(ValueError, match="fit: got 'crop', needs one of"):
        fit_picture(stripes, (20, 20), "crop")


def test_the_first_picture_sets_the_size_and_changes_are_said_aloud(tmp_path, caplog):
    files = [_save(_stripes(), tmp_path / "a.png"), _save(_stripes(80, 80), tmp_path / "b.png")]
    originals = [read_picture(file) for file in files]
    with caplog.at_level(logging.INFO):
        pictures = fit_keyframes(files, originals)
    assert [picture.size for picture in pictures] == [(40, 20), (40, 20)]
    assert "b.png: 80 x 80 is resized to 40 x 20 (--fit cover)" in caplog.text
    assert [p.size for p in fit_keyframes(files, originals, (16, 16))] == [(16, 16), (16, 16)]


@pytest.mark.parametrize("how", ["cover", "contain", "stretch"])
def test_points_are_placed_where_the_fitted_picture_has_them(how):
    picture = Image.new("RGB", (120, 80))
    picture.paste((255, 255, 255), (66, 46, 75, 55))  # around (70.5, 50.5)
    fitted = np.asarray(fit_picture(picture, (60, 60), how)).astype(float).sum(2)
    ys, xs = np.mgrid[:60, :60] + 0.5
    found = (xs * fitted).sum() / fitted.sum(), (ys * fitted).sum() / fitted.sum()
    place = Placement.of((120, 80), (60, 60), how)
    wanted = place.x_factor * 70.5 + place.x_shift, place.y_factor * 50.5 + place.y_shift
    assert found == pytest.approx(wanted, abs=0.1)


def test_tensors_and_pictures_go_there_and_back():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    picture = Image.fromarray(pixels)
    tensor = to_tensor([picture])
    assert tensor.shape == (1, 3, 8, 12) and tensor.max() <= 1
    import io

    assert np.array_equal(np.asarray(Image.open(io.BytesIO(to_png(tensor[0])))), pixels)


def _frames(folder, size=(33, 21)):
    files = []
    for i in range(5):
        files.append(_save(Image.new("RGB", size, (50 * i, 0, 200)), folder / f"{i}.png"))
    return files


def test_the_webp_goes_there_and_back(tmp_path):
    write_webp(tmp_path / "a.webp", _frames(tmp_path), fps=10)
    with Image.open(tmp_path / "a.webp") as film:
        assert film.n_frames == 8 and film.info["loop"] == 0
        assert min(film.size) >= 128, "small pictures are enlarged"
        reds = []
        for i in range(8):
            film.seek(i)
            reds.append(film.convert("RGB").getpixel((50, 50))[0])
            assert film.info["duration"] == 100
    assert reds == pytest.approx([0, 50, 100, 150, 200, 150, 100, 50], abs=4)
    assert not list(tmp_path.glob(".*"))


def test_the_film_shows_the_frames_in_order(tmp_path):
    write_mp4(tmp_path / "a.mp4", _frames(tmp_path, (301, 299)), fps=12)
    with av.open(str(tmp_path / "a.mp4")) as film:
        frames = [frame.to_image() for frame in film.decode(video=0)]
        assert film.streams.video[0].codec_context.name == "h264"
    assert [frame.size for frame in frames] == [(300, 298)] * 5
    reds = [frame.getpixel((150, 150))[0] for frame in frames]
    assert reds == pytest.approx([0, 50, 100, 150, 200], abs=6)


def test_pixels_are_rounded_not_cut():
    picture = torch.full((3, 2, 2), 0.999)
    import io

    assert Image.open(io.BytesIO(to_png(picture))).getpixel((0, 0)) == (255, 255, 255)


def test_a_strip_shows_small_pictures_from_left_to_right():
    small = torch.tensor([10, 200, 90], dtype=torch.uint8)[:, None, None, None].expand(3, 4, 6, 3)
    picture = strip(small)
    assert picture.size == (18, 4)
    assert [picture.getpixel((x, 2))[0] for x in (0, 5, 6, 11, 12, 17)] == [
        10,
        10,
        200,
        200,
        90,
        90,
    ]


def test_a_picture_of_a_tensor():
    tensor = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    picture = to_image(tensor)
    assert picture.size == (7, 5)
    assert (to_tensor([picture])[0] - tensor).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
@pytest.mark.parametrize("folder", ["12:30", "pipe:1", "http:", "a:b/c:d", "100%d", "-x"])
def test_films_are_written_into_folders_of_any_name(tmp_path, monkeypatch, folder):
    """FFmpeg takes what stands before a colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    place = Path(folder)
    place.mkdir(parents=True)
    frames = _frames(tmp_path)
    write_mp4(place / "path.mp4", frames, fps=12)
    write_webp(place / "path.webp", frames, fps=12)
    assert {file.name for file in place.iterdir()} == {"path.mp4", "path.webp"}
    with Image.open(place / "path.webp") as film:
        assert film.n_frames == 8


@pytest.mark.parametrize("write", [write_mp4, write_webp])
def test_a_film_that_cannot_be_written_is_named(tmp_path, write):
    """As in a folder that is read-only or gone, or on a full disk: PyAV has errors of its own."""
    picture = tmp_path / "a.png"
    Image.new("RGB", (16, 16)).save(picture)
    film = tmp_path / "gone" / "film"
    with pytest.raises(FileNotFoundError) as caught:
        write(film, [picture, picture], 12)
    assert caught.value.filename == str(film) and caught.value.strerror
