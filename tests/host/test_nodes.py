"""The six nodes on the embedded demo, in a real ComfyUI."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from comfy_host import Graph, Node
from demo_graphs import BISECTOR, SMALL, Demo, run_with, tensors

from diffusion_interpolation.demo.networks import SIZE, TEXT_WIDTH, TOKENS


def test_frames_begin_and_end_with_the_keyframes(server):
    demo = Demo(Graph())
    bisector = demo.bisector()
    run, given = run_with(
        server, demo.graph, frames=bisector[0], latents=bisector[1], keyframes=demo.keyframes
    )
    frames = given["frames"]
    assert frames.shape == (5, SMALL, SMALL, 3)
    assert given["latents"].shape == (5, 4, SMALL // 8, SMALL // 8)
    assert torch.equal(frames[[0, -1]], given["keyframes"])
    steps = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))
    assert steps.min() > 0.001
    assert steps.max() < 0.7 * (frames[0] - frames[-1]).abs().mean()
    assert len(run.outputs[bisector.id]["frames"]) == 5
    assert len(run.outputs[bisector.id]["text"]) == 3


def test_progress_is_sent_while_it_works(server):
    demo = Demo(Graph())
    # of the last state of fast work the host tells alone
    bisector = demo.bisector(seed=101, steps=20)
    run, _ = run_with(server, demo.graph, frames=bisector[0])
    progress = [
        message["data"]["nodes"][bisector.id]
        for message in run.messages
        if message["type"] == "progress_state" and bisector.id in message["data"]["nodes"]
    ]
    values = [state["value"] for state in progress]
    assert len(set(values)) > 5 and values == sorted(values)
    assert values[-1] == progress[-1]["max"]
    # the slider shows frames, so the host draws none
    assert bisector.id not in [node for node, _ in run.previews]


def test_the_second_run_comes_from_the_cache_and_a_seed_reruns_the_bisector_alone(server):
    def prompt(seed: int) -> tuple[Graph, Node, Demo]:
        demo = Demo(Graph())
        learned = demo.invert(steps=1)
        bisector = demo.bisector(positive=learned[0], negative=learned[1], seed=seed)
        return demo.graph, bisector, demo

    graph, bisector, _ = prompt(7)
    server.run(graph.prompt)
    assert server.run(prompt(7)[0].prompt).executed == []
    graph, bisector, _ = prompt(8)
    # twice: before its prompts, which it asks for once all else fits, and with them
    assert set(server.run(graph.prompt).executed) == {bisector.id}


def test_the_parts_make_the_bisectors_middle_frame(server):
    demo = Demo(Graph())
    whole = demo.bisector(frames_per_gap=1, candidates=3, smoothness_weight=0.0, rank_fraction=1.0)
    latents = demo.graph.add("VAEEncode", pixels=demo.keyframes, vae=demo.vae)
    noisy = demo.lerp(latents[0], candidates=3)
    clean = demo.denoise(noisy)
    pictures = demo.graph.add("VAEDecode", samples=clean[0], vae=demo.vae)
    best = demo.graph.add(
        "CLIPRerank", images=pictures[0], latents=clean[0], reranker=demo.reranker, keep=1
    )
    given = tensors(
        server, demo.graph, frames=whole[0], latents=whole[1], picture=best[0], latent=best[1]
    )
    assert given["picture"].shape == (1, SMALL, SMALL, 3)
    assert (given["frames"][1] - given["picture"][0]).abs().max() < 1e-4
    assert (given["latents"][1] - given["latent"][0]).abs().max() < 1e-3


@pytest.mark.parametrize(
    "sampler", ["euler", "euler_ancestral", "dpmpp_sde", "dpmpp_3m_sde_gpu", "uni_pc"]
)
def test_a_frame_does_not_depend_on_its_batch(server, sampler):
    frames = []
    for batch_size in (1, 3):
        demo = Demo(Graph())
        # a model of its own each time, of which no candidates are known
        model = demo.graph.add(
            "TestCount", model=demo.model, name=f"batch_{sampler}_{batch_size}", delay=0.0
        )
        short = {"sampler_name": sampler, "steps": 6}
        bisector = demo.bisector(model=model[0], max_batch=batch_size, **short)
        frames.append(tensors(server, demo.graph, frames=bisector[0])["frames"])
    assert (frames[0] - frames[1]).abs().max() < 2e-3
    demo = Demo(Graph())
    other = demo.bisector(seed=5, frames_per_gap=1, **short)
    half_way = tensors(server, demo.graph, frames=other[0])["frames"][1]
    assert (half_way - frames[0][2]).abs().max() > 0.1


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m_sde", "uni_pc"])
def test_candidates_are_ranked_on_the_way(server, sampler):
    """The same ones as at the end, but for samplers that remember their steps or add noise."""
    given, picks = [], "0.25: 1, 0.5: 1, 0.75: 1"
    for rank_fraction in (0.05, 1.0):
        demo = Demo(Graph())
        changes = {"rank_fraction": rank_fraction, "picks": picks, "steps": 6}
        bisector = demo.bisector(sampler_name=sampler, **changes)
        given.append(tensors(server, demo.graph, frames=bisector[0])["frames"])
    difference = (given[0] - given[1]).abs()
    if sampler in ("euler", "heun"):
        assert difference.max() < 1e-4
    else:
        assert difference.mean() < 0.1


def test_frames_are_those_of_the_command_line(server):
    """All options on; the two end a step from the clean picture, and beside it."""
    from diffusion_interpolation.demo import load_model, reranker, world
    from diffusion_interpolation.demo.pair import pair
    from diffusion_interpolation.method.bisection import Bisection
    from diffusion_interpolation.method.guide import Guide
    from diffusion_interpolation.method.path import Path
    from diffusion_interpolation.settings import FrameSettings

    demo = Demo(Graph())
    bisector = demo.bisector(steps=50)
    frames = tensors(server, demo.graph, frames=bisector[0])["frames"]
    model = load_model(steps=50)
    guide = Guide(
        model.encode_text(["a puppet"]),
        model.encode_text(["a double exposure"]),
        BISECTOR["cfg"],
        world.poses(pair(), SIZE),
        (SIZE, SIZE),
    )
    scorer = reranker().scorer(["a puppet"], "a double exposure")
    ours = Bisection(model, Path((3,)), guide, FrameSettings(candidates=2), scorer)
    keyframes = frames[[0, -1]].movedim(-1, 1)
    for frame in ours.frames(model.encode(keyframes)):
        difference = frame.picture.movedim(0, -1) - frames[frame.info.index]
        assert difference.abs().mean() < 2 / 255


def test_a_cancel_stops_within_a_step(server):
    demo = Demo(Graph())
    counted = demo.graph.add("TestCount", model=demo.model, name="bisector", delay=0.15)
    demo.bisector(model=counted[0], seed=300, steps=100)
    calls_at_cancel = []

    def cancel() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if server.calls("bisector") >= 3:
                    break
            except (FileNotFoundError, ValueError):
                pass
            time.sleep(0.02)
        calls_at_cancel.append(server.calls("bisector"))
        server.interrupt()

    watcher = threading.Thread(target=cancel)
    watcher.start()
    run = server.run(demo.graph.prompt)
    watcher.join()
    assert run.interrupted and run.error is None
    # the call that was under way when the request came, and at most one more
    assert server.calls("bisector") <= calls_at_cancel[0] + 2


def test_a_run_that_failed_in_decoding_goes_on_when_it_is_run_again(server):
    """Nothing behind it takes the frames that were finished for all of them."""
    demo = Demo(Graph())
    counted = demo.graph.add("TestCount", model=demo.model, name="broken", delay=0.0)
    # the candidates half-way, the keyframes for the reranker to see, and the best candidate
    broken = demo.graph.add("TestBrokenVAE", vae=demo.vae, good_calls=3, bad_calls=1)
    bisector = demo.bisector(model=counted[0], vae=broken[0], seed=400)
    end = demo.graph.add("TestTensor", any=bisector[0], name="after_broken")
    run = server.run(demo.graph.prompt)
    assert run.error["node_id"] == bisector.id and end.id not in run.executed
    assert "decoding failed on purpose" in run.error["exception_message"]
    told = [m["data"] for m in run.messages if m["type"] == "diffusion_interpolation.frame"]
    folder = told[-1]["folder"]
    left = server.get(f"/view?filename=frames.json&subfolder={folder}&type=temp")
    [record] = left["interpolation"]
    assert "decoding failed on purpose" in record["failure"]
    assert record["failure"].endswith("2 frames are missing")
    assert [frame["file"] is None for frame in record["frames"]] == [
        False,
        True,
        False,
        True,
        False,
    ]

    before = server.calls("broken")
    again = server.run(demo.graph.prompt)
    assert again.error is None and {bisector.id, end.id} <= set(again.executed)
    assert len(server.tensor("after_broken")) == 5
    [record] = again.outputs[bisector.id]["interpolation"]
    assert record["failure"] == "" and None not in [frame["file"] for frame in record["frames"]]
    assert server.run(demo.graph.prompt).executed == []
    fresh = Demo(Graph())
    counted = fresh.graph.add("TestCount", model=fresh.model, name="unbroken", delay=0.0)
    whole = fresh.bisector(model=counted[0], seed=400)
    frames = tensors(server, fresh.graph, frames=whole[0])["frames"]
    assert (frames - server.tensor("after_broken")).abs().max() < 2e-3
    assert server.calls("broken") - before < server.calls("unbroken")


def test_a_decode_that_fails_at_once_is_an_error(server):
    demo = Demo(Graph())
    broken = demo.graph.add("TestBrokenVAE", vae=demo.vae, good_calls=0)
    bisector = demo.bisector(vae=broken[0], seed=401)
    run = server.run(demo.graph.prompt)
    assert run.error["node_id"] == bisector.id
    assert "cannot be decoded" in run.error["exception_message"]


def test_the_best_are_kept_with_their_latents(server):
    demo = Demo(Graph())
    latents = demo.graph.add("VAEEncode", pixels=demo.keyframes, vae=demo.vae)
    best = demo.graph.add(
        "CLIPRerank", images=demo.keyframes, latents=latents[0], reranker=demo.reranker, keep=2
    )
    run, given = run_with(
        server,
        demo.graph,
        keyframes=demo.keyframes,
        all_latents=latents[0],
        images=best[0],
        latents=best[1],
    )
    lines = run.outputs[best.id]["text"][0].splitlines()
    order = [int(line.split()[1].strip(":")) for line in lines]
    scores = [float(line.split()[-1]) for line in lines]
    assert sorted(order) == [0, 1] and scores == sorted(scores, reverse=True)
    assert torch.equal(given["images"], given["keyframes"][order])
    assert torch.equal(given["latents"], given["all_latents"][order])


def test_latents_that_were_not_given_cannot_be_taken(server):
    demo = Demo(Graph())
    best = demo.graph.add("CLIPRerank", images=demo.keyframes, reranker=demo.reranker, keep=1)
    given = tensors(server, demo.graph, images=best[0])
    assert len(given["images"]) == 1
    demo.graph.add("TestTensor", any=best[1], name="nothing")
    run = server.run(demo.graph.prompt)
    assert "connect its input latents" in run.error["exception_message"]


def test_poses_are_found_and_drawn(server):
    demo = Demo(Graph())
    found = demo.graph.add(
        "PoseExtract", images=demo.keyframes, detector="puppets of the demo", people="largest"
    )
    bisectors = [demo.bisector(poses=poses) for poses in (found[0], demo.poses, None)]
    control = demo.graph.prompt[bisectors[2].id]["inputs"]
    del control["control_net"]
    run, given = run_with(
        server,
        demo.graph,
        skeletons=found[1],
        **{f"frames{i}": bisector[0] for i, bisector in enumerate(bisectors)},
    )
    assert given["skeletons"].shape == (2, SMALL, SMALL, 3)
    assert 0.02 < (given["skeletons"] > 0.2).float().mean() < 0.5
    assert len(run.outputs[found.id]["images"]) == 2
    detected, known, none = (given[f"frames{i}"] for i in range(3))
    near, far = (detected - known).abs().mean(), (none - known).abs().mean()
    assert near < far / 2


def test_every_keyframe_may_have_its_own_prompt(server):
    demo = Demo(Graph())
    other = demo.graph.add("CLIPTextEncode", clip=demo.clip, text="a yellow puppet with a top hat")
    both = demo.graph.add("KeyframeConditioning", first=demo.positive, second=other[0])
    bisector = demo.bisector(positive=both[0])
    one = demo.bisector()
    given = tensors(
        server, demo.graph, rows=both[0], other=other[0], frames=bisector[0], plain=one[0]
    )
    assert given["rows"].shape == (2, TOKENS, TEXT_WIDTH)
    assert torch.equal(given["rows"][1], given["other"][0])
    assert (given["frames"] - given["plain"]).abs().max() > 0.05
