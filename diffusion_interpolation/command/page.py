"""Writes one HTML file with a slider through the frames: no server, no network, no other file.

The slider is `js/slider/frame_slider.js`, the same file as the ComfyUI widget uses. A page opened
from a disk cannot import a second file, so its modules are joined into one script.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Template

from ..files import replacing
from ..method.frame_info import FrameInfo, evenly_spaced

Picture = Path | bytes
"""A picture: a file, or the bytes of one."""

LARGE = 20 * 2**20
"""Bytes of pictures above which lossless ones are embedded as lossy WebP."""

_QUALITY = 90
BESIDE = {"path.mp4": "Film (MP4)", "path.webp": "Animation (WebP)", "frames/": "Frames (PNG)"}
"""What a page links to where it lies in the same folder, and the words of the link."""

_MODULES = (
    "elements.js",
    "texts.js",
    "frame_player.js",
    "frame_pictures.js",
    "slider_style.js",
    "slider_parts.js",
    "slider_input.js",
    "frame_slider.js",
    "candidate_strip.js",
    "strip_follower.js",
)
"""The slider's files; each imports only from those before it."""
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(.*)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:class|const|function)\b)", re.MULTILINE)


def write_page(
    file: Path,
    pictures: Sequence[Picture],
    title: str,
    *,
    frames: Sequence[FrameInfo] | None = None,
    strips: Sequence[Picture | None] = (),
    prompts: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    autoplay: bool = False,
) -> None:
    """Write `file`, a page that shows `pictures` in a slider.

    The pictures are the frames in order, files or their bytes. `frames` says what is known of each;
    without it the frames lie evenly between two keyframes. `strips`, one a frame or none at all,
    show the candidates of a frame side by side; None for a frame without a choice. `prompts` (one
    for all, or one a keyframe) stand under the title and `settings` (name to value) at the foot,
    below links to those files of `BESIDE` that are in the page's folder. `autoplay` starts
    playback, unless the reader's system asks for less motion. Above `LARGE` bytes of pictures in
    all, PNG files are embedded as WebP of quality 90. One picture at a time is in memory, and
    `file` appears when it is complete.

    Raises `ValueError` for no pictures, a wrong number of `frames` or `strips`, or a picture that
    cannot be read, and `FileNotFoundError` for a file that is not there.
    """
    if not pictures:
        raise ValueError("pictures: got none, a page needs at least 1")
    frames = evenly_spaced(len(pictures)) if frames is None else frames
    if len(frames) != len(pictures):
        raise ValueError(f"frames: got {len(frames)} for {len(pictures)} pictures")
    if len(strips) not in (0, len(pictures)):
        raise ValueError(f"strips: got {len(strips)} for {len(pictures)} pictures")
    shrink = sum(_size(picture) for picture in pictures) > LARGE
    told = [frame.to_json() for frame in frames]
    facts = {"label": title, "autoplay": autoplay, "frames": told}
    with (
        replacing(file) as unfinished,
        # a title may hold a file's name, which need not be Unicode
        unfinished.open("w", encoding="utf-8", errors="replace", newline="\n") as page,
    ):
        foot = _links(file.parent) + _settings(settings or {})
        page.writelines(_page(title, prompts, foot, facts, _pictures(pictures, strips, shrink)))


def _page(
    title: str,
    prompts: Sequence[str],
    foot: str,
    facts: Mapping[str, object],
    embedded: Iterable[str],
) -> Iterator[str]:
    """The parts of the page, each picture one of them."""
    script = _script()
    yield _HEAD.substitute(
        title=html.escape(title),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=_STYLE,
        prompts=_prompts(prompts),
        foot=foot,
    )
    yield f'<script type="application/json" id="facts">{_json(facts)}</script>\n'
    yield from embedded
    yield f'<script type="module">{script}</script>\n</body>\n</html>\n'


def _prompts(prompts: Sequence[str]) -> str:
    """The prompts in a line, with an arrow from keyframe to keyframe."""
    quoted = [f"<q>{html.escape(prompt)}</q>" for prompt in prompts if prompt]
    arrow = ' <span aria-label="to">→</span> '
    return f'<p class="prompts">{arrow.join(quoted)}</p>\n' if quoted else ""


def _links(folder: Path) -> str:
    """A line of links to what is in the folder of the page."""
    there = [(name, words) for name, words in BESIDE.items() if (folder / name).exists()]
    links = " · ".join(f'<a href="{name}">{words}</a>' for name, words in there)
    return f'<p class="links">{links}</p>\n' if links else ""


def _settings(settings: Mapping[str, str]) -> str:
    pairs = ((html.escape(str(name)), html.escape(str(value))) for name, value in settings.items())
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td>{value}</td></tr>\n' for name, value in pairs
    )
    return f'<table aria-label="Settings">\n{rows}</table>\n' if rows else ""


def _json(value: object) -> str:
    """JSON for a script element, which `</script` or `<!--` would end or change."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


# Pictures


def _size(picture: Picture) -> int:
    return len(picture) if isinstance(picture, bytes) else picture.stat().st_size


def _pictures(
    pictures: Sequence[Picture], strips: Sequence[Picture | None], shrink: bool
) -> Iterator[str]:
    """The elements that hold the pictures of all frames, and then those of their candidates."""
    for index, picture in enumerate(pictures):
        url = _data_url(picture, index, shrink)
        yield f'<script type="text/plain" class="frame">{url}</script>\n'
    for index, strip in enumerate(strips):
        if strip is not None:
            url = _data_url(strip, index, shrink)
            yield f'<script type="text/plain" class="strip" data-frame="{index}">{url}</script>\n'


def _data_url(picture: Picture, index: int, shrink: bool) -> str:
    """The picture as a `data:` URL: as WebP if browsers do not show it, or if `shrink` a PNG."""
    data = picture if isinstance(picture, bytes) else picture.read_bytes()
    kind = _kind(data)
    if kind is None or (shrink and kind == "image/png"):
        try:
            data, kind = _webp(data), "image/webp"
        except OSError as error:
            name = f"{len(data)} bytes" if isinstance(picture, bytes) else str(picture)
            raise ValueError(f"pictures: number {index} ({name}) is not a picture") from error
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _kind(data: bytes) -> str | None:
    """The media type of a picture that every browser shows, by its first bytes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def _webp(data: bytes) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        mode = "RGBA" if image.has_transparency_data else "RGB"
        image.convert(mode).save(target, "WEBP", quality=_QUALITY)
    return target.getvalue()


# The script


def _script() -> str:
    """The slider's modules and the few lines that start it, as one module."""
    folder = _script_folder()
    modules = "".join((folder / name).read_text(encoding="utf-8") for name in _MODULES)
    assert set(_IMPORT.findall(modules)) < set(_MODULES), "the slider imports only its own files"
    script = _EXPORT.sub("", _IMPORT.sub("", modules)) + _START
    assert not re.search(r"</script|<!--|^(?:import|export)\b", script, re.MULTILINE)
    return script


def _script_folder() -> Path:
    """`js/slider/`: inside the package in an installed wheel, beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "js/slider", here.parent / "js/slider"):
        if all((folder / name).is_file() for name in _MODULES):
            return folder
    raise FileNotFoundError(f"the slider's files {', '.join(_MODULES)} are not beside {here}")


_START = """
// Start

const facts = JSON.parse(document.getElementById("facts").textContent);
const urls = Array.from(document.querySelectorAll("script.frame"), (data) => {
  data.remove(); // or every picture would be in memory twice
  return data.textContent;
});
const strips = facts.frames.map((_, index) => {
  const data = document.querySelector(`script.strip[data-frame="${index}"]`);
  data?.remove();
  return data?.textContent ?? null;
});
const slider = new FrameSlider({ ...facts, urls, pageKeys: true });
if (strips.some(Boolean)) showCandidates(slider, facts.frames, strips);
document.getElementById("slider").replaceChildren(slider.element);
"""

_HEAD = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'sha256-$script_hash'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Diffusion Interpolation">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<header>
<h1>$title</h1>
$prompts</header>
<main id="slider"><p>Loading…</p>
<noscript>The slider needs JavaScript.</noscript></main>
<footer>
<p class="hint">Drag the slider or the picture.<span> \
<kbd>←</kbd> <kbd>→</kbd> go frame by frame, <kbd>space</kbd> plays.</span></p>
$foot</footer>
""")

_STYLE = """\
:root {
  --ink: #1c1b22; --soft: #6a6874; --line: #dcdae2; --ground: #faf9fc; --glow: #ece8fb;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #ecebf1; --soft: #9d9aa9; --line: #2f2d38; --ground: #17151d; --glow: #272238; }
}
* { box-sizing: border-box; }
body {
  min-height: 100vh; min-height: 100svh; margin: 0; padding: clamp(16px, 4vh, 40px) 20px 24px;
  display: flex; flex-direction: column; color: var(--ink);
  background: radial-gradient(70rem 40rem at 50% 0, var(--glow), transparent) var(--ground);
  font: 15px/1.5 system-ui, sans-serif;
}
header, footer { width: 100%; max-width: 720px; margin: 0 auto; text-align: center; }
h1 {
  margin: 0; font-size: clamp(22px, 4vw, 30px); line-height: 1.2; letter-spacing: -0.02em;
  overflow-wrap: anywhere; text-wrap: balance;
}
.prompts { margin: 6px 0 0; color: var(--soft); overflow-wrap: anywhere; text-wrap: balance; }
main { width: 100%; max-width: 1200px; margin: clamp(14px, 3vh, 28px) auto; }
.di-slider { --di-height: max(240px, min(100svh - 340px, 768px)); }
.di-slider:has(.di-strip) { --di-height: max(240px, min(100svh - 490px, 768px)); }
.di-slider > .di-strip {
  --di-thumbnail: 96px; max-width: 720px; min-height: 152px; margin: 14px auto 0;
}
.di-strip-title { text-align: center; }
.di-candidates { justify-content: safe center; }
main > p, noscript { display: block; text-align: center; color: var(--soft); }
footer { max-width: 560px; margin-top: auto; color: var(--soft); font-size: 13px; }
.hint, .links { margin: 0 0 20px; }
a { color: inherit; }
kbd {
  padding: 1px 6px; border: 1px solid var(--line); border-radius: 5px; font: inherit;
  font-size: 12px;
}
table { width: 100%; border-collapse: collapse; border-top: 1px solid var(--line); }
th, td {
  padding: 5px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
}
th { width: 1%; padding-right: 24px; font-weight: 400; white-space: nowrap; }
td { color: var(--ink); overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
@media (pointer: coarse), (max-width: 559px) { .hint span { display: none; } }
"""
