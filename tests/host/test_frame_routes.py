"""The download of a run's frames, from a real ComfyUI."""

from __future__ import annotations

import io
import json
import secrets
import shutil
import threading
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import av
import comfy_host
import numpy as np
import pytest
from PIL import Image

PATH = "/diffusion_interpolation/save"
REDS = (0, 60, 120, 180, 240)


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]


def ask(server: comfy_host.Server, query: str = "", path: str = PATH, **values: object) -> Answer:
    """What the server says to `values`, or to a `query` that is encoded already."""
    address = f"{server.url}{path}?{query or urllib.parse.urlencode(values)}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as refusal:
        return Answer(refusal.code, refusal.headers, refusal.read())


def run_folder(server: comfy_host.Server, pictures: list[Image.Image | None]) -> Path:
    """A folder as a run leaves it, with pictures missing where it says None."""
    folder = server.folder / "temp" / f"interpolation_{secrets.token_hex(6)}"
    folder.mkdir(parents=True)
    for index, picture in enumerate(pictures):
        if picture:
            picture.save(folder / f"{index:04d}.png")
    record(folder, [f"{i:04d}.png" if picture else None for i, picture in enumerate(pictures)])
    return folder


def record(folder: Path, files: list[object]) -> None:
    listed = {"interpolation": [{"version": 1, "folder": folder.name, "files": files}]}
    (folder / "frames.json").write_text(json.dumps(listed))


def plain(size: tuple[int, int] = (300, 260), reds: tuple[int, ...] = REDS) -> list[Image.Image]:
    return [Image.new("RGB", size, (red, 0, 200)) for red in reds]


def noise(count: int, side: int) -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    return [Image.fromarray(picture) for picture in pixels]


def webp(content: bytes) -> tuple[list[Image.Image], list[float]]:
    """Frames and how many milliseconds each is shown."""
    pictures, durations = [], []
    with Image.open(io.BytesIO(content)) as film:
        assert film.format == "WEBP"
        for i in range(film.n_frames):
            film.seek(i)
            pictures.append(film.convert("RGB"))
            durations.append(film.info.get("duration"))
    return pictures, durations


def mp4(content: bytes) -> tuple[list[Image.Image], float]:
    """Frames, and frames a second."""
    with av.open(io.BytesIO(content)) as film:
        assert film.streams.video[0].codec_context.name == "h264"
        rate = float(film.streams.video[0].average_rate)
        return [frame.to_image() for frame in film.decode(video=0)], rate


def reds(pictures: list[Image.Image]) -> list[int]:
    return [picture.getpixel((150, 130))[0] for picture in pictures]


def test_the_frames_of_a_run(server):
    graph = comfy_host.Graph()
    demo = graph.add("PuppetDemo", positive="a puppet", negative="a ghost")
    preview = graph.add("InterpolationPreview", images=demo[5])
    shown = server.run(graph.prompt).outputs[preview.id]
    answer = ask(server, folder=shown["interpolation"][0]["folder"], kind="zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        pictures = [Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    assert len(pictures) == 2 and pictures == [server.image(entry) for entry in shown["frames"]]


@pytest.mark.parametrize("path", [PATH, f"/api{PATH}"])
def test_the_zip_holds_the_frames_as_they_are(server, path):
    folder = run_folder(server, plain())
    answer = ask(server, path=path, folder=folder.name, kind="zip")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="interpolation.zip"'
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        given = {name: archive.read(name) for name in archive.namelist()}
    assert given == {file.name: file.read_bytes() for file in sorted(folder.glob("*.png"))}
    assert list(given) == [f"{i:04d}.png" for i in range(5)]


@pytest.mark.parametrize(("repeat", "wanted"), [("bounce", REDS + REDS[3:0:-1]), ("loop", REDS)])
def test_the_webp_repeats_as_asked(server, repeat, wanted):
    folder = run_folder(server, plain())
    answer = ask(server, folder=folder.name, kind="webp", fps=10, repeat=repeat)
    assert answer.status == 200 and answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="interpolation.webp"'
    pictures, durations = webp(answer.body)
    assert reds(pictures) == pytest.approx(wanted, abs=6)
    assert durations == [100] * len(wanted) and pictures[0].size == (300, 260)


@pytest.mark.parametrize(("repeat", "wanted"), [("bounce", REDS + REDS[3:0:-1]), ("loop", REDS)])
def test_the_film_is_in_order_and_back_again_where_asked(server, repeat, wanted):
    folder = run_folder(server, plain())
    answer = ask(server, folder=folder.name, kind="mp4", fps=24, repeat=repeat)
    assert answer.status == 200 and answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="interpolation.mp4"'
    pictures, rate = mp4(answer.body)
    assert reds(pictures) == pytest.approx(wanted, abs=6)
    assert rate == 24 and pictures[0].size == (300, 260)


def test_without_more_it_is_twelve_frames_a_second_there_and_back(server):
    folder = run_folder(server, plain())
    pictures, durations = webp(ask(server, folder=folder.name, kind="webp").body)
    assert len(pictures) == 8 and sum(durations) == pytest.approx(8 * 1000 / 12, abs=8)


@pytest.mark.parametrize("fps", [0.01, 0.5, 23.976, 120])
@pytest.mark.parametrize("kind", ["webp", "mp4"])
def test_every_speed_that_is_taken_is_one_an_encoder_takes(server, kind, fps):
    folder = run_folder(server, plain())
    answer = ask(server, folder=folder.name, kind=kind, fps=fps, repeat="loop")
    assert answer.status == 200
    if kind == "webp":
        assert sum(webp(answer.body)[1]) == pytest.approx(5000 / fps, rel=0.1)
    else:
        assert mp4(answer.body)[1] == pytest.approx(fps, rel=1e-3)


def test_another_speed_is_another_film(server):
    folder = run_folder(server, plain())
    films = [ask(server, folder=folder.name, kind="mp4", fps=fps).body for fps in (12, 24, 12)]
    assert [mp4(film)[1] for film in films] == [12, 24, 12]


@pytest.mark.parametrize("count", [1, 2])
def test_one_frame_is_a_still(server, count):
    folder = run_folder(server, plain()[:count])
    for repeat in ("bounce", "loop"):
        query = {"folder": folder.name, "repeat": repeat}
        assert len(webp(ask(server, kind="webp", **query).body)[0]) == count
        assert len(mp4(ask(server, kind="mp4", **query).body)[0]) == count
    with zipfile.ZipFile(io.BytesIO(ask(server, kind="zip", **query).body)) as archive:
        assert len(archive.namelist()) == count


@pytest.mark.parametrize("kind", ["webp", "mp4"])
def test_frames_of_other_sizes_are_fitted_into_the_first(server, kind):
    white = [Image.new("RGB", size, "white") for size in ((300, 260), (520, 260), (30, 52))]
    folder = run_folder(server, white)
    answer = ask(server, folder=folder.name, kind=kind, repeat="loop")
    pictures = (webp if kind == "webp" else mp4)(answer.body)[0]
    assert [picture.size for picture in pictures] == [(300, 260)] * 3
    lit = [(np.asarray(picture)[..., 1] > 128).sum() for picture in pictures]
    # all of each is there, as large as it gets
    assert lit == pytest.approx([300 * 260, 300 * 150, 150 * 260], rel=0.02)


@pytest.mark.parametrize("kind", ["webp", "mp4"])
def test_small_and_odd_frames_make_films(server, kind):
    folder = run_folder(server, plain((63, 41)))
    pictures = (webp if kind == "webp" else mp4)(ask(server, folder=folder.name, kind=kind).body)[0]
    assert len(pictures) == 8 and min(pictures[0].size) >= 128


def test_what_is_missing_is_left_out(server):
    frames = plain()
    folder = run_folder(server, [*frames[:2], None, *frames[3:]])
    (folder / "0003.png").unlink()
    with zipfile.ZipFile(io.BytesIO(ask(server, folder=folder.name, kind="zip").body)) as archive:
        assert archive.namelist() == ["0000.png", "0001.png", "0004.png"]
    film = ask(server, folder=folder.name, kind="mp4", repeat="loop").body
    assert reds(mp4(film)[0]) == pytest.approx([0, 60, 240], abs=6)


def test_a_record_that_changes_changes_the_download(server):
    folder = run_folder(server, plain())
    names = []
    for files in (["0000.png"], ["0000.png", "0001.png"]):
        record(folder, files)
        body = ask(server, folder=folder.name, kind="zip").body
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names.append(archive.namelist())
    assert names == [["0000.png"], ["0000.png", "0001.png"]]


GOOD = {"folder": "interpolation_0123456789ab", "kind": "zip", "fps": "12", "repeat": "loop"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("folder", value)
            for value in (
                "",
                ".",
                "..",
                "../input",
                "..\\input",
                "/etc",
                "interpolation_0123456789ab/../../input",
                "../temp/interpolation_0123456789ab",
                "interpolation_0123456789ab\n",
                "interpolation_0123456789ab\0",
                "interpolation_0123456789AB",
                "interpolation_0123456789a",
                "interpolation_0123456789abc",
                "interpolation_٠١٢٣٤٥٦٧٨٩٠١",
            )
        ),
        *(("kind", value) for value in ("", "gif", "ZIP", "../zip")),
        *(("fps", value) for value in ("", "0", "-1", "120.1", "nan", "inf", "1e-9", "fast")),
        *(("repeat", value) for value in ("", "once")),
    ],
)
def test_a_bad_request_is_told_what_it_got_and_what_is_wanted(server, name, value):
    answer = ask(server, **{**GOOD, name: value})
    assert answer.status == 400 and answer.headers["Content-Type"].startswith("application/json")
    assert answer.error.startswith(f"{name} is {value!r}; want ")


@pytest.mark.parametrize(
    "folder",
    [
        "..%2F..%2Fetc",
        "%2Fetc",
        "%252e%252e%252finput",
        "%2e%2e%2finput",
        "%ff",
        "%00",
        "a&folder=",
    ],
)
def test_encoded_ways_out_are_no_ways_out(server, folder):
    answer = ask(server, f"kind=zip&folder={folder}")
    assert answer.status == 400 and "folder is" in answer.error


def test_without_folder_or_kind_it_says_so(server):
    assert "folder is ''" in ask(server, kind="zip").error
    assert "kind is ''" in ask(server, folder=GOOD["folder"]).error


@pytest.mark.parametrize("kind", ["zip", "webp", "mp4"])
def test_frames_that_are_gone(server, kind):
    frames_gone, folder_gone = (run_folder(server, plain()) for _ in range(2))
    for file in frames_gone.glob("*.png"):
        file.unlink()
    shutil.rmtree(folder_gone)
    for folder in (frames_gone, folder_gone):
        answer = ask(server, folder=folder.name, kind=kind)
        assert answer.status == 404
        assert folder.name in answer.error and "Run the workflow again" in answer.error


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"interpolation": []}', '{"interpolation": 3}']
)
def test_a_record_that_is_none_is_as_good_as_gone(server, content):
    folder = run_folder(server, plain())
    (folder / "frames.json").write_text(content)
    assert ask(server, folder=folder.name, kind="zip").status == 404


def test_a_record_cannot_name_files_outside(server):
    """Anyone who may upload can put one into the temp folder."""
    folder = run_folder(server, plain())
    secret = server.folder / "input" / "0000.png"
    secret.write_bytes(b"secret")
    names = ["../../input/0000.png", str(secret), "frames.json", {"0000.png": 1}, 7, "0001.png\n"]
    record(folder, names)
    assert ask(server, folder=folder.name, kind="zip").status == 404
    record(folder, [*names, "0001.png"])
    with zipfile.ZipFile(io.BytesIO(ask(server, folder=folder.name, kind="zip").body)) as archive:
        assert archive.namelist() == ["0001.png"]


@pytest.mark.parametrize("kind", ["webp", "mp4"])
def test_an_encoder_that_fails_says_why_and_leaves_nothing(server, kind):
    folder = run_folder(server, plain())
    (folder / "0002.png").write_bytes(b"no picture")
    answer = ask(server, folder=folder.name, kind=kind)
    assert answer.status == 500 and f"{kind} could not be made" in answer.error
    assert "0002.png is no picture" in answer.error
    assert f"no {kind} could be made of the frames in" in server.log
    left = sorted(file.name for file in folder.iterdir())
    assert left == ["0000.png", "0001.png", "0002.png", "0003.png", "0004.png", "frames.json"]
    # another try after it is mended
    plain()[2].save(folder / "0002.png")
    assert ask(server, folder=folder.name, kind=kind).status == 200


def test_several_at_once_get_the_same_whole_file(server):
    folder = run_folder(server, noise(12, 256))
    asked = [{"folder": folder.name, "kind": kind} for kind in ("zip", "webp", "mp4")] * 4
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda query: ask(server, **query), asked))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 3
    assert len(mp4(answers[2].body)[0]) == 22
    assert not list(folder.glob(".*"))


def test_the_server_goes_on_answering(server):
    folder = run_folder(server, noise(12, 512))
    query = {"folder": folder.name, "kind": "mp4"}
    request = threading.Thread(target=ask, args=(server,), kwargs=query)
    request.start()
    answers = 0
    while request.is_alive():
        server.get("/prompt")
        answers += 1
    # were it busy, there could be one before and one after
    assert answers > 10


def test_files_that_were_taken_away_are_written_again(server):
    """The host's cache would go on to show what is no more; a second run finds all there again."""
    graph = comfy_host.Graph()
    source = graph.add("TestColors", count=3, size=16, shift=0.77, delay=0.0)
    node = graph.add("InterpolationPreview", images=source[0])

    def run() -> Path:
        done = server.run(graph.prompt)
        assert done.error is None
        [told] = done.outputs[node.id]["interpolation"]
        return server.folder / "temp" / told["folder"]

    first = run()
    assert run() == first
    shutil.rmtree(first)
    second = run()
    assert second != first and len(list(second.glob("*.png"))) == 3
    assert run() == second
