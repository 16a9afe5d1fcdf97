"""ConditionedDenoise under noise masks and on sigmas of any length, beside the host's samplers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from comfy_host import Graph, Node
from demo_graphs import BISECTOR, Demo, tensors


class Noisy:
    """A noisy latent of two candidates of a tiny model, and both ways to denoise it."""

    def __init__(self, kind: str) -> None:
        self.graph = graph = Graph()
        self.model, clip, self.vae = (
            graph.add("TestCheckpoint", kind=kind, seed=0)[i] for i in range(3)
        )
        self.positive, self.negative = (
            graph.add("CLIPTextEncode", clip=clip, text=text)[0] for text in ("a puppet", "a dog")
        )
        ends = [
            graph.add("EmptyImage", width=64, height=64, batch_size=1, color=color)[0]
            for color in (0xFF4000, 0x2060FF)
        ]
        self.pictures = graph.add("ImageBatch", image1=ends[0], image2=ends[1])[0]
        self.latents = graph.add("VAEEncode", pixels=self.pictures, vae=self.vae)[0]
        self.sampler = graph.add("KSamplerSelect", sampler_name="euler")[0]
        self.node = self.lerp(self.latents)
        self.latent, self.sigmas = self.node[0], self.node[1]

    def lerp(self, latents: list) -> Node:
        options = {key: BISECTOR[key] for key in ("scheduler", "steps", "blend", "seed")}
        return self.graph.add(
            "NoisyLatentLerp",
            model=self.model,
            latents=latents,
            position=0.5,
            denoise=0.55,
            candidates=2,
            **options,
        )

    def ours(self, latent: list, sigmas: list) -> list:
        return self.graph.add(
            "ConditionedDenoise",
            noisy_latent=latent,
            sigmas=sigmas,
            sampler=self.sampler,
            position=0.5,
            seed=0,
            **self._guidance(),
        )[0]

    def theirs(self, latent: list, sigmas: list) -> list:
        guider = self.graph.add("CFGGuider", **self._guidance())
        return self.graph.add(
            "SamplerCustomAdvanced",
            noise=self.graph.add("DisableNoise")[0],
            guider=guider[0],
            sampler=self.sampler,
            sigmas=sigmas,
            latent_image=latent,
        )[0]

    def _guidance(self) -> dict[str, Any]:
        prompts = {"positive": self.positive, "negative": self.negative}
        return {"model": self.model, "cfg": 3.0, **prompts}

    def mask(self, rows: int) -> list:
        """Of `rows` rows, each with the left part of another width, in pixels."""
        masks = None
        for row in range(rows):
            left = self.graph.add("SolidMask", value=1.0, width=16 * (row + 1), height=64)[0]
            whole = self.graph.add("SolidMask", value=0.0, width=64, height=64)[0]
            mask = self.graph.add(
                "MaskComposite", destination=whole, source=left, x=0, y=0, operation="add"
            )[0]
            image = self.graph.add("MaskToImage", mask=mask)[0]
            masks = image if masks is None else self._both(masks, image)
        return self.graph.add("ImageToMask", image=masks, channel="red")[0]

    def _both(self, one: list, other: list) -> list:
        return self.graph.add("ImageBatch", image1=one, image2=other)[0]


@pytest.mark.parametrize("kind", ["sd15", "flux"])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_noise_mask_keeps_what_it_does_not_cover(server, kind, rows):
    noisy = Noisy(kind)
    masked = noisy.graph.add("SetLatentNoiseMask", samples=noisy.latent, mask=noisy.mask(rows))[0]
    given = tensors(
        server,
        noisy.graph,
        before=noisy.latent,
        plain=noisy.ours(noisy.latent, noisy.sigmas),
        ours=noisy.ours(masked, noisy.sigmas),
        theirs=noisy.theirs(masked, noisy.sigmas),
    )
    ours, size = given["ours"], given["before"].abs().max()
    assert (ours - given["theirs"]).abs().max() < 1e-3 * size
    assert (ours - given["before"])[..., 5:].abs().max() < 1e-4 * size
    changed = (ours - given["before"]).abs().amax((1, 2)) > 1e-3 * size
    widths = [2, 4 if rows > 1 else 2]
    assert [row[: width - 1].all().item() for row, width in zip(changed, widths, strict=True)] == [
        True,
        True,
    ]
    # the rows are those of the candidates, each its own
    assert changed[0, 3].item() is False and changed[1, 3].item() is (rows > 1)
    assert (given["plain"] - given["before"])[..., 5:].abs().max() > 0.1


def test_a_mask_of_keyframes_is_refused(server):
    noisy = Noisy("sd15")
    masked = noisy.graph.add("SetLatentNoiseMask", samples=noisy.latents, mask=noisy.mask(1))[0]
    mixed = noisy.lerp(masked)
    noisy.graph.add("TestEnd", any=mixed[0])
    run = server.run(noisy.graph.prompt)
    assert run.error["node_id"] == mixed.id
    assert run.error["exception_message"].startswith("latents: got a noise mask")


@pytest.mark.parametrize("kind", ["sd15", "flux"])
def test_sigmas_without_a_step_give_the_latent_back(server, kind):
    noisy = Noisy(kind)
    none = noisy.graph.add(
        "BasicScheduler", model=noisy.model, scheduler="simple", steps=10, denoise=0.0
    )
    one = noisy.graph.add("SplitSigmas", sigmas=noisy.sigmas, step=0)
    zeros = noisy.graph.add("TestSigmas", numbers="0, 0")
    given = tensors(
        server,
        noisy.graph,
        before=noisy.latent,
        sigmas=none[0],
        after=noisy.ours(noisy.latent, none[0]),
        theirs=noisy.theirs(noisy.latent, none[0]),
        also=noisy.ours(noisy.latent, one[0]),
        still=noisy.ours(noisy.latent, zeros[0]),
    )
    assert len(given["sigmas"]) == 0
    for name in ("after", "theirs", "also", "still"):
        assert torch.equal(given[name], given["before"])


@pytest.mark.parametrize(
    ("what", "want"), [("empty", "got an empty batch"), ("parts", "got a latent of several parts")]
)
def test_latents_that_are_no_pictures_are_refused(server, what, want):
    if what == "parts" and not (server.host / "comfy" / "nested_tensor.py").is_file():
        pytest.skip("this host has no latents of several parts")
    noisy = Noisy("sd15")
    odd = noisy.graph.add("TestOddLatent", what=what)[0]
    for latent in (noisy.lerp(odd)[0], noisy.ours(odd, noisy.sigmas)):
        end = noisy.graph.add("TestEnd", any=latent)
        assert want in server.run(noisy.graph.prompt).error["exception_message"]
        del noisy.graph.prompt[end.id]


@pytest.mark.parametrize("kind", ["sd3", "flux"])
@pytest.mark.parametrize("scheduler", ["BasicScheduler", "KarrasScheduler"])
def test_sigmas_that_keep_nothing_of_the_latent_are_refused(server, kind, scheduler):
    """A flow model's whole schedule begins at 1; other schedulers may go far above."""
    noisy = Noisy(kind)
    options = {
        "BasicScheduler": {"model": noisy.model, "scheduler": "simple", "denoise": 1.0},
        "KarrasScheduler": {"sigma_max": 14.6, "sigma_min": 0.03, "rho": 7.0},
    }[scheduler]
    sigmas = noisy.graph.add(scheduler, steps=4, **options)
    noisy.graph.add("TestEnd", any=noisy.ours(noisy.latent, sigmas[0]))
    message = server.run(noisy.graph.prompt).error["exception_message"]
    assert message.startswith("sigmas: got 1") and "keeps nothing of noisy_latent" in message


@pytest.mark.parametrize("kind", ["sd15", "flux"])
def test_a_split_schedule_is_gone_through_in_two(server, kind):
    """What the first part leaves is as noisy as the host's samplers leave it."""
    noisy = Noisy(kind)
    parts = noisy.graph.add("SplitSigmas", sigmas=noisy.sigmas, step=2)
    half = noisy.ours(noisy.latent, parts[0])
    given = tensors(
        server,
        noisy.graph,
        half=half,
        theirs=noisy.theirs(noisy.latent, parts[0]),
        whole=noisy.ours(noisy.latent, noisy.sigmas),
        both=noisy.ours(half, parts[1]),
    )
    for one, other in (("half", "theirs"), ("whole", "both")):
        assert (given[one] - given[other]).abs().max() < 1e-3 * given[other].abs().max()


def test_the_demo_keeps_the_mask_for_nodes_behind(server):
    demo = Demo(Graph())
    latents = demo.graph.add("VAEEncode", pixels=demo.keyframes, vae=demo.vae)
    noisy = demo.lerp(latents[0])
    mask = demo.graph.add("SolidMask", value=0.0, width=64, height=64)
    masked = demo.graph.add("SetLatentNoiseMask", samples=noisy[0], mask=mask[0])
    clean = demo.denoise(noisy, noisy_latent=masked[0])
    again = demo.denoise(noisy, noisy_latent=clean[0])
    given = tensors(server, demo.graph, before=noisy[0], clean=clean[0], again=again[0])
    for name in ("clean", "again"):
        assert (given[name] - given["before"]).abs().max() < 1e-4
