"""Example workflows of the embedded demo, which need no files."""

from __future__ import annotations

from comfy_host import Node

from .sheet import SCHEDULE, Sheet, between, learn, puppets, save


def embedded_demo(sheet: Sheet) -> None:
    demo, words = puppets(
        sheet,
        "# From one puppet to another\n\n"
        "Press **Run**: everything here comes with the pack and runs on a CPU in about a "
        "minute.\n\n"
        "1. *Textual Invert* learns a prompt for each of the two pictures.\n"
        "2. *Frame Bisector* makes the frame half-way, then the frames at the quarters, and so "
        "on. For each frame the reranker keeps the best of several candidates, and the poses "
        "keep limbs in one piece.\n\n"
        "The embedded model draws puppets alone. Puppet Demo's page (ⓘ) says how it takes puppets "
        "that you draw. For other pictures open the template *two_pictures*, which takes two "
        "pictures, your checkpoint and a prompt. The cfg of 2 and the learning rate of 0.25 here "
        "are for the embedded model.",
        390,
    )
    source = {"model": demo[0], "vae": demo[2], "keyframes": demo[5]}
    few = {"steps": 30, "draws": 4, "augmentations": 0}
    sheet.column("Learn the keyframes", below=True)
    learned = learn(sheet, words, source, learning_rate=0.25, cfg=2.0, **few)
    frames = between(
        sheet,
        learned,
        source,
        reranker=demo[4],
        control_net=demo[3],
        poses=demo[6],
        frames_per_gap="15",
        cfg=2.0,
    )
    save(sheet, frames, "puppets", 8.0)


def mixed(sheet: Sheet, demo: Node, candidates: int, below: bool = False) -> Node:
    """The demo's keyframes, mixed half-way."""
    sheet.column("Mix half-way", 300, below)
    latents = sheet.put("VAEEncode", pixels=demo[5], vae=demo[2])
    return sheet.put(
        "NoisyLatentLerp",
        model=demo[0],
        latents=latents[0],
        position=0.5,
        denoise=0.55,
        **SCHEDULE,
        blend="lerp",
        candidates=candidates,
        seed=0,
    )


def one_frame_from_parts(sheet: Sheet) -> None:
    demo, words = puppets(
        sheet,
        "# The frame half-way, step by step\n\n"
        "These nodes do what *Frame Bisector* does for each frame:\n\n"
        "1. *Noisy Latent Lerp* adds the same noise to both pictures and mixes them. It does so "
        "eight times, each time with other noise.\n"
        "2. *Conditioned Denoise* removes the noise, with the pose half-way.\n"
        "3. *CLIP Rerank* keeps the best of the eight candidates.\n\n"
        "Change *position* and *denoise*, and run the graph again.",
        310,
    )
    noisy = mixed(sheet, demo, 8, below=True)
    sheet.column("Take the noise off")
    sampler = sheet.put("KSamplerSelect", sampler_name="euler")
    clean = sheet.put(
        "ConditionedDenoise",
        model=demo[0],
        noisy_latent=noisy[0],
        sigmas=noisy[1],
        sampler=sampler[0],
        positive=words[0],
        negative=words[1],
        cfg=2.0,
        position=noisy[2],
        seed=0,
        control_net=demo[3],
        poses=demo[6],
        strength_at_keyframes=1.0,
        strength_half_way=1.5,
    )
    pictures = sheet.put("VAEDecode", samples=clean[0], vae=demo[2])
    sheet.column("All candidates", below=True)
    sheet.put("PreviewImage", title="The eight candidates", tall=340, images=pictures[0])
    sheet.column("The best of them")
    best = sheet.put("CLIPRerank", images=pictures[0], reranker=demo[4], keep=1)
    sheet.put("PreviewImage", title="The frame half-way", tall=320, images=best[0])
    sheet.put("PreviewAny", title="Scores", tall=220, source=best[2])


def _sampled(sheet: Sheet, model: list, held: Node, noisy: Node) -> Node:
    """The mixes, denoised by a sampler of ComfyUI's own."""
    sheet.column("ComfyUI's sampler", 300, below=True)
    noise = sheet.put("DisableNoise", collapsed=True)
    guider = sheet.put("CFGGuider", model=model, positive=held[0], negative=held[1], cfg=2.0)
    sampler = sheet.put("KSamplerSelect", sampler_name="euler")
    return sheet.put(
        "SamplerCustomAdvanced",
        noise=noise[0],
        guider=guider[0],
        sampler=sampler[0],
        sigmas=noisy[1],
        latent_image=noisy[0],
    )


def remix_with_host_nodes(sheet: Sheet) -> None:
    demo, words = puppets(
        sheet,
        "# The parts with ComfyUI's own nodes\n\n"
        "A noisy mix and its sigmas go through any sampler that adds no noise of its own "
        "(*DisableNoise*). Here two mixes half-way, one in the pose of either puppet: the two "
        "skeletons are a batch, matched with the two latents.\n\n"
        "*KSampler* then goes over them once more at denoise 0.3.",
        270,
    )
    sheet.column("Poses", 300, below=True)
    poses = sheet.put(
        "PoseExtract", room=220, images=demo[5], detector="puppets of the demo", people="largest"
    )
    held = sheet.put(
        "ControlNetApplyAdvanced",
        positive=words[0],
        negative=words[1],
        control_net=demo[3],
        image=poses[1],
        strength=1.5,
        start_percent=0.0,
        end_percent=1.0,
    )
    clean = _sampled(sheet, demo[0], held, mixed(sheet, demo, 2))
    sheet.column("Polish", 300)
    polished = sheet.put(
        "KSampler",
        model=demo[0],
        positive=held[0],
        negative=held[1],
        latent_image=clean[0],
        seed=0,
        steps=20,
        cfg=2.0,
        sampler_name="euler",
        scheduler="normal",
        denoise=0.3,
    )
    sheet.column("Pictures", 300, below=True)
    for latent, title in ((clean, "Mixed"), (polished, "Polished")):
        pictures = sheet.put("VAEDecode", collapsed=True, samples=latent[0], vae=demo[2])
        sheet.put("PreviewImage", title=title, tall=240, images=pictures[0])
