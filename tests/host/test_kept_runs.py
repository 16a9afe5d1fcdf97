"""Which runs keep their files on a real ComfyUI, and how much room they take."""

from __future__ import annotations

import contextlib
import json
import shutil
import urllib.error
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy_host
import pytest
import websocket
from comfy_host import Graph, Run, Server
from comfy_routes import SHOWN, ask
from demo_graphs import Demo
from PIL import Image
from tiny_graphs import Tiny

LAST, LAST_WITHOUT_WORKFLOW = 4, 64


class Slider:
    """A slider of plain colours in a workflow; another shift of the hue gives other frames."""

    def __init__(self, server: Server, workflow: str | None = "", count: int = 3) -> None:
        """`workflow` is the id of its workflow; None is a prompt without one."""
        self.server = server
        self.workflow = uuid.uuid4().hex if workflow == "" else workflow
        self.graph = Graph()
        self.source = self.graph.add("TestColors", count=count, size=16, shift=0.0, delay=0.0)
        self.node = self.graph.add("InterpolationPreview", images=self.source[0])

    def run(self, shift: float, remembers: str = "") -> str:
        """Press Run; the name of the run that the slider is then given."""
        self.graph.prompt[self.source.id]["inputs"]["shift"] = shift
        return told(self.server, self._run(remembers), self.node.id)["folder"]

    def _run(self, remembers: str) -> Run:
        nodes = [{"id": 9, "properties": {"frames": remembers}}]
        return run_in_workflow(self.server, self.graph, self.workflow, nodes)


def run_in_workflow(
    server: Server, graph: Graph, workflow: str | None, nodes: list[dict[str, Any]] | None = None
) -> Run:
    pnginfo = {"workflow": {"id": workflow, "nodes": nodes or []}}
    run = server.run(graph.prompt, extra_pnginfo=None if workflow is None else pnginfo)
    assert run.error is None and not run.node_errors
    return run


def told(server: Server, run: Run, node: str) -> dict[str, Any]:
    """What a run tells of itself, if its files are whole."""
    [record] = run.outputs[node]["interpolation"]
    assert record["failure"] == ""
    assert is_whole(server, record["folder"])
    return record


def is_whole(server: Server, folder: str) -> bool:
    """Whether a run has its files; a part of them is a failure."""
    if not server.get(f"/diffusion_interpolation/run?folder={folder}"):
        assert not (temp(server) / folder).exists()
        return False
    [record] = json.loads((temp(server) / folder / "frames.json").read_text())["interpolation"]
    strips = [frame["strip"] for frame in record["frames"] if frame["parents"]]
    files = [*files_of(record), *strips]
    assert files and all((temp(server) / record["pictures"] / name).is_file() for name in files)
    return True


def files_of(record: dict[str, Any]) -> list[str]:
    """The pictures of all frames."""
    return [frame["file"] for frame in record["frames"]]


def temp(server: Server) -> Path:
    return server.folder / "temp"


def used(server: Server) -> int:
    """Bytes of all frames and records."""
    places = temp(server).glob("interpolation_*")
    return sum(file.stat().st_size for place in places for file in place.rglob("*.*"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, where nobody else has runs."""
    if reason := comfy_host.why_not():
        pytest.skip(reason)
    with Server(comfy_host.find_host(), tmp_path_factory.mktemp("kept")) as server:
        yield server


def test_ten_presses_with_a_changed_pick_take_little_more_room_than_one(fresh):
    demo, workflow = Demo(Graph()), uuid.uuid4().hex
    bisector = demo.bisector(frames_per_gap=15, steps=2)
    picks = demo.graph.prompt[bisector.id]["inputs"]
    before, folders, sizes, written = used(fresh), [], [], []
    for press in range(10):
        picks["picks"] = f"0.9375: {press % 2}" if press else ""
        run = run_in_workflow(fresh, demo.graph, workflow)
        folders.append(told(fresh, run, bisector.id)["folder"])
        sizes.append(used(fresh) - before)
        written.append(frames_on_disk(fresh))
    # one frame is another candidate, and the keyframes and all the rest stay as they were
    assert len(written[0]) == 17 and len(written[-1]) <= 19
    assert all(written[-1][name] == time for name, time in written[0].items())
    assert sizes[-1] < 1.3 * sizes[0]
    assert [is_whole(fresh, folder) for folder in folders[-LAST:]] == [True] * LAST
    assert len(list(temp(fresh).glob("interpolation_*/frames.json"))) == len(set(folders[-LAST:]))


def frames_on_disk(server: Server) -> dict[str, int]:
    """When each frame was written, by the name of its file."""
    return {file.name: file.stat().st_mtime_ns for file in temp(server).glob("*/*.png")}


def test_runs_of_all_other_frames_take_the_room_of_a_few(fresh):
    slider = Slider(fresh, count=20)
    before = used(fresh)
    folders = [slider.run(0.013 * (1 + press)) for press in range(10)]
    one = (used(fresh) - before) / LAST
    assert [is_whole(fresh, folder) for folder in folders] == [False] * 6 + [True] * 4
    slider.run(0.5)
    assert used(fresh) - before == pytest.approx(LAST * one, rel=0.05)


def test_strips_of_candidates_go_with_their_runs(fresh):
    demo, workflow = Demo(Graph()), uuid.uuid4().hex
    bisector = demo.bisector(steps=2)
    before = set(temp(fresh).glob("*/*.jpg"))
    for seed in range(LAST + 3):
        demo.graph.prompt[bisector.id]["inputs"]["seed"] = seed
        record = told(fresh, run_in_workflow(fresh, demo.graph, workflow), bisector.id)
    strips = {frame["strip"] for frame in record["frames"]} - {None}
    assert len(strips) == 3
    assert len(set(temp(fresh).glob("*/*.jpg")) - before) == LAST * len(strips)


def test_a_run_that_was_removed_is_made_again(fresh):
    """The host may have its output in a cache, which would show what is no more."""
    slider = Slider(fresh)
    first = slider.run(0.001)
    for press in range(LAST):
        slider.run(0.002 + 0.001 * press)
    assert not is_whole(fresh, first)
    again = slider.run(0.001)
    assert again != first
    # and what has its files still is in the cache still
    assert slider.run(0.001) == again


@pytest.mark.parametrize("extra", [["workflow"], "workflow", {"workflow": None}])
def test_programs_may_send_anything_beside_a_prompt(fresh, extra):
    slider = Slider(fresh)
    told(fresh, fresh.run(slider.graph.prompt, extra_pnginfo=extra), slider.node.id)


def test_what_is_no_json_beside_a_prompt_is_written_in_words(fresh):
    """Other nodes leave there whatever they have."""
    tiny = Tiny("sd15")
    held = tiny.graph.add("TestArrays", conditioning=tiny.positive, number=1.0)
    node = tiny.bisector(positive=held[0], frames_per_gap=1)
    run = run_in_workflow(fresh, tiny.graph, uuid.uuid4().hex)
    [record] = run.outputs[node.id]["interpolation"]
    texts = json.loads((temp(fresh) / record["folder"] / "metadata.json").read_text())
    assert "array" in texts["seen"] and "nodes" in texts["workflow"]


def test_removing_old_runs_makes_no_other_node_run_again(fresh):
    busy, calm = Slider(fresh), Slider(fresh)
    kept = calm.run(0.77)
    both = Graph()
    both.prompt = {
        **calm.graph.prompt,
        "11": busy.graph.prompt["1"],
        "12": {"class_type": "InterpolationPreview", "inputs": {"images": ["11", 0]}},
    }
    for press in range(LAST + 2):
        both.prompt["11"]["inputs"]["shift"] = 0.3 + 0.01 * press
        run = run_in_workflow(fresh, both, calm.workflow)
        assert told(fresh, run, calm.node.id)["folder"] == kept
        told(fresh, run, "12")
        # an unchanged press makes nothing, right after one that removed a run
        assert run_in_workflow(fresh, both, calm.workflow).executed == []


def test_the_run_that_the_host_shows_is_the_one_that_needs_its_files(fresh):
    """An earlier run of the same prompt was of another picture, replaced under its name."""
    graph, workflow, file = Graph(), uuid.uuid4().hex, fresh.folder / "input" / "replaced.png"
    file.parent.mkdir(exist_ok=True)
    Image.new("RGB", (16, 16), "red").save(file)
    source = graph.add("LoadImage", image=file.name)
    node = graph.add("InterpolationPreview", images=source[0])

    def press() -> dict[str, Any]:
        return told(fresh, run_in_workflow(fresh, graph, workflow), node.id)

    red = press()
    Image.new("RGB", (16, 16), "blue").save(file)
    blue = press()
    assert files_of(blue) != files_of(red)
    shutil.rmtree(temp(fresh) / blue["folder"])
    again = press()
    assert files_of(again) == files_of(blue) and again["folder"] != blue["folder"]
    assert press()["folder"] == again["folder"]


def test_files_that_were_taken_away_are_written_again(fresh):
    """The host's cache would go on to show what is no more; a second run finds all there again."""
    slider = Slider(fresh)
    first = slider.run(0.77)
    assert slider.run(0.77) == first
    shutil.rmtree(temp(fresh) / first)
    second = slider.run(0.77)
    assert second != first and slider.run(0.77) == second
    [record] = json.loads((temp(fresh) / second / "frames.json").read_text())["interpolation"]
    (temp(fresh) / record["pictures"] / files_of(record)[1]).unlink()
    third = slider.run(0.77)
    assert third != second and slider.run(0.77) == third


# What keeps a run beyond the last few


def test_other_workflows_and_nodes_keep_their_own_last_runs(fresh):
    busy = Slider(fresh)
    other = Slider(fresh)
    same = Slider(fresh, busy.workflow)
    same.graph.prompt["22"] = same.graph.prompt.pop(same.node.id)
    same.node = comfy_host.Node("22")
    kept = [other.run(0.11), same.run(0.22)]
    for press in range(LAST + 2):
        busy.run(0.3 + 0.01 * press)
    assert all(is_whole(fresh, folder) for folder in kept)


def test_what_the_workflow_remembers_is_kept(fresh):
    """As a copy of a node does, until it has a run of its own."""
    slider = Slider(fresh)
    first = slider.run(0.1)
    for press in range(LAST + 2):
        slider.run(0.3 + 0.01 * press, remembers=first)
    assert is_whole(fresh, first)
    slider.run(0.2)
    assert not is_whole(fresh, first)


def test_what_a_saved_workflow_remembers_is_kept(fresh):
    slider = Slider(fresh)
    first = slider.run(0.1)
    file = fresh.folder / "user" / "default" / "workflows" / "mine" / "saved.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"nodes": [{"properties": {"frames": first}}]}))
    for press in range(LAST + 2):
        slider.run(0.3 + 0.01 * press)
    assert is_whole(fresh, first)
    file.write_text(json.dumps({"nodes": []}))
    slider.run(0.2)
    assert not is_whole(fresh, first)


def test_what_a_page_shows_is_kept_until_it_is_closed(fresh):
    slider = Slider(fresh)
    first, page = slider.run(0.1), uuid.uuid4().hex
    shown = {"page": page, "folders": [first]}
    assert json.loads(ask(fresh, path=SHOWN, **shown).body) == {"held": False}
    address = f"{fresh.url.replace('http', 'ws')}/ws?clientId={page}"
    with contextlib.closing(websocket.create_connection(address, timeout=60)) as connection:
        connection.recv()
        assert json.loads(ask(fresh, path=SHOWN, **shown).body) == {"held": True}
        for press in range(LAST + 2):
            slider.run(0.3 + 0.01 * press)
        assert is_whole(fresh, first)
    slider.run(0.2)
    assert not is_whole(fresh, first)


def test_what_a_page_may_say_of_what_it_shows(fresh):
    first = f"interpolation_{'0' * 12}"
    for values, error in (
        ({"folders": []}, "page is None"),
        ({"page": ["p"], "folders": []}, "page is ['p']"),
        ({"page": "p"}, "folders: needs a list of at most 256"),
        ({"page": "p", "folders": [first] * 257}, "folders: needs a list of at most 256"),
    ):
        answer = ask(fresh, path=SHOWN, **values)
        assert answer.status == 400 and answer.error.startswith(error)
    address = f"{fresh.url.replace('http', 'ws')}/ws?clientId=known"
    with contextlib.closing(websocket.create_connection(address, timeout=60)) as connection:
        connection.recv()
        answer = ask(fresh, path=SHOWN, page="known", folders=["../input"])
        assert answer.status == 400 and answer.error.startswith("folder is '../input'; it needs ")


def test_prompts_without_a_workflow_keep_more_of_their_runs(fresh):
    """A program that queues many fetches their frames when it likes."""
    slider = Slider(fresh, workflow=None, count=1)
    runs = [slider.run(0.01 * press) for press in range(LAST_WITHOUT_WORKFLOW + 2)]
    kept = [is_whole(fresh, folder) for folder in runs]
    assert kept == [False] * 2 + [True] * LAST_WITHOUT_WORKFLOW


def test_a_job_is_shown_by_its_frame_half_way(server):
    graph = Graph()
    source = graph.add("TestColors", count=3, size=16, shift=0.07, delay=0.0)
    node = graph.add("InterpolationPreview", images=source[0])
    run = server.run(graph.prompt)
    shown = run.outputs[node.id]
    [entry] = shown["images"]
    drawn = server.image(entry).convert("RGB").resize((1, 1)).getpixel((0, 0))
    half_way = server.image(shown["frames"][1]).convert("RGB").getpixel((8, 8))
    assert max(abs(a - b) for a, b in zip(drawn, half_way, strict=True)) < 12
    try:
        job = server.get(f"/api/jobs/{run.prompt_id}")
    except urllib.error.HTTPError as refusal:
        assert refusal.code == 404
        pytest.skip("this ComfyUI has no list of jobs")
    assert job["preview_output"].items() >= entry.items()
