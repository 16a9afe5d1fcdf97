"""Which pictures Frame Bisector goes between, and what is between which of them."""

from __future__ import annotations

import pytest
import torch
from comfy_host import Graph, Node, Run
from demo_graphs import Demo, run_with, tensors

SHORT = {"steps": 6, "candidates": 1}


def single(demo: Demo, index: int, images: list | None = None) -> list:
    """One of the demo's keyframes."""
    images = images or demo.keyframes
    return demo.graph.add("ImageFromBatch", image=images, batch_index=index, length=1)[0]


def shrunk(demo: Demo, images: list, width: int, height: int) -> list:
    return demo.graph.add("ImageCrop", image=images, width=width, height=height, x=0, y=0)[0]


def notes(run: Run, node: Node) -> list[str]:
    told = run.outputs[node.id]["interpolation"][0]["notes"]
    return [note["text"].format(**note["values"]) for note in told]


def test_two_pictures_are_a_path_as_their_batch_is(server):
    demo = Demo(Graph())
    one, other = single(demo, 0), single(demo, 1)
    pair = demo.bisector(keyframes=None, first=one, last=other, **SHORT)
    batch = demo.bisector(**SHORT)
    given = tensors(server, demo.graph, pair=pair[0], batch=batch[0])
    assert torch.equal(given["pair"], given["batch"])


def test_first_and_last_come_before_and_after_the_batch(server):
    demo = Demo(Graph())
    one, other = single(demo, 0), single(demo, 1)
    node = demo.bisector(
        first=other, last=one, poses=None, control_net=None, frames_per_gap=1, **SHORT
    )
    given = tensors(server, demo.graph, frames=node[0], keyframes=demo.keyframes)
    first, second = given["keyframes"]
    assert torch.equal(given["frames"][::2], torch.stack([second, first, second, first]))


def test_the_last_picture_takes_the_size_of_the_first_and_the_node_says_so(server):
    demo = Demo(Graph(), side=128)
    small = shrunk(demo, single(demo, 1), 64, 96)
    node = demo.bisector(keyframes=None, first=single(demo, 0), last=small, **SHORT)
    joined = demo.graph.add("ImageBatch", image1=single(demo, 0), image2=small)
    run, given = run_with(server, demo.graph, frames=node[0], joined=joined[0])
    assert torch.allclose(given["frames"][[0, -1]], given["joined"], atol=1e-6)
    said = (
        "The picture last was resized and cropped from 64 x 96 to 128 x 128, the size of the first."
    )
    assert notes(run, node) == [said]
    assert run.outputs[node.id]["text"][0] == said


def test_sides_that_the_vae_does_not_take_are_cropped_as_the_hosts_vae_encode_does(server):
    demo = Demo(Graph(), side=128)
    odd = shrunk(demo, demo.keyframes, 123, 127)
    node = demo.bisector(keyframes=odd, **SHORT)
    encoded = demo.graph.add("VAEEncode", pixels=odd, vae=demo.vae)
    hosts = demo.graph.add("TestTensor", any=encoded[0], name="hosts")
    run, given = run_with(server, demo.graph, frames=node[0], latents=node[1], odd=odd)
    assert hosts and given["frames"].shape[1:3] == (120, 120)
    assert torch.equal(given["frames"][[0, -1]], given["odd"][:, 3:123, 1:121])
    assert torch.allclose(given["latents"][[0, -1]], server.tensor("hosts"), atol=1e-4)
    said = "The keyframes were cropped in the middle from 123 x 127 to 120 x 120, which the VAE"
    assert notes(run, node) == [f"{said} takes."]


def test_a_list_gives_each_gap_its_frames(server):
    demo = Demo(Graph())
    node = demo.bisector(first=single(demo, 1), frames_per_gap="1, 3", **SHORT)
    demo.graph.prompt[node.id]["inputs"].pop("poses")
    demo.graph.prompt[node.id]["inputs"].pop("control_net")
    given = tensors(server, demo.graph, frames=node[0], keyframes=demo.keyframes)
    first, second = given["keyframes"]
    assert len(given["frames"]) == 7
    assert torch.equal(given["frames"][[0, 2, 6]], torch.stack([second, first, second]))


@pytest.mark.parametrize(
    "text, said",
    [
        ("15, x", "got '15, x', needs a whole number up to 1023, or one for each gap"),
        ("1, 2, 3", "got 3 numbers for 1 gaps, needs 1 or 1"),
        ("0", "got [0], needs at least 1 in one gap"),
    ],
)
def test_other_lists_are_refused(server, text, said):
    demo = Demo(Graph())
    demo.bisector(frames_per_gap=text, **SHORT)
    run = server.run(demo.graph.prompt)
    assert f"frames_per_gap: {said}" in run.error["exception_message"]


def test_a_loop_returns_to_the_first_keyframe_and_has_it_once(server):
    """Its second half goes where a path through three keyframes goes, the last as the first."""
    demo = Demo(Graph())
    prompts = [
        demo.graph.add("CLIPTextEncode", clip=demo.clip, text=f"a {word} puppet")[0]
        for word in ("red", "blue", "red")
    ]
    two = demo.graph.add("KeyframeConditioning", first=prompts[0], second=prompts[1])[0]
    three = demo.graph.add("KeyframeConditioning", first=two, second=prompts[2])[0]
    plain = {"poses": None, "control_net": None, **SHORT}
    loop = demo.bisector(positive=two, loop=True, **plain)
    batch = demo.graph.add("ImageBatch", image1=demo.keyframes, image2=single(demo, 0))[0]
    path = demo.bisector(positive=three, keyframes=batch, **plain)
    run, given = run_with(server, demo.graph, loop=loop[0], path=path[0])
    assert len(given["loop"]) == 8 and len(given["path"]) == 9
    assert torch.allclose(given["loop"], given["path"][:8], atol=1e-5)
    told = run.outputs[loop.id]["interpolation"][0]
    assert told["loop"] is True and len(told["frames"]) == 8
    assert [frame["parents"] for frame in told["frames"][5:]] == [[4, 6], [4, 0], [6, 0]]


def test_a_loop_of_poses_keeps_the_frames_of_the_way_there(server):
    demo = Demo(Graph())
    loop, path = (demo.bisector(loop=loop, **SHORT) for loop in (True, False))
    given = tensors(server, demo.graph, loop=loop[0], path=path[0])
    assert len(given["loop"]) == 8
    assert torch.allclose(given["loop"][:5], given["path"], atol=1e-5)
    back = (given["loop"][5:] - given["path"][1:4].flip(0)).abs().mean()
    assert 0 < back < 0.5 * (given["path"][0] - given["path"][-1]).abs().mean()
