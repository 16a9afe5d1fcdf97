"""Candidates chosen by hand, and what a run has for the slider, in a real ComfyUI."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from comfy_host import Graph, Node, Run, Server
from demo_graphs import SMALL, Demo, run_with
from torch import Tensor

EVENT = "diffusion_interpolation.frame"


class Counted:
    """A demo with a bisector whose model counts its calls; of one name it is one model."""

    def __init__(self, server: Server, name: str, **changes: Any) -> None:
        self.server, self.name = server, name
        self.demo = Demo(Graph())
        delay = changes.pop("delay", 0.0)
        count = self.demo.graph.add("TestCount", model=self.demo.model, name=name, delay=delay)
        self.bisector = self.demo.bisector(model=count[0], **{"max_batch": 1, **changes})

    def frames(self) -> tuple[Tensor, Run, int]:
        """The frames, the run, and how many calls of the model were needed."""
        before = self._calls()
        run, given = run_with(self.server, self.demo.graph, frames=self.bisector[0])
        return given["frames"], run, self._calls() - before

    def _calls(self) -> int:
        try:
            return self.server.calls(self.name)
        except FileNotFoundError:
            return 0


class Early(Counted):
    """With so many steps that candidates are ranked before the last ones, for each frame."""

    def __init__(self, server: Server, name: str, **changes: Any) -> None:
        super().__init__(server, name, steps=10, **changes)


def about(run: Run, node: Node) -> dict[str, Any]:
    [record] = run.outputs[node.id]["interpolation"]
    return record


def events(run: Run, node: Node) -> list[dict[str, Any]]:
    sent = [message["data"] for message in run.messages if message["type"] == EVENT]
    return [data for data in sent if data["node"] == node.id]


def made(run: Run, node: Node) -> list[dict[str, Any]]:
    """What is said of the frames that were made."""
    return [frame for frame in about(run, node)["frames"] if frame["candidate"] is not None]


def files(record: dict[str, Any]) -> list[str | None]:
    return [frame["file"] for frame in record["frames"]]


def changed(frames: Tensor, others: Tensor) -> list[int]:
    """Which frames are others; the same ones may come from a batch of another size."""
    return [i for i in range(len(frames)) if (frames[i] - others[i]).abs().max() > 1e-5]


KEYFRAME = {"depth": 0, "parents": [], "first": 0, "count": 0, "scores": [], "candidate": None}
KEYFRAME |= {"picked": False, "best": None, "roll": 0, "strip": None}
KEYFRAME |= {"steps": 0, "start": None}
"""What is said of a frame that was not made from candidates."""


def test_what_the_slider_is_given(server):
    counted = Counted(server, "given")
    frames, run, _ = counted.frames()
    output, record = run.outputs[counted.bisector.id], about(run, counted.bisector)
    [job] = output["images"]
    assert server.image(job).size == (SMALL, SMALL), "the list of jobs shows the frame half-way"
    pictures = record["pictures"]
    assert record == {
        "version": 5,
        "folder": record["folder"],
        "pictures": pictures,
        "frames": record["frames"],
        "seed": 0,
        "workflow": "",
        "done": 5,
        "state": "finished",
        "failure": "",
        "notes": [],
        "loop": False,
        "settings": {},
        "inputs": record["inputs"],
    }
    assert record["inputs"]["frames_per_gap"] == "3" and "keyframes" not in record["inputs"]
    assert len(set(files(record))) == 5
    assert output["frames"] == [
        {"filename": name, "subfolder": pictures, "type": "temp"} for name in files(record)
    ]
    shown = server.pictures(run, counted.bisector.id, "frames")
    assert (shown - frames).abs().max() <= 0.5 / 255 + 1e-6
    told = [(f["index"], f["position"], f["depth"], f["parents"]) for f in record["frames"]]
    assert told == [
        (0, 0, 0, []),
        (1, 0.25, 2, [0, 2]),
        (2, 0.5, 1, [0, 4]),
        (3, 0.75, 2, [2, 4]),
        (4, 1, 0, []),
    ]
    first, _, half, *_ = record["frames"]
    assert first == {**KEYFRAME, "index": 0, "position": 0, "file": first["file"]}
    assert (half["first"], half["count"], half["roll"], half["picked"]) == (0, 2, 0, False)
    assert half["candidate"] == half["best"] == half["scores"].index(max(half["scores"]))
    strip = server.image({"filename": half["strip"], "subfolder": pictures, "type": "temp"})
    assert strip.format == "JPEG" and strip.size == (2 * 256, 256)
    file = {"filename": "frames.json", "subfolder": record["folder"], "type": "temp"}
    assert server.get(f"/view?{'&'.join(f'{k}={v}' for k, v in file.items())}") == {
        key: output[key] for key in ("images", "frames", "interpolation")
    }


def test_frames_are_sent_as_they_are_finished(server):
    counted, records = Counted(server, "sent"), []

    def ask(message: dict[str, Any]) -> None:
        if message["type"] == EVENT:
            path = f"/diffusion_interpolation/run?folder={message['data']['folder']}"
            records.append(server.get(path)["interpolation"][0])

    run = server.run(counted.demo.graph.prompt, on_message=ask)
    first, *rest = events(run, counted.bisector)
    record = about(run, counted.bisector)
    alike = {key: record[key] for key in ("folder", "pictures", "seed", "workflow")}
    for data in (first, *rest):
        assert data == {**data, **alike, "prompt_id": run.prompt_id}
    assert (first["frame"], first["done"]) == (None, 0)
    assert first["frames"] == [
        {**KEYFRAME, **{key: frame[key] for key in ("index", "position", "depth", "parents")}}
        | {"file": None}
        for frame in record["frames"]
    ]
    assert [data["frame"]["index"] for data in rest] == [0, 4, 2, 1, 3]
    assert [data["done"] for data in rest] == [1, 2, 3, 4, 5]
    assert [data["frame"] for data in rest] == [
        record["frames"][data["frame"]["index"]] for data in rest
    ]
    assert {data["frames"] for data in rest} == {None}
    # meanwhile the run tells the same to whoever asks
    for data, asked in zip((first, *rest), records, strict=True):
        assert asked["state"] in ("running", "finished") and asked["done"] >= data["done"]
        assert data["frame"] is None or data["frame"] in asked["frames"]
    assert records[0]["state"] == "running"


def test_a_pick_makes_anew_only_what_hangs_on_it(server):
    first = Early(server, "pick")
    plain, run, calls = first.frames()
    best = {frame["index"]: frame["candidate"] for frame in made(run, first.bisector)}
    quarter = Early(server, "pick", picks=f"0.25: {1 - best[1]}")
    frames, run, more = quarter.frames()
    assert more == 2, "the pick alone takes the steps after the ranking"
    assert changed(frames, plain) == [1]
    told = made(run, quarter.bisector)
    assert [frame["picked"] for frame in told] == [True, False, False]
    assert told[0]["candidate"] == 1 - best[1] and told[0]["best"] == best[1]
    [line, *_] = run.outputs[quarter.bisector.id]["text"]
    assert f", candidate {1 - best[1]} (picked) of " in line

    frames, run, more = Early(server, "pick", picks=f"0.5: {1 - best[2]}").frames()
    assert 0 < more < calls and changed(frames, plain) == [1, 2, 3]
    again, run, more = Early(server, "pick").frames()
    assert more == 0 and torch.equal(again, plain)
    # the bar ends where it should, though nothing was denoised
    bar = [m["data"] for m in run.messages if m["type"] == "progress"]
    ours = [data for data in bar if data["node"] == quarter.bisector.id]
    assert ours[-1]["value"] == ours[-1]["max"] > 0


def test_a_pick_is_the_same_where_nothing_is_known(server):
    """Of a model of another name no candidates are known."""
    Counted(server, "known").frames()
    changes = {"picks": "0.5: 1; 0.75: roll 1"}
    frames, _, some = Counted(server, "known", **changes).frames()
    others, _, calls = Counted(server, "unknown", **changes).frames()
    assert some < calls
    assert (frames - others).abs().max() < 1e-5


def test_a_reroll_draws_new_candidates(server):
    plain, _, _ = Early(server, "reroll").frames()
    rolled = Early(server, "reroll", picks="0.75: roll 2")
    frames, run, calls = rolled.frames()
    told = made(run, rolled.bisector)[2]
    assert told["first"] == 4 and told["candidate"] in (4, 5) and not told["picked"]
    assert told["roll"] == 2
    assert calls > 0 and changed(frames, plain) == [3]
    line = run.outputs[rolled.bisector.id]["text"][2]
    assert f", candidate {told['candidate']} of 4 to 5: " in line
    other = 9 - told["candidate"]
    picked, run, calls = Early(server, "reroll", picks=f"0.75: {other}").frames()
    assert calls == 2, "the pick alone takes the steps after the ranking"
    assert changed(picked, frames) == [3]


def test_a_pick_without_a_frame_is_said(server):
    counted = Counted(server, "stray", picks="0.5: 1, 0.7: 3")
    _, run, _ = counted.frames()
    said = "The pick 0.7: 3 is left out, since no frame is there; it counts again once one is."
    assert run.outputs[counted.bisector.id]["text"][0] == said
    [note] = about(run, counted.bisector)["notes"]
    assert note["text"].format(**note["values"]) == said


def test_picks_that_cannot_be_read(server):
    counted = Counted(server, "unread", picks="0.5 = 3")
    run = server.run(counted.demo.graph.prompt)
    assert run.error["node_id"] == counted.bisector.id
    assert run.error["exception_message"].startswith("picks: got '0.5 = 3', needs a position")


def test_a_cancelled_run_goes_on_where_it_stopped(server):
    whole, _, calls = Counted(server, "whole").frames()
    steps = calls // 6 + 3  # of one candidate, at most
    counted = Counted(server, "resumed", delay=0.05)

    def cancel(message: dict[str, Any]) -> None:
        if message["type"] == EVENT and message["data"]["done"] == 3:
            server.interrupt()

    cancelled = server.run(counted.demo.graph.prompt, on_message=cancel)
    assert cancelled.interrupted
    before = server.calls("resumed")
    folder = events(cancelled, counted.bisector)[0]["folder"]
    left = server.get(f"/view?filename=frames.json&subfolder={folder}&type=temp")
    [record] = left["interpolation"]
    assert [file is None for file in files(record)] == [False, True, False, True, False]
    assert len(left["frames"]) == record["done"] == 3
    assert [f["index"] for f in record["frames"] if f["candidate"] is not None] == [2]
    assert record["failure"] == "cancelled; 2 frames are missing"
    assert record["state"] == "cancelled"

    frames, _, more = counted.frames()
    assert 0 < before < calls and calls - before <= more <= calls - before + steps
    assert (frames - whole).abs().max() < 1e-5


def test_anything_else_that_changes_makes_all_anew(server):
    plain, _, calls = Counted(server, "other", steps=4).frames()
    changes: list[dict[str, Any]] = [
        {"seed": 1},
        {"cfg": 3.0},
        {"blend": "slerp"},
        {"pose_motion": "straight"},
        {"sampler_name": "heun"},
        {"strength_half_way": 0.5},
        {"reranker": None, "candidates": 1},
    ]
    for change in changes:
        frames, _, more = Counted(server, "other", steps=4, **change).frames()
        assert more >= (calls if "reranker" not in change else calls // 2), change
        # another choice may be the same
        assert changed(frames, plain) == [1, 2, 3] or "reranker" in change
    for patch in (with_lora, with_another_prompt):
        counted = Counted(server, "other", steps=4)
        patch(counted)
        frames, _, more = counted.frames()
        assert more == calls and changed(frames, plain) == [1, 2, 3]
    again, _, more = Counted(server, "other", steps=4).frames()
    assert more == 0 and torch.equal(again, plain)


def test_another_smoothness_weight_ranks_the_same_candidates_again(server):
    _, _, calls = Counted(server, "weights").frames()
    frames, _, more = Counted(server, "weights", smoothness_weight=0.0).frames()
    assert more < calls, "the candidates half-way are known"
    assert Counted(server, "weights").frames()[2] == 0, "so is all of a weight tried before"
    fresh, _, _ = Counted(server, "weights afresh", smoothness_weight=0.0).frames()
    assert changed(frames, fresh) == []


def changed_in_place(counted: Counted, what: str) -> None:
    """Change a copy of an input of the bisector, the same one in each graph; nothing with ""."""
    graph, inputs = counted.demo.graph, counted.demo.graph.prompt[counted.bisector.id]["inputs"]
    name = {"decoder": "vae", "hint": "control_net", "strength": "positive"}.get(what.strip("-"))
    name = name or "model"
    link = inputs[name]
    if name in ("vae", "control_net"):
        link = graph.add("TestCopy", any=link)[0]
    if name == "positive":
        link = graph.add(
            "ControlNetApply",
            conditioning=link,
            control_net=counted.demo.control_net,
            image=counted.demo.keyframes,
            strength=0.7,
        )[0]
    inputs[name] = graph.add("TestChange", any=link, what="" if what[0] == "-" else what)[0]


@pytest.mark.parametrize(
    "what", ["options", "patches", "object_patch", "decoder", "hint", "strength"]
)
def test_what_was_changed_in_place_makes_all_anew(server, what):
    """The host hands on the very same object, which other packs change."""
    results = []
    for change in ("-" + what, what, what):
        counted = Counted(server, f"in_place_{what}", steps=4)
        changed_in_place(counted, change)
        results.append(counted.frames())
    (before, _, calls), (after, _, more), (again, _, none) = results
    # another schedule may have a step more or less for some frames
    assert calls > 0 and abs(more - calls) <= (what == "object_patch") and none == 0
    assert changed(after, before) == [1, 2, 3] and torch.equal(again, after)


def with_lora(counted: Counted) -> None:
    inputs = counted.demo.graph.prompt[counted.bisector.id]["inputs"]
    lora = counted.demo.graph.add("TestLora", model=inputs["model"], strength=0.5)
    inputs["model"] = lora[0]


def with_another_prompt(counted: Counted) -> None:
    graph = counted.demo.graph
    other = graph.add(
        "CLIPTextEncode", clip=counted.demo.clip, text="a yellow puppet with a top hat"
    )
    graph.prompt[counted.bisector.id]["inputs"]["positive"] = other[0]


def test_a_full_disk_does_not_lose_the_run(server):
    """A file stands where the folder of temporary files should be."""
    temp = server.folder / "temp"
    aside = server.folder / "temp_aside"
    temp.rename(aside)
    temp.write_text("no folder")
    try:
        counted = Counted(server, "disk")
        frames, run, _ = counted.frames()
    finally:
        temp.unlink()
        aside.rename(temp)
    record = about(run, counted.bisector)
    assert frames.shape[0] == 5 and files(record) == [None] * 5
    assert record["failure"] == "no preview can be written (Not a directory)"
    assert record["failure"] == run.outputs[counted.bisector.id]["text"][-1]
    assert [frame["strip"] for frame in record["frames"]] == [None] * 5
    assert server.log.count("no preview can be written") == 1
    # with room on the disk, the same prompt shows them, and makes no frame again
    _, run, calls = counted.frames()
    assert calls == 0 and about(run, counted.bisector)["failure"] == ""
    assert None not in files(about(run, counted.bisector))
    assert counted.bisector.id not in server.run(counted.demo.graph.prompt).executed


def test_a_full_disk_does_not_lose_the_frames_behind_a_slider(server):
    demo = Demo(Graph())
    preview = demo.graph.add("InterpolationPreview", images=demo.keyframes)
    temp = server.folder / "temp"
    aside = server.folder / "temp_aside"
    temp.rename(aside)
    temp.write_text("no folder")
    try:
        run = server.run(demo.graph.prompt)
    finally:
        temp.unlink()
        aside.rename(temp)
    assert files(about(run, preview)) == [None] * 2
    again = server.run(demo.graph.prompt)
    assert None not in files(about(again, preview))
    assert len(again.outputs[preview.id]["frames"]) == 2


def test_a_slow_disk_holds_up_no_frame_and_loses_none(server):
    """Pictures are saved beside the sampling, as they come; what was made waits for its turn."""
    demo = Demo(Graph())
    slow = demo.graph.add("TestSlowDisk", any=demo.keyframes, seconds=0.1)
    bisector = demo.bisector(keyframes=slow[0], seed=77, frames_per_gap=15, steps=4)
    try:
        run = server.run(demo.graph.prompt)
    finally:
        reset = Graph()
        image = reset.add("EmptyImage", width=16, height=16, batch_size=1, color=0)
        reset.add("TestEnd", any=reset.add("TestSlowDisk", any=image[0], seconds=0.0)[0])
        saved_by = (server.folder / "output" / "saved_by.txt").read_text().split()
        server.run(reset.prompt)
    assert run.error is None and about(run, bisector)["failure"] == ""
    first, *rest = events(run, bisector)
    assert [data["done"] for data in (first, *rest)] == list(range(18))
    depths = [data["frame"]["depth"] for data in rest]
    assert depths == [0, 0, 1, 2, 2, *[3] * 4, *[4] * 8]
    kept = [server.image(entry) for entry in run.outputs[bisector.id]["frames"]]
    assert len(kept) == 17
    # of each new frame the picture, and its candidates side by side
    assert len(saved_by) >= 15 + 15 and set(saved_by) == {"another"}


def test_the_hosts_memory_pressure_takes_candidates_that_were_not_taken(server):
    """Older hosts have no such pressure, and keep them."""
    state = server.host / "comfy" / "memory_management.py"
    presses = state.is_file() and "extra_ram_release_callback" in state.read_text()

    def run(picks: str) -> tuple[Tensor, list[dict[str, Any]], int]:
        counted = Early(server, "pressure", picks=picks)
        counted.demo.graph.add("TestPressure", any=counted.bisector[0])
        frames, run, calls = counted.frames()
        return frames, made(run, counted.bisector), calls

    plain, told, calls = run("")
    kept, _, none = run("0.9: 0")
    assert none == 0 and torch.equal(kept, plain), "what was taken is needed, and stays"
    picked, _, more = run(f"0.25: {1 - told[0]['candidate']}")
    # the pick itself takes the steps after the ranking
    assert (2 < more < calls) if presses else more == 2
    assert changed(picked, plain) == [1]


@pytest.mark.parametrize("change", ["loop", "keyframe"])
def test_a_longer_path_keeps_the_frames_that_it_has(server, change):
    def counted() -> Counted:
        made = Counted(server, f"longer {change}", control_net=None, poses=None)
        vae = made.demo.graph.add("TestBatchVAE", vae=made.demo.vae)
        made.demo.graph.prompt[made.bisector.id]["inputs"]["vae"] = vae[0]
        return made

    before, _, calls = counted().frames()
    longer = counted()
    graph, keyframes = longer.demo.graph, longer.demo.keyframes
    first = graph.add("ImageFromBatch", image=keyframes, batch_index=0, length=1)
    more_of_path = {"loop": True} if change == "loop" else {"last": first[0]}
    graph.prompt[longer.bisector.id]["inputs"].update(more_of_path)
    after, _, more = longer.frames()
    assert torch.equal(after[:5], before)
    assert more == calls, "the other half takes as long as this one, which is not made again"


@pytest.mark.parametrize(("sides", "count"), [("64", 2), ("64,32,48", 6)])
def test_any_frames_behind_a_slider(server, sides, count):
    demo = Demo(Graph())
    images = demo.graph.add("TestSizes", images=demo.keyframes, sides=sides)
    preview = demo.graph.add("InterpolationPreview", images=images[0])
    run, given = run_with(server, demo.graph, keyframes=demo.keyframes)
    output, record = run.outputs[preview.id], about(run, preview)
    assert record == {
        "version": 5,
        "folder": record["folder"],
        "pictures": record["pictures"],
        "frames": [
            {**KEYFRAME, "index": index, "position": index / (count - 1), "file": file}
            for index, file in enumerate(files(record))
        ],
        "seed": None,
        "workflow": "",
        "done": count,
        "state": "finished",
        "failure": "",
        "notes": [],
        "loop": False,
        "settings": {},
        "inputs": {},
    }
    assert [entry["filename"] for entry in output["frames"]] == files(record)
    assert len(files(record)) == count
    heights = [server.image(entry).height for entry in output["frames"]]
    assert heights == [int(side) for side in sides.split(",") for _ in range(2)]
    first = torch.from_numpy(numpy.array(server.image(output["frames"][0]))) / 255
    assert (first - given["keyframes"][0]).abs().max() <= 0.5 / 255 + 1e-6
    assert [data["done"] for data in events(run, preview)] == list(range(count + 1))


def test_one_picture_and_none_behind_a_slider(server):
    graph = Graph()
    one = graph.add("EmptyImage", width=64, height=32, batch_size=1, color=0)
    preview = graph.add("InterpolationPreview", images=one[0])
    assert len(server.run(graph.prompt).outputs[preview.id]["frames"]) == 1
    none = graph.add("TestSizes", images=one[0], sides="")
    graph.prompt[preview.id]["inputs"]["images"] = none[0]
    run = server.run(graph.prompt)
    assert run.error["exception_message"].startswith("images: got none, needs at least 1")
