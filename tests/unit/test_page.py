from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tracemalloc
from html.parser import HTMLParser

import pytest
from PIL import Image

from diffusion_interpolation.command import page
from diffusion_interpolation.command.page import write_page
from diffusion_interpolation.method.frame_info import FrameInfo, evenly_spaced, planned
from diffusion_interpolation.method.path import Path


def encoded(color, kind="PNG", size=(8, 8), mode="RGB"):
    stream = io.BytesIO()
    Image.new(mode, size, color).save(stream, kind)
    return stream.getvalue()


def noise(seed, size=64):
    """A PNG that does not compress."""
    data = hashlib.shake_128(bytes([seed])).digest(3 * size * size)
    stream = io.BytesIO()
    Image.frombytes("RGB", (size, size), data).save(stream, "PNG")
    return stream.getvalue()


class Parsed(HTMLParser):
    """Elements as (tag, attributes, text), in order of their ends."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        self.close()
        assert not self._open, "an element is not closed"

    def handle_starttag(self, tag, attrs):
        if tag in ("meta", "link"):
            self.elements.append((tag, dict(attrs), ""))
        else:
            self._open.append((tag, dict(attrs), []))

    def handle_data(self, data):
        for _, _, text in self._open:
            text.append(data)

    def handle_endtag(self, tag):
        opened, attributes, text = self._open.pop()
        assert opened == tag
        self.elements.append((tag, attributes, "".join(text)))

    def all(self, tag, **wanted):
        return [
            (attributes, text)
            for name, attributes, text in self.elements
            if name == tag and wanted.items() <= attributes.items()
        ]

    def frames(self):
        return [text for _, text in self.all("script", **{"class": "frame"})]


def written(tmp_path, pictures, title="Title", **options):
    file = tmp_path / "index.html"
    write_page(file, pictures, title, **options)
    return Parsed(file.read_text(encoding="utf-8"))


def test_every_picture_is_embedded_in_order(tmp_path):
    pictures = [encoded((40 * n, 0, 0)) for n in range(5)]
    stored = tmp_path / "stored.png"
    stored.write_bytes(pictures[2])
    frames = written(tmp_path, [*pictures[:2], stored, *pictures[3:]]).frames()
    assert [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in frames] == (
        pictures
    )


def test_nothing_is_fetched(tmp_path):
    parsed = written(tmp_path, [encoded("red")], settings={"Model": "m"})
    (policy,) = (meta["content"] for meta, _ in parsed.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'; img-src data:;")
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    outside = set(re.findall(r"[a-z]+://[^\s'\"`]+", text))
    assert outside == {"http://www.w3.org/2000/svg"}, "a namespace, never fetched, is all"
    for _, attributes, _ in parsed.elements:
        assert "src" not in attributes
        assert attributes.get("href", "data:,") == "data:,"


def test_the_policy_names_the_script(tmp_path):
    parsed = written(tmp_path, [encoded("red")])
    ((_, script),) = parsed.all("script", type="module")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert any(f"'sha256-{digest}'" in meta.get("content", "") for meta, _ in parsed.all("meta"))


def test_the_script_is_one_module_without_imports():
    script = page._script()
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    assert "class FramePlayer" in script and "class FrameSlider" in script


@pytest.mark.parametrize(
    "nasty", ["</script><script>alert(1)</script>", "<!--", '"><b>&amp;', "$x"]
)
def test_texts_are_text(tmp_path, nasty):
    parsed = written(
        tmp_path, [encoded("red")], nasty, prompts=[nasty, nasty], settings={nasty: nasty}
    )
    assert [text for _, text in parsed.all("h1")] == [nasty]
    assert [text for _, text in parsed.all("title")] == [nasty]
    assert [text for _, text in parsed.all("q")] == [nasty, nasty]
    assert [text for _, text in [*parsed.all("th"), *parsed.all("td")]] == [nasty, nasty]
    ((_, facts),) = parsed.all("script", id="facts")
    assert json.loads(facts)["label"] == nasty
    assert len(parsed.all("script")) == 3, "facts, one frame, the slider"


def test_what_is_known_of_the_frames_reaches_the_slider(tmp_path):
    pictures, frames = [encoded("red")] * 3, planned(Path((1,)))
    ((_, facts),) = written(tmp_path, pictures, frames=frames).all("script", id="facts")
    told = [frame.to_json() for frame in frames]
    assert json.loads(facts) == {"label": "Title", "autoplay": False, "frames": told}
    ((_, facts),) = written(tmp_path, pictures, autoplay=True).all("script", id="facts")
    assert [frame["position"] for frame in json.loads(facts)["frames"]] == [0, 0.5, 1]
    assert json.loads(facts)["autoplay"]


def test_no_settings_and_prompts_leave_no_trace(tmp_path):
    parsed = written(tmp_path, [encoded("red")], prompts=[""])
    assert not parsed.all("table") and not parsed.all("q")


def test_strips_of_candidates_are_embedded_for_their_frames(tmp_path):
    strips = [None, encoded("blue", "JPEG", (16, 8)), None]
    parsed = written(tmp_path, [encoded("red")] * 3, frames=planned(Path((1,))), strips=strips)
    ((attributes, url),) = parsed.all("script", **{"class": "strip"})
    assert attributes["data-frame"] == "1"
    assert url == f"data:image/jpeg;base64,{base64.b64encode(strips[1]).decode()}"


def test_many_bytes_of_png_become_webp(tmp_path, monkeypatch):
    pictures = [noise(0), noise(1), encoded("red", "JPEG")]
    before = sum(map(len, pictures))
    monkeypatch.setattr(page, "LARGE", before - 1)
    frames = written(tmp_path, pictures).frames()
    kinds = [url.split(";")[0] for url in frames]
    assert kinds == ["data:image/webp", "data:image/webp", "data:image/jpeg"]
    assert len(frames[0]) < len(pictures[0])
    monkeypatch.setattr(page, "LARGE", before)
    frames = written(tmp_path, pictures).frames()
    assert frames[0].startswith("data:image/png")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_formats_of_browsers_are_kept(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(page, "LARGE", 0)
    picture = encoded("red", kind)
    (frame,) = written(tmp_path, [picture]).frames()
    assert frame == f"data:image/{kind.lower()};base64,{base64.b64encode(picture).decode()}"


def test_other_formats_become_webp(tmp_path):
    (frame,) = written(tmp_path, [encoded((250, 0, 0, 100), "TIFF", mode="RGBA")]).frames()
    with Image.open(io.BytesIO(base64.b64decode(frame.split(",")[1]))) as image:
        assert (image.format, image.mode, image.getpixel((4, 4))[3]) == ("WEBP", "RGBA", 100)


@pytest.mark.parametrize(
    ("pictures", "options", "text"),
    [
        ([], {}, "pictures: got none"),
        ([b"a picture, surely"], {}, "number 0 .17 bytes. is not a picture"),
        ([encoded("red")], {"frames": evenly_spaced(2)}, "frames: got 2 for 1 pictures"),
        ([encoded("red")], {"strips": [None, None]}, "strips: got 2 for 1 pictures"),
        ([encoded("red")], {"frames": [FrameInfo(0, float("nan"))]}, "JSON"),
    ],
)
def test_what_cannot_be_shown_is_said(tmp_path, pictures, options, text):
    with pytest.raises(ValueError, match=text):
        write_page(tmp_path / "index.html", pictures, "Title", **options)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_old_page(tmp_path):
    file = tmp_path / "index.html"
    file.write_text("old")
    with pytest.raises(ValueError, match="number 1"):
        write_page(file, [encoded("red"), b"broken"], "Title")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_missing_picture_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_page(tmp_path / "index.html", [tmp_path / "gone.png"], "Title")


def test_memory_does_not_grow_with_the_frames(tmp_path):
    picture = tmp_path / "frame.png"
    picture.write_bytes(noise(0, 128))
    peaks = []
    for count in (10, 200):
        tracemalloc.start()
        write_page(tmp_path / "index.html", [picture] * count, "Title")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (tmp_path / "index.html").stat().st_size > 190 * len(picture.read_bytes())
    assert peaks[1] < peaks[0] + 2**20


def test_a_wheel_has_the_script_inside_the_package(tmp_path, monkeypatch):
    package = tmp_path / "site" / "diffusion_interpolation"
    (package / "js/slider").mkdir(parents=True)
    for name in page._MODULES:
        (package / "js/slider" / name).write_text("")
    monkeypatch.setattr(page, "__file__", str(package / "command" / "page.py"))
    assert page._script_folder() == (package / "js/slider").resolve()
    monkeypatch.setattr(page, "__file__", str(tmp_path / "elsewhere" / "command" / "page.py"))
    with pytest.raises(FileNotFoundError, match=r"frame_slider\.js"):
        page._script_folder()
