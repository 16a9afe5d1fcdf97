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
from math import inf, nan
from pathlib import Path

import av
import comfy_host
import numpy as np
import pytest
from comfy_routes import SAVE, SHOWN, ask, send
from PIL import Image

REDS = (0, 60, 120, 180, 240)


def run_folder(server: comfy_host.Server, pictures: list[Image.Image | None]) -> Path:
    """A folder as a run leaves it, with pictures missing where it says None."""
    folder = server.folder / "temp" / f"interpolation_{secrets.token_hex(6)}"
    folder.mkdir(parents=True)
    pictures_folder(folder).mkdir()
    for index, picture in enumerate(pictures):
        if picture:
            picture.save(pictures_folder(folder) / name_of(index))
    record(folder, [name_of(i) if picture else None for i, picture in enumerate(pictures)])
    return folder


def pictures_folder(folder: Path) -> Path:
    """Where the pictures of a run's folder are."""
    return folder.with_name(f"interpolation_frames_{folder.name[-6:]}")


def name_of(index: int) -> str:
    """Of a picture's file, which a run names after its content."""
    return f"{index:032x}.png"


def record(folder: Path, files: list[object], **changes: object) -> None:
    told = {"version": 5, "folder": folder.name, "pictures": pictures_folder(folder).name}
    frames = [{"file": file} for file in files]
    listed = {"interpolation": [{**told, "frames": frames, **changes}]}
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
        assert archive.namelist() == ["0001.png", "0002.png"]
        pictures = [Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    kept = [server.image(entry) for entry in shown["frames"]]
    for picture, frame in zip(pictures, kept, strict=True):
        assert np.array_equal(np.asarray(picture), np.asarray(frame))
        assert '"class_type": "PuppetDemo"' in picture.info["prompt"]


@pytest.mark.parametrize("path", [SAVE, f"/api{SAVE}"])
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
    kept = sorted(pictures_folder(folder).glob("*.png"))
    assert given == {f"{i:04d}.png": file.read_bytes() for i, file in enumerate(kept, start=1)}
    assert list(given) == [f"{i:04d}.png" for i in range(1, 6)]


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


@pytest.mark.parametrize(("index", "red"), [(0, 0), (3, 180)])
def test_one_frame_carries_the_prompt_and_the_workflow(server, index, red):
    folder = run_folder(server, plain())
    texts = {"prompt": '{"1": 2}', "workflow": '{"\u00e9": "\U0001f600"}', "bad\n": "x", "odd": 7}
    (folder / "metadata.json").write_text(json.dumps(texts))
    answer = ask(server, folder=folder.name, kind="png", index=index)
    assert answer.status == 200 and answer.headers["Content-Type"] == "image/png"
    name = f'attachment; filename="000{index + 1}.png"'
    assert answer.headers["Content-Disposition"] == name
    picture = Image.open(io.BytesIO(answer.body))
    assert picture.getpixel((0, 0)) == (red, 0, 200)
    assert picture.text == {name: texts[name] for name in ("prompt", "workflow")}


def test_a_frame_that_is_not_there(server):
    folder = run_folder(server, [*plain()[:2], None])
    for index in (2, 3, 10**9):
        assert ask(server, folder=folder.name, kind="png", index=index).status == 404


@pytest.mark.parametrize(("fps", "speed"), [(1, 1), (23.976, 24), (59.94, 60), (120, 120)])
@pytest.mark.parametrize("kind", ["webp", "mp4"])
def test_every_speed_that_is_taken_is_one_an_encoder_takes(server, kind, fps, speed):
    folder = run_folder(server, plain())
    answer = ask(server, folder=folder.name, kind=kind, fps=fps, repeat="loop")
    assert answer.status == 200
    if kind == "webp":
        assert sum(webp(answer.body)[1]) == pytest.approx(5000 / speed, rel=0.1)
    else:
        assert mp4(answer.body)[1] == speed


def test_however_many_are_asked_for_few_files_stay(server):
    folder = run_folder(server, plain((64, 64), REDS[:2]))
    before = set(folder.iterdir())
    for fps in (*np.linspace(10, 12, 20).tolist(), *range(20, 30)):
        assert ask(server, folder=folder.name, kind="mp4", fps=fps).status == 200
    assert ask(server, folder=folder.name, kind="zip").status == 200
    left = set(folder.iterdir()) - before
    assert len(left) == 4 and folder / "saved.zip" in left
    # the same again is not made again
    [file] = [file for file in left if "_29." in file.name]
    made = file.stat().st_mtime_ns
    assert ask(server, folder=folder.name, kind="mp4", fps=29).status == 200
    assert file.stat().st_mtime_ns == made


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
    (pictures_folder(folder) / name_of(3)).unlink()
    with zipfile.ZipFile(io.BytesIO(ask(server, folder=folder.name, kind="zip").body)) as archive:
        assert archive.namelist() == ["0001.png", "0002.png", "0005.png"]
    film = ask(server, folder=folder.name, kind="mp4", repeat="loop").body
    assert reds(mp4(film)[0]) == pytest.approx([0, 60, 240], abs=6)


def test_a_record_that_changes_changes_the_download(server):
    folder = run_folder(server, plain())
    names = []
    for files in ([name_of(0)], [name_of(0), name_of(1)]):
        record(folder, files)
        body = ask(server, folder=folder.name, kind="zip").body
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names.append(archive.namelist())
    assert names == [["0001.png"], ["0001.png", "0002.png"]]


GOOD = {"folder": "interpolation_0123456789ab", "kind": "zip", "fps": 12, "repeat": "loop"}


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
                "interpolation_frames_012345",
                None,
                7,
                ["interpolation_0123456789ab"],
            )
        ),
        *(("kind", value) for value in ("", "gif", "ZIP", "../zip", None, ["zip"])),
        *(("fps", value) for value in (0, -1, 0.5, 120.1, nan, inf, 10**400, "12", True, None)),
        *(("repeat", value) for value in ("", "once", None)),
        *(("index", value) for value in (-1, 0.5, "0", True, None, nan)),
    ],
)
def test_a_bad_request_is_told_what_it_got_and_what_is_wanted(server, name, value):
    answer = ask(server, **{**GOOD, name: value})
    assert answer.status == 400 and answer.headers["Content-Type"].startswith("application/json")
    assert answer.error.startswith(f"{name} is {value!r}; it needs ")


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "no JSON"), (b"{", "no JSON"), (b"[" * 60_000, "no JSON"), (b"[1]", "no JSON object")],
)
@pytest.mark.parametrize("path", [SAVE, SHOWN])
def test_a_request_without_an_object_is_refused(server, path, content, text):
    answer = send(server, path, content, {"Content-Type": "application/json"})
    assert answer.status == 400 and answer.error == f"the request holds {text}"


@pytest.mark.parametrize("path", [SAVE, SHOWN])
def test_a_request_is_small(server, path):
    assert ask(server, path=path, folder="x" * 70_000).status == 413


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
)
@pytest.mark.parametrize("path", [SAVE, SHOWN, f"/api{SAVE}"])
def test_what_a_page_of_another_site_can_send_is_refused(server, path, kind):
    """A browser sends these three types for any page, unasked."""
    folder = run_folder(server, plain())
    before = set(folder.iterdir())
    content = json.dumps({"folder": folder.name, "kind": "zip", "page": "p", "folders": []})
    answer = send(server, path, content.encode(), {"Content-Type": kind})
    assert answer.status == 415 and "application/json" in answer.error
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("path", [SAVE, SHOWN, f"/api{SAVE}"])
def test_a_get_writes_nothing(server, path):
    """As an <img> on any page sends it."""
    folder = run_folder(server, plain())
    before = set(folder.iterdir())
    answer = send(server, f"{path}?folder={folder.name}&kind=mp4&fps=12", None, {})
    assert answer.status in (404, 405) and set(folder.iterdir()) == before


def test_a_browser_that_asks_first_is_given_no_leave(server):
    """Before it sends JSON for another site's page, it sends OPTIONS."""
    request = urllib.request.Request(
        server.url + SAVE,
        headers={
            "Origin": "http://elsewhere.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
        method="OPTIONS",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        headers = opener.open(request, timeout=60).headers
    except urllib.error.HTTPError as refusal:
        headers = refusal.headers
    assert "Access-Control-Allow-Origin" not in headers


def test_without_folder_or_kind_it_says_so(server):
    assert "folder is None" in ask(server, kind="zip").error
    assert "kind is ''" in ask(server, folder=GOOD["folder"]).error


@pytest.mark.parametrize("kind", ["zip", "webp", "mp4"])
def test_frames_that_are_gone(server, kind):
    frames_gone, folder_gone = (run_folder(server, plain()) for _ in range(2))
    for file in pictures_folder(frames_gone).glob("*.png"):
        file.unlink()
    shutil.rmtree(folder_gone)
    for folder in (frames_gone, folder_gone):
        answer = ask(server, folder=folder.name, kind=kind)
        assert answer.status == 404
        assert answer.error == (
            "These frames are gone: ComfyUI keeps those of a node's last runs until it is "
            "restarted. Run the workflow again."
        )


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"interpolation": []}',
        '{"interpolation": 3}',
        '{"interpolation": [{"pictures": "interpolation_frames_012345", "frames": ["a.png", 3]}]}',
    ],
)
def test_a_record_that_is_none_is_as_good_as_gone(server, content):
    folder = run_folder(server, plain())
    (folder / "frames.json").write_text(content)
    assert ask(server, folder=folder.name, kind="zip").status == 404


def test_a_record_cannot_name_files_outside(server):
    """Anyone who may upload can put one into the temp folder."""
    folder = run_folder(server, plain())
    secret = server.folder / "input" / name_of(0)
    secret.write_bytes(b"secret")
    (folder / name_of(2)).write_bytes(b"another secret")
    names = [
        f"../../input/{name_of(0)}",
        str(secret),
        "frames.json",
        {"a": 1},
        7,
        name_of(1) + "\n",
    ]
    record(folder, names)
    assert ask(server, folder=folder.name, kind="zip").status == 404
    for pictures in ("../input", "../../input", str(secret.parent), ".", folder.name, None, 7):
        record(folder, [name_of(0), name_of(1), name_of(2)], pictures=pictures)
        assert ask(server, folder=folder.name, kind="zip").status == 404
    record(folder, [*names, name_of(1)])
    with zipfile.ZipFile(io.BytesIO(ask(server, folder=folder.name, kind="zip").body)) as archive:
        assert archive.namelist() == ["0007.png"]


@pytest.mark.parametrize("kind", ["webp", "mp4"])
def test_an_encoder_that_fails_says_why_and_leaves_nothing(server, kind):
    folder = run_folder(server, plain())
    third = pictures_folder(folder) / name_of(2)
    third.write_bytes(b"no picture")
    answer = ask(server, folder=folder.name, kind=kind)
    assert answer.status == 500
    assert answer.error == f"{kind} could not be made: ComfyUI's log says why"
    assert f"no {kind} could be made of the frames of {folder.name}" in server.log
    assert f"{name_of(2)} is no picture" in server.log
    assert [file.name for file in folder.iterdir()] == ["frames.json"]
    # another try after it is mended
    plain()[2].save(third)
    assert ask(server, folder=folder.name, kind=kind).status == 200


@pytest.mark.parametrize("kind", ["zip", "mp4"])
def test_a_file_that_cannot_be_written_is_an_error_without_the_server_s_paths(server, kind):
    folder = run_folder(server, plain())
    name = "saved.zip" if kind == "zip" else "saved_bounce_12.mp4"
    (folder / name).mkdir()
    answer = ask(server, folder=folder.name, kind=kind)
    assert answer.status == 500 and answer.error == f"{kind} could not be made: Is a directory"


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
