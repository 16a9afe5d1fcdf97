"""Example workflows of Stable Diffusion, which need a user's files."""

from __future__ import annotations

from comfy_host import Node

from .sheet import (
    FAULTS,
    LORA,
    NAMES,
    Sheet,
    Wires,
    between,
    keyframes,
    learn,
    save,
    two_prompts,
)

DRAWINGS = (
    "# Poses of drawings\n\n"
    "Detectors know only photographs. So each drawing is first made into a photograph with "
    "the same edges, and the pose is taken from the photograph. The frames are made from the "
    "drawings themselves.\n\n"
    "Look at the photographs: they need not be beautiful, but each must show a person in the "
    "pose of the drawing. If one does not, say in *The photographs* what it should show, or "
    "change the seed, *denoise* or the strength of the edges.\n\n"
    "You need a Stable Diffusion 1.5, a Canny and an OpenPose ControlNet for it, and ViTPose "
    "and RT-DETR in *models/pose_detection/* (*download* in *Pose Extract* fetches them)."
)


def _posed_path(
    sheet: Sheet, model: Node, pictures: list, words: list[list], room: int, wires: Wires
) -> None:
    """Learn the prompts `words` from two pictures, make the frames between them, and save these.

    Under Textual Invert in the last column there is `room` for its plot.
    """
    source = {"model": model[0], "vae": model[2], "keyframes": pictures}
    learned = learn(sheet, words, source, room, steps=200, cfg=7.5)
    values = {**wires, "frames_per_gap": "15", "cfg": 7.5}
    save(sheet, between(sheet, learned, source, 520, **values), "interpolation", 8.0, below=True)


def sd15_openpose(sheet: Sheet) -> None:
    sheet.column("Models", 280)
    model = sheet.put("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    control = sheet.put(
        "ControlNetLoader", control_net_name="control_v11p_sd15_openpose_fp16.safetensors"
    )
    reranker = sheet.put(
        "LoadReranker",
        clip_file="ViT-L-14-openai.safetensors",
        architecture="ViT-L-14-quickgelu",
        positive="a sharp photo of one person, high quality",
        negative="blurry, distorted, double exposure, extra limbs",
    )
    sheet.note(
        "# Files\n\n"
        "| in *models/* | what |\n|---|---|\n"
        "| *checkpoints/* | any Stable Diffusion 1.5 |\n"
        "| *controlnet/* | an OpenPose ControlNet for it |\n"
        "| *rerankers/* | a CLIP of open-clip as *.safetensors* |\n"
        "| *pose_detection/* | *vitpose* and *rtdetr*, which find people |\n\n"
        "Choose yours in the loaders above. *Load Reranker* needs the package open-clip and says "
        "how to install it. Turn on *download* in *Pose Extract* for its files, or take poses from "
        "DWPose or from an editor.\n\n"
        "No people in the pictures? Take away *Pose Extract* and the ControlNet.",
        360,
    )
    pictures = keyframes(sheet, 2, 512)
    sheet.column("Poses", 250)
    poses = sheet.put(
        "PoseExtract", room=220, images=pictures, detector="ViTPose", people="largest"
    )
    wires = {"reranker": reranker[0], "control_net": control[0], "poses": poses[0]}
    words = two_prompts(sheet, model[1], "a photo of a dancer", width=250, below=True)
    sheet.column("Learn the keyframes", 250)
    _posed_path(sheet, model, pictures, words, 220, wires)


def _photographs(sheet: Sheet, model: Node, edges: Node, pictures: list) -> Node:
    """Photographs with the edges of `pictures`."""
    sheet.column("Photographs of them", 260)
    photograph = sheet.prompt_of(model[1], "a photo of a person, full body", "The photographs")
    nothing = sheet.prompt_of(model[1], "drawing, painting, " + FAULTS, "What they are not")
    outlines = sheet.put(
        "Canny", collapsed=True, image=pictures, low_threshold=0.2, high_threshold=0.5
    )
    held = sheet.put(
        "ControlNetApplyAdvanced",
        positive=photograph,
        negative=nothing,
        control_net=edges[0],
        image=outlines[0],
        strength=0.8,
        start_percent=0.0,
        end_percent=0.8,
    )
    latents = sheet.put("VAEEncode", collapsed=True, pixels=pictures, vae=model[2])
    sampled = sheet.put(
        "KSampler",
        model=model[0],
        positive=held[0],
        negative=held[1],
        latent_image=latents[0],
        seed=0,
        steps=25,
        cfg=7.5,
        sampler_name="dpmpp_2m",
        scheduler="karras",
        denoise=0.85,
    )
    return sheet.put("VAEDecode", collapsed=True, samples=sampled[0], vae=model[2])


def stylised_poses(sheet: Sheet) -> None:
    sheet.column("Models", 280)
    model = sheet.put("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    edges, skeletons = (
        sheet.put("ControlNetLoader", title=f"For {what}", control_net_name=f"{file}.safetensors")
        for what, file in (
            ("edges", "control_v11p_sd15_canny_fp16"),
            ("skeletons", "control_v11p_sd15_openpose_fp16"),
        )
    )
    sheet.note(DRAWINGS, 290)
    words = two_prompts(sheet, model[1], "a drawing of a dancer", width=280, below=True)
    pictures = keyframes(sheet, 2, 512)
    photographs = _photographs(sheet, model, edges, pictures)
    sheet.column("Poses", 250)
    sheet.put("PreviewImage", title="The photographs", tall=170, images=photographs[0])
    poses = sheet.put(
        "PoseExtract",
        room=220,
        images=photographs[0],
        detector="ViTPose",
        people="largest",
        missing_joints="fill in",
    )
    wires = {"control_net": skeletons[0], "poses": poses[0]}
    sheet.column("Learn the keyframes", 250, below=True)
    _posed_path(sheet, model, pictures, words, 0, wires)


def sdxl(sheet: Sheet) -> None:
    sheet.column("Models", 320)
    model = sheet.put("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors")
    vision = sheet.put("CLIPVisionLoader", clip_name="clip_vision_g.safetensors")
    reranker = sheet.put(
        "RerankerFromCLIP",
        clip=model[1],
        clip_vision=vision[0],
        positive="high quality, detailed",
        negative="blurry, distorted, double exposure",
    )
    sheet.note(
        "# Files\n\n"
        "| in *models/* | what |\n|---|---|\n"
        "| *checkpoints/* | any Stable Diffusion XL |\n"
        "| *clip_vision/* | *clip_vision_g.safetensors* |\n\n"
        "CLIP-G's vision is the other half of one of SDXL's own text encoders, so the checkpoint "
        "and this file make a reranker. Without the file: take both nodes away, the frames are "
        "then not chosen among candidates.",
        300,
    )
    pictures = keyframes(sheet, 2, 1024)
    words = two_prompts(sheet, model[1], "a photo of a landscape")
    source = {"model": model[0], "vae": model[2], "keyframes": pictures}
    sheet.column("Learn the keyframes", 300, below=True)
    learned = learn(sheet, words, source, cfg=7.0)
    frames = between(sheet, learned, source, reranker=reranker[0], frames_per_gap="7", cfg=7.0)
    save(sheet, frames, "interpolation_xl", 6.0, below=True)


def two_pictures(sheet: Sheet) -> None:
    sheet.column("Model and pictures", 340)
    model = sheet.put("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    first, last = (
        sheet.put("LoadImage", title=f"{name.title()} picture", room=220, image=f"{name}.png")
        for name in ("first", "last")
    )
    words = two_prompts(sheet, model[1], "a photo")
    sheet.note(
        "# From one picture to another\n\n"
        "1. Choose your checkpoint and two pictures.\n"
        "2. Write what both pictures show.\n"
        "3. Press **Run**. The frames appear in *Frame Bisector* while they are made.\n\n"
        "*preset* takes the values that suit the checkpoint. Try *fast try* first. If frames look "
        "like double exposures, choose *custom* and raise *max_denoise*. If they leave the "
        "pictures, lower it.",
        300,
    )
    source = {"model": model[0], "vae": model[2], "first": first[0], "last": last[0]}
    frames = between(sheet, words, source, frames_per_gap="15", cfg=7.5)
    save(sheet, frames, "two_pictures", 8.0)


def one_subject(sheet: Sheet) -> None:
    sheet.column("Model", 300)
    model = sheet.put("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    sheet.note(
        "# Two pictures of one subject\n\n"
        "*Match Keyframes* finds the same things in both pictures, so that they move and do not "
        "fade. Look at its arrows: they should lead from each thing to the same thing. Points of "
        "your own go in *anchors*.\n\n"
        "*Keyframe LoRA* learns what each picture looks like. It takes a minute or two, once for "
        "two pictures. Without it (take *model* from *Load Checkpoint*) frames are less like the "
        "pictures.\n\n"
        "You need a checkpoint in *models/checkpoints/* and two pictures that are alike: a face "
        "that turns, a product in two colours, two drawings of one figure.",
        330,
    )
    words = two_prompts(sheet, model[1], "a photo of a cat", width=300, below=True)
    pictures = keyframes(sheet, 2, 512)
    source = {"vae": model[2], "keyframes": pictures}
    sheet.column("What is where, and what it looks like", 330)
    wires = {"model": model[0], "positive": words[0]}
    matched = sheet.put("MatchKeyframes", room=220, **source, **wires)
    learned = sheet.put("KeyframeLora", room=200, **source, **wires, **LORA)
    values = {"frames_per_gap": "15", "cfg": 7.5, "correspondence": matched[0]}
    frames = between(sheet, words, {**source, "model": learned[0]}, 530, **values)
    save(sheet, frames, "one_subject", 8.0, below=True)


def four_keyframes(sheet: Sheet) -> None:
    sheet.column("Model", 290)
    model = sheet.put("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors")
    sheet.note(
        "# A path through four pictures\n\n"
        "The keyframes are one batch, and their prompts are one conditioning with a row for each "
        "keyframe. *Batch Images* and *Keyframe Conditioning* add one more at the end. Four "
        "keyframes with 7 frames in each gap make 25 frames.\n\n"
        "You need a Stable Diffusion 1.5 in *models/checkpoints/* and four pictures.\n\n"
        "If the frames should look more like the pictures, put *Textual Invert* between the "
        "prompts and *Frame Bisector*.",
        300,
    )
    pictures = keyframes(sheet, 4, 512, 240)
    sheet.column("A prompt for each", 280)
    prompts = [
        sheet.prompt_of(model[1], f"a photo of a tree in {season}", f"{name.title()} keyframe")
        for name, season in zip(NAMES, ["spring", "summer", "autumn", "winter"], strict=True)
    ]
    negative = sheet.prompt_of(model[1], FAULTS, "What they should not look like")
    sheet.column("In a row", 280, below=True)
    row = prompts[0]
    for prompt in prompts[1:]:
        row = sheet.put("KeyframeConditioning", collapsed=True, first=row, second=prompt)[0]
    source = {"model": model[0], "vae": model[2], "keyframes": pictures}
    frames = between(sheet, [row, negative], source, 530, frames_per_gap="7", cfg=7.5)
    save(sheet, frames, "four_keyframes", 8.0, below=True)
