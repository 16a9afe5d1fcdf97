"""A user's mistakes: each marks its node and says in a sentence what it got and what it wants."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from comfy_host import Graph, Node
from demo_graphs import Demo, demo_poses

Mistake = Callable[[Demo], Node]
MISTAKES: dict[str, tuple[Mistake, list[str]]] = {}


def mistake(*words: str) -> Callable[[Mistake], Mistake]:
    """Register what makes a mistake, and the words that its message must hold."""

    def register(make: Mistake) -> Mistake:
        MISTAKES[make.__name__] = make, list(words)
        return make

    return register


def one_picture(demo: Demo) -> list:
    return demo.graph.add("ImageFromBatch", image=demo.keyframes, batch_index=0, length=1)[0]


def three_pictures(demo: Demo) -> list:
    return demo.graph.add("ImageBatch", image1=demo.keyframes, image2=one_picture(demo))[0]


def of_size(demo: Demo, width: int, height: int) -> list:
    return demo.graph.add("EmptyImage", width=width, height=height, batch_size=2, color=0x808080)[0]


def rows(demo: Demo, count: int) -> list:
    prompt = demo.positive
    for _ in range(count - 1):
        node = demo.graph.add("KeyframeConditioning", first=prompt, second=demo.positive)
        prompt = node[0]
    return prompt


def encoded(demo: Demo, pictures: list | None = None, vae: list | None = None) -> list:
    node = demo.graph.add("VAEEncode", pixels=pictures or demo.keyframes, vae=vae or demo.vae)
    return node[0]


def of_family(demo: Demo, kind: str) -> Node:
    return demo.graph.add("TestCheckpoint", kind=kind, seed=0)


@mistake("keyframes", "got 1", "at least 2")
def one_keyframe(demo: Demo) -> Node:
    return demo.bisector(keyframes=one_picture(demo))


@mistake("keyframes", "got 1", "at least 2")
def one_keyframe_to_learn(demo: Demo) -> Node:
    return demo.invert(keyframes=one_picture(demo))


@mistake("first", "5 x 5 pixels", "at least 8")
def first_picture_too_small(demo: Demo) -> Node:
    tiny, pair = of_size(demo, 5, 5), {"keyframes": None, "last": one_picture(demo)}
    return demo.bisector(first=tiny, **pair)


@mistake("keyframes", "4 x 128", "at least 8")
def sides_under_a_step_of_the_vae(demo: Demo) -> Node:
    return demo.bisector(keyframes=of_size(demo, 4, 128))


@mistake("keyframes", "got 0 in first, keyframes and last", "at least 2")
def no_keyframes(demo: Demo) -> Node:
    return demo.bisector(keyframes=None)


@mistake("positive", "3 prompts", "2 keyframes")
def conditioning_of_another_count(demo: Demo) -> Node:
    return demo.bisector(positive=rows(demo, 3))


@mistake("negative", "2 rows", "needs 1")
def a_negative_of_two_rows(demo: Demo) -> Node:
    return demo.bisector(negative=rows(demo, 2))


@mistake("positive", "2 entries", "needs one", "KeyframeConditioning")
def several_regions(demo: Demo) -> Node:
    both = demo.graph.add(
        "ConditioningCombine", conditioning_1=demo.positive, conditioning_2=demo.negative
    )
    return demo.bisector(positive=both[0])


@mistake("positive", "2 entries")
def several_regions_to_learn(demo: Demo) -> Node:
    both = demo.graph.add(
        "ConditioningCombine", conditioning_1=demo.positive, conditioning_2=demo.negative
    )
    return demo.invert(positive=both[0])


@mistake("poses", "got 2", "3 keyframes")
def poses_of_another_count(demo: Demo) -> Node:
    return demo.bisector(keyframes=three_pictures(demo))


@mistake("control_net", "got none", "poses")
def poses_without_a_controlnet(demo: Demo) -> Node:
    return demo.bisector(control_net=None)


@mistake("poses", "got none", "control_net")
def a_controlnet_without_poses(demo: Demo) -> Node:
    return demo.bisector(poses=None)


@mistake("animal pose", "needs people")
def an_animal(demo: Demo) -> Node:
    animals = [{"animals": [], "canvas_width": 64, "canvas_height": 64}] * 2
    poses = demo.graph.add("TestPoses", json=json.dumps(animals))
    return demo.bisector(poses=poses[0])


@mistake("keyframe 1", "no person")
def a_keyframe_without_people(demo: Demo) -> Node:
    people = demo_poses()
    people[1]["people"] = []
    poses = demo.graph.add("TestPoses", json=json.dumps(people))
    return demo.bisector(poses=poses[0])


@mistake("control_net", "text of width", "another family")
def a_controlnet_of_another_family(demo: Demo) -> Node:
    network = demo.graph.add("TestControlNet", kind="sdxl", seed=0)
    return demo.bisector(control_net=network[0])


@mistake("latents", "this model needs (n, 4", "another model family")
def latents_of_another_family(demo: Demo) -> Node:
    other = of_family(demo, "flux")
    return demo.lerp(encoded(demo, vae=other[2]))


@mistake("vae", "this model needs (n, 4")
def a_vae_of_another_family(demo: Demo) -> Node:
    other = of_family(demo, "flux")
    return demo.bisector(vae=other[2], control_net=None, poses=None)


@mistake("noisy_latent", "this model needs (n, 4")
def a_noisy_latent_of_another_family(demo: Demo) -> Node:
    other = of_family(demo, "flux")
    noisy = demo.lerp(encoded(demo, vae=other[2]), model=other[0])
    return demo.denoise(noisy)


@mistake("vae", "got none", "Load VAE")
def no_vae(demo: Demo) -> Node:
    return demo.bisector(vae=demo.graph.add("TestNoVAE")[0])


@mistake("vae", "got none")
def no_vae_to_learn(demo: Demo) -> Node:
    return demo.invert(vae=demo.graph.add("TestNoVAE")[0])


@mistake("negative", "got none at cfg 4", "cfg 1")
def no_negative(demo: Demo) -> Node:
    return demo.bisector(negative=None)


@mistake("not finite", "lower cfg")
def a_model_that_gives_nan(demo: Demo) -> Node:
    return demo.bisector(model=demo.graph.add("TestNaN", model=demo.model)[0])


@mistake("model", "not finite")
def a_model_that_gives_nan_in_parts(demo: Demo) -> Node:
    model = demo.graph.add("TestNaN", model=demo.model)[0]
    return demo.denoise(demo.lerp(encoded(demo)), model=model)


@mistake("inversion", "nan")
def a_model_that_learns_nan(demo: Demo) -> Node:
    return demo.invert(model=demo.graph.add("TestNaN", model=demo.model)[0])


def nan_vae(demo: Demo, way: str) -> list:
    return demo.graph.add("TestNaNVAE", vae=demo.vae, way=way)[0]


def nan_pictures(demo: Demo) -> list:
    return demo.graph.add("VAEDecode", samples=encoded(demo), vae=nan_vae(demo, "decode"))[0]


@mistake("vae: it encoded 1 of 1", "--fp32-vae", "--bf16-vae", "fp16 fix")
def a_vae_that_encodes_to_nan(demo: Demo) -> Node:
    return demo.bisector(vae=nan_vae(demo, "encode"))


@mistake("vae: it encoded 2 of 2", "--fp32-vae")
def a_vae_that_encodes_to_nan_to_learn(demo: Demo) -> Node:
    return demo.invert(vae=nan_vae(demo, "encode"))


@mistake("vae: it decoded 2 of 2", "--fp32-vae")
def a_vae_that_decodes_to_nan(demo: Demo) -> Node:
    return demo.bisector(vae=nan_vae(demo, "decode"))


@mistake("vae: it decoded 1 of 1", "--fp32-vae")
def a_vae_that_decodes_to_nan_without_a_reranker(demo: Demo) -> Node:
    return demo.bisector(vae=nan_vae(demo, "decode"), reranker=None, candidates=1)


@mistake("keyframes: got NaN", "2 of 2", "--fp32-vae")
def keyframes_of_nan(demo: Demo) -> Node:
    return demo.bisector(keyframes=nan_pictures(demo))


@mistake("images: got NaN", "--fp32-vae")
def candidates_of_nan(demo: Demo) -> Node:
    return demo.graph.add("CLIPRerank", images=nan_pictures(demo), reranker=demo.reranker, keep=1)


@mistake("images: got NaN", "--fp32-vae")
def a_path_of_nan(demo: Demo) -> Node:
    return demo.graph.add("PathMetrics", images=nan_pictures(demo), reranker=demo.reranker)


@mistake("frames: got NaN", "--fp32-vae")
def frames_of_nan(demo: Demo) -> Node:
    return demo.graph.add("MatchColors", frames=nan_pictures(demo), strength=1.0)


@mistake("latents: got NaN", "--fp32-vae")
def latents_of_nan(demo: Demo) -> Node:
    return demo.lerp(encoded(demo, vae=nan_vae(demo, "encode")))


@mistake("noisy_latent: got NaN", "--fp32-vae")
def noisy_latents_of_nan(demo: Demo) -> Node:
    noisy = demo.lerp(encoded(demo))
    return demo.denoise(noisy, noisy_latent=encoded(demo, vae=nan_vae(demo, "encode")))


@mistake("min_denoise: got 0.55", "needs max_denoise (0.3) or less")
def denoise_the_wrong_way_round(demo: Demo) -> Node:
    return demo.bisector(max_denoise=0.30, min_denoise=0.55)


@mistake("min_denoise: got 0.67", "needs less than max_denoise (0.33)")
def denoise_to_learn_the_wrong_way_round(demo: Demo) -> Node:
    return demo.invert(min_denoise=0.67, max_denoise=0.33)


def holding(demo: Demo, key: str, numbers: object) -> list:
    """The positive prompt with a tensor of `numbers` beside it."""
    numbers = json.dumps(numbers)
    held = demo.graph.add("TestHeld", conditioning=demo.positive, key=key, numbers=numbers)
    return held[0]


@mistake("positive", "ControlNet hint has 3 rows", "2 keyframes", "needs")
def a_hint_of_another_count(demo: Demo) -> Node:
    prompts = demo.graph.add(
        "ControlNetApplyAdvanced",
        positive=demo.positive,
        negative=demo.negative,
        control_net=demo.control_net,
        image=three_pictures(demo),
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
    )
    return demo.bisector(positive=prompts[0], negative=prompts[1])


@mistake("positive", "guidance holds 2 numbers", "a single number")
def a_guidance_for_each_keyframe(demo: Demo) -> Node:
    return demo.bisector(positive=holding(demo, "guidance", [3.5, 4.0]))


@mistake("negative", "latent_of_a_pack has 3 rows for 2 keyframes", "needs 1 row")
def a_tensor_of_another_count(demo: Demo) -> Node:
    negative = holding(demo, "latent_of_a_pack", [[0.0, 1.0]] * 3)
    return demo.bisector(negative=negative)


@mistake("positive", "attention_mask differs between keyframes", "the same")
def nothing_between_two_masks(demo: Demo) -> Node:
    return demo.bisector(positive=holding(demo, "attention_mask", [[1, 1, 1], [1, 1, 0]]))


@mistake("positive", "reference has 2 rows", "learning needs 1 row")
def a_tensor_for_each_keyframe_to_learn(demo: Demo) -> Node:
    return demo.invert(positive=holding(demo, "reference", [[0.0], [1.0]]))


@mistake("position", "1.5 to 1.5", "needs 0 to 1")
def a_position_beyond_the_hints(demo: Demo) -> Node:
    held = holding(demo, "reference", [[0.0], [1.0]])
    noisy = demo.lerp(encoded(demo))
    return demo.denoise(noisy, position=1.5, positive=held, control_net=None, poses=None)


@mistake("position", "got 1.5", "0 to 1")
def a_position_beyond_the_end(demo: Demo) -> Node:
    return demo.lerp(encoded(demo), position=1.5)


@mistake("position", "7 to 7", "needs 0 to 1")
def a_position_beyond_the_prompts(demo: Demo) -> Node:
    noisy = demo.lerp(encoded(demo))
    return demo.denoise(noisy, position=7.0, positive=rows(demo, 2), control_net=None, poses=None)


@mistake("latents", "got 1", "at least 2")
def one_latent(demo: Demo) -> Node:
    return demo.lerp(encoded(demo, one_picture(demo)))


@mistake("latents", "got 2 for 3 images")
def latents_of_other_images(demo: Demo) -> Node:
    return demo.graph.add(
        "CLIPRerank",
        images=three_pictures(demo),
        latents=encoded(demo),
        reranker=demo.reranker,
        keep=1,
    )


@mistake("second", "width", "text encoder of one model")
def prompts_of_two_models(demo: Demo) -> Node:
    other = demo.graph.add("CLIPTextEncode", clip=of_family(demo, "sd15")[1], text="a dog")
    return demo.graph.add("KeyframeConditioning", first=demo.positive, second=other[0])


@mistake("body_pose_model.pth", "lacks", "pose_detection", "lllyasviel/Annotators")
def no_weights_to_detect_with(demo: Demo) -> Node:
    return demo.graph.add(
        "PoseExtract", images=demo.keyframes, detector="OpenPose", people="largest"
    )


@mistake("vitpose", "lacks", "config.json", "model.safetensors", "usyd-community")
def no_networks_to_detect_with(demo: Demo) -> Node:
    return demo.graph.add(
        "PoseExtract", images=demo.keyframes, detector="ViTPose", people="largest"
    )


@mistake("nobody.json", "needs a .json in the input or output folder")
def poses_of_no_file(demo: Demo) -> Node:
    # by a wire, which the host does not hold against the list
    name = demo.graph.add("TestWord", word="../nobody.json")
    return demo.graph.add("LoadPoses", file=name[0])


@mistake("clip", "projection")
def a_text_encoder_without_projection(demo: Demo) -> Node:
    both = demo.graph.add("TestDemoClip", clip=demo.clip, projection=False)
    return demo.graph.add(
        "RerankerFromCLIP", clip=both[0], clip_vision=both[1], positive="a", negative="b"
    )


@mistake("clip", "[16]", "128", "one CLIP")
def halves_of_two_clips(demo: Demo) -> Node:
    both = demo.graph.add("TestDemoClip", clip=demo.clip, projection=True)
    other = of_family(demo, "sd15")
    return demo.graph.add(
        "RerankerFromCLIP", clip=other[1], clip_vision=both[1], positive="a", negative="b"
    )


@mistake("positive", "nothing", "needs a prompt")
def nothing_to_rank_by(demo: Demo) -> Node:
    return demo.graph.add("PuppetDemo", positive=" ", negative="")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake(server, name):
    make, words = MISTAKES[name]
    demo = Demo(Graph())
    node = make(demo)
    demo.graph.add("TestEnd", any=node[0])
    run = server.run(demo.graph.prompt)
    assert not run.node_errors, run.node_errors
    assert run.error is not None
    assert run.error["node_id"] == node.id
    message = run.error["exception_message"]
    assert [word for word in words if word not in message] == [], message
    assert run.error["exception_type"] in ("ValueError", "FloatingPointError")
    assert message.strip().count("\n") == 0


EARLY: dict[str, tuple[str, Callable[[Demo, list, list], Node]]] = {
    "first as well as keyframes": (
        "positive: got 2 prompts for 3 keyframes",
        lambda demo, learned, more: demo.bisector(
            positive=learned, first=one_picture(demo), control_net=None, poses=None
        ),
    ),
    "one prompt too many": (
        "positive: got 3 prompts for 2 keyframes",
        lambda demo, learned, more: demo.bisector(positive=more),
    ),
    "gaps": (
        "frames_per_gap: got 2 numbers for 1 gaps",
        lambda demo, learned, more: demo.bisector(positive=learned, frames_per_gap="3, 3"),
    ),
    "picks": (
        "picks: got 'half: 3'",
        lambda demo, learned, more: demo.bisector(positive=learned, picks="half: 3"),
    ),
    "denoise": (
        "min_denoise: got 0.5",
        lambda demo, learned, more: demo.bisector(
            positive=learned, min_denoise=0.5, max_denoise=0.4
        ),
    ),
    "no poses": (
        "poses: got none, but a control_net",
        lambda demo, learned, more: demo.bisector(positive=learned, poses=None),
    ),
    "poses of keyframes, and first as well": (
        "poses: got 2 for 3 keyframes (1 in first, 2 in keyframes), needs one for each",
        lambda demo, learned, more: demo.bisector(positive=learned, first=one_picture(demo)),
    ),
    "first as well as keyframes in the probe": (
        "positive: got 2 prompts for 3 keyframes",
        lambda demo, learned, more: probe(demo, positive=learned, first=one_picture(demo)),
    ),
}


def probe(demo: Demo, **wires: list) -> Node:
    sources = {"model": demo.model, "vae": demo.vae, "keyframes": demo.keyframes, **wires}
    values = {"preset": "custom", "values": "0.5", "seed": 0, "steps": 4, "cfg": 1.0}
    names = {"sampler_name": "euler", "scheduler": "ddim_uniform"}
    return demo.graph.add("DenoiseProbe", **sources, **values, **names)


@pytest.mark.parametrize("name", EARLY)
def test_what_the_graph_tells_is_said_before_prompts_are_learned(server, name):
    message, make = EARLY[name]
    demo = Demo(Graph())
    counted = demo.graph.add("TestCount", model=demo.model, name=f"early {name}", delay=0.0)
    learned = demo.invert(model=counted[0])[0]
    more = demo.graph.add("KeyframeConditioning", first=learned, second=demo.positive)[0]
    node = make(demo, learned, more)
    run = server.run(demo.graph.prompt)
    assert run.error is not None and run.error["node_id"] == node.id
    assert message in run.error["exception_message"]
    with pytest.raises(FileNotFoundError):
        server.calls(f"early {name}")


def test_a_reranker_file_that_is_no_clip(server):
    folder = server.folder / "models" / "rerankers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.safetensors").write_text("not safetensors at all")
    graph = Graph()
    loaded = graph.add(
        "LoadReranker",
        clip_file="text.safetensors",
        architecture="ViT-B-32",
        positive="a",
        negative="b",
    )
    graph.add("TestEnd", any=loaded[0])
    run = server.run(graph.prompt)
    message = run.error["exception_message"]
    assert run.error["node_id"] == loaded.id
    assert "text.safetensors is not a ViT-B-32 CLIP" in message


def test_an_inversion_file_that_is_none(server):
    folder = server.folder / "output" / "inversions"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "other.safetensors").write_text("not safetensors at all")
    graph = Graph()
    loaded = graph.add("LoadInversion", file="other.safetensors")
    graph.add("TestEnd", any=loaded[0])
    run = server.run(graph.prompt)
    assert run.error["node_id"] == loaded.id
    assert "cannot be read" in run.error["exception_message"]


def test_a_file_outside_its_folder_is_refused(server):
    """By the newer host before anything runs; the older one leaves it to us."""
    (server.folder / "secret.safetensors").write_bytes(b"secret")
    graph = Graph()
    loaded = graph.add("LoadInversion", file="../../secret.safetensors")
    graph.add("TestEnd", any=loaded[0])
    run = server.run(graph.prompt)
    if run.error is None:
        assert "value_not_in_list" in str(run.node_errors)
    else:
        assert run.error["node_id"] == loaded.id
        assert run.error["exception_type"] == "FileNotFoundError"


def test_without_a_negative_at_cfg_1_it_works(server):
    """A model that has none, as Flux."""
    demo = Demo(Graph())
    bisector = demo.bisector(cfg=1.0, negative=None)
    demo.graph.add("TestTensor", any=bisector[0], name="frames")
    run = server.run(demo.graph.prompt)
    assert run.error is None
    assert len(server.tensor("frames")) == 5
