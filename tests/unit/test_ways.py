"""The peers' algorithms: their parts against their formulas, and whole paths on both models."""

from __future__ import annotations

import pytest
import torch
from analytic import GaussianModel
from support.puppets import held_out
from torch.nn import functional as F
from ways import Bench, Way
from ways.attention import attentions, averaged, fused, hooked, outer, straight
from ways.borrowed import AdaptedModel, AttendingModel, PlacedPath
from ways.diffmorpher import LEARNING, adapted, learned, of_ends
from ways.inversion import Ladder
from ways.peers import denoiser, quantiles, with_noise

from diffusion_interpolation.demo import load_named
from diffusion_interpolation.models.contract import Guidance, Schedule
from diffusion_interpolation.models.lora import KeyframeLora
from diffusion_interpolation.models.prompts import PromptEmbeddings

pytestmark = pytest.mark.part("benchmarks")


@pytest.fixture(scope="module", params=["demo", "demo-flow"])
def model(request):
    return load_named(request.param, steps=4)


def attended(model, mix, frames, **more):
    """The noise that a model predicts in two paths of frames under a mix of contexts."""
    noisy = torch.randn(2 * frames, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    ladder, text = Ladder.of(model), model.encode_text(["a puppet"])
    with hooked(denoiser(model), mix, frames, **more):
        return ladder.noise(noisy, 2, text)


@torch.no_grad()
def test_frames_attend_to_what_they_are_told(model):
    count = 3
    weights = torch.tensor([[0.0, 0.4, 1.0]]).expand(2, -1)
    text, ladder = model.encode_text(["a puppet"]), Ladder.of(model)
    noisy = torch.randn(2 * count, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    plain = ladder.noise(noisy, 2, text)
    own = attended(model, lambda own: [(torch.ones(own.shape[:2]), own)], count)
    assert torch.allclose(own, plain, atol=1e-4), "attention to oneself is plain attention"
    doubled = attended(model, lambda own: [(torch.ones(2, 3), torch.cat([own, own], 2))], count)
    assert torch.allclose(doubled, plain, atol=1e-4), "keys that are there twice change nothing"
    ends = [0, 2, 3, 5]
    for mix in (fused, outer, straight):
        made = attended(model, mix(weights), count)
        assert torch.allclose(made[ends], plain[ends], atol=1e-4), "ends attend to themselves"
        assert (made - plain)[[1, 4]].abs().amax((1, 2, 3)).min() > 1e-3
    # the frame of the second path does not see the first path
    alone = noisy.clone()
    alone[:3] = 0
    with hooked(denoiser(model), fused(weights), count):
        assert torch.allclose(
            ladder.noise(alone, 2, text)[3:], attended(model, fused(weights), count)[3:], atol=1e-4
        )
    assert torch.equal(ladder.noise(noisy, 2, text), plain), "the hooks are gone"


@torch.no_grad()
def test_outer_attention_is_the_formula():
    """`(1 - w) A(Q, [K, K_0], [V, V_0]) + w A(Q, [K, K_1], [V, V_1])`, in one layer of the UNet."""
    network = denoiser(load_named("demo", steps=2))
    name, layer = next((n, a) for n, a in attentions(network).items() if n.endswith(".attn1"))
    states = torch.randn(3, 10, layer.to_q.in_features, generator=torch.Generator().manual_seed(1))
    weights = torch.tensor([[0.0, 0.3, 1.0]])

    def attention(query: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            part(rows).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            for part, rows in ((layer.to_q, query), (layer.to_k, context), (layer.to_v, context))
        )
        return layer.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    first, last = (states[[end]].expand_as(states) for end in (0, 2))
    like = weights[0][:, None, None]
    for mix, seen in (
        (fused, lambda end: torch.cat([states, end], 1)),
        (outer, lambda end: end),
    ):
        wanted = (1 - like) * attention(states, seen(first)) + like * attention(states, seen(last))
        with hooked(network, mix(weights), 3, name):
            assert torch.allclose(layer(states), wanted, atol=1e-5)
    with hooked(network, averaged, 3, name, average=True):
        wanted = attention(states, states).mean(0, keepdim=True).expand_as(states)
        assert torch.allclose(layer(states), wanted, atol=1e-5)
    nowhere = hooked(network, fused(weights), 3, "nowhere")
    with pytest.raises(ValueError, match="network: has no self-attention in 'nowhere'"), nowhere:
        pass


@torch.no_grad()
def test_inversion_leads_back(model):
    ladder, text = Ladder.of(model), model.encode_text(["a puppet"])

    def predict(latents, step):
        return ladder.noise(latents, step, text)

    latents = model.encode(torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)))
    off = {}
    for repeats in (1, 5):
        noisy = ladder.invert(latents, predict, ladder.top, repeats)
        off[repeats] = (ladder.denoise(noisy, predict, ladder.top) - latents).square().mean()
    assert off[5] < off[1] < latents.square().mean() / 2
    # a step of the ladder is a step of the model's own sampler
    points = tuple(model.schedule(step / ladder.steps).points[0] for step in (3, 2))
    own = model.sample(noisy, Schedule(points), Guidance(text, text, 1.0)).latents
    assert torch.allclose(ladder.move(noisy, predict(noisy, 3), 3, 2), own, atol=1e-3)


def test_a_ladder_of_the_contract_alone():
    """The model of the other tests has no networks of diffusers."""
    model = GaussianModel()
    ladder = Ladder.of(model)
    assert ladder.scales[0] == (1.0, 0.0)
    assert [scale for scale in ladder.scales[1:]] == [
        model.scales(model.schedule(step / ladder.steps)) for step in range(1, ladder.steps + 1)
    ]


def test_noise_is_given_to_the_middle_frames_alone():
    latents = torch.randn(2 * 5, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    given = with_noise(latents, 5, seed=3)
    changed = (given - latents).abs().amax((1, 2, 3)) > 1e-3
    assert changed.tolist() == [False, True, True, True, False] * 2
    spectrum, before = torch.fft.fft2(given), torch.fft.fft2(latents)
    assert torch.allclose(spectrum[2, :, 0, :7], before[2, :, 0, :7], atol=1e-3)
    assert not torch.allclose(spectrum[2, :, 8], before[2, :, 8], atol=1e-1)


def test_quantiles_of_beta_stay_near_the_middle():
    found = quantiles(17)
    assert found[0] == 0 and found[-1] == 1 and found[8] == pytest.approx(0.5)
    assert found[4] == pytest.approx(0.447, abs=0.002)


def test_adapted_latents_have_the_mixed_statistics_of_the_ends():
    drawn = torch.Generator().manual_seed(0)
    ends = torch.randn(2, 4, 8, 8, generator=drawn) * 3 + 1
    latents = torch.randn(3, 4, 8, 8, generator=drawn)
    made = adapted(latents, ends, torch.tensor([[0.0, 0.25, 1.0]]))
    wanted = 0.75 * ends[0].mean((1, 2)) + 0.25 * ends[1].mean((1, 2))
    assert torch.allclose(made[1].mean((1, 2)), wanted, atol=1e-5)
    assert torch.allclose(made[2].std((1, 2)), ends[1].std((1, 2)), atol=1e-5)


def test_each_picture_learns_a_lora_of_its_own():
    bench, pairs = Bench(3, 0, "cpu"), held_out(4, 0)
    way = Way("DiffMorpher", steps=4, cfg=1.0, posed=False, options={"lora_steps": 8})
    task = bench._task(way, pairs)
    ladder, network = Ladder.of(task.model), denoiser(task.model)
    latents = task.model.encode(task.pictures)
    lora, text = learned(task, latents, LEARNING), task.guide.positive
    plain = ladder.noise(latents, 2, text)
    with lora.on(network, torch.eye(4)):
        together = ladder.noise(latents, 2, text)
    with lora.on(network, torch.eye(4)[[2]]):
        alone = ladder.noise(latents[[2]], 2, text)
    assert torch.allclose(alone[0], together[2], atol=1e-4)
    assert (together - plain).abs().flatten(1).amax(1).min() > 1e-4
    weights = of_ends(torch.tensor([[0.0, 0.25], [1.0, 0.5]]))
    assert weights.tolist() == [[1, 0, 0, 0], [0.75, 0.25, 0, 0], [0, 0, 0, 1], [0, 0, 0.5, 0.5]]


@torch.no_grad()
def test_frames_that_attend_to_keyframes_see_no_other_frames(model):
    """Nor does it matter in which batch they are."""

    drawn = torch.Generator().manual_seed(0)
    keyframes, noisy = torch.randn(2, 2, 4, 16, 16, generator=drawn)
    text, schedule = model.encode_text(["a puppet"]), model.schedule(0.5)
    guidance = Guidance(text, text, 2.0, seeds=[3, 40], positions=[0.25, 0.5])
    attending = AttendingModel(model, keyframes)
    both = attending.sample(noisy, schedule, guidance)
    one = AttendingModel(model, keyframes).sample(noisy[1:], schedule, guidance.rows([1]))
    assert torch.allclose(one.latents, both.latents[1:], atol=1e-4)
    plain = model.sample(noisy, schedule, guidance)
    assert not torch.allclose(both.latents, plain.latents, atol=1e-2)


@torch.no_grad()
def test_a_frame_has_the_mix_of_its_keyframes_loras_in_any_batch(model):
    drawn = torch.Generator().manual_seed(0)
    noisy, schedule = torch.randn(3, 4, 16, 16, generator=drawn), model.schedule(0.5)
    fresh = KeyframeLora.fresh(denoiser(model), 2, 16, drawn)
    ups = (torch.randn(up.shape, generator=drawn) / 4 for _, up in fresh.layers.values())
    lora = KeyframeLora({name: (down, next(ups)) for name, (down, _) in fresh.layers.items()})
    text = model.encode_text(["a puppet"])
    guidance = Guidance(text, text, 2.0, seeds=[1, 2, 3], positions=[0.0, 0.25, 1.0])
    adapted_model = AdaptedModel(model, lora)
    made = adapted_model.sample(noisy, schedule, guidance).latents
    for row in range(3):
        alone = adapted_model.sample(noisy[[row]], schedule, guidance.rows([row])).latents
        assert torch.allclose(made[[row]], alone, atol=1e-4)
    for row, keyframe in ((0, 0), (2, 1)):
        with lora.on(denoiser(model), torch.eye(2)[[keyframe]]):
            alone = model.sample(noisy[[row]], schedule, guidance.rows([row])).latents
        assert torch.allclose(made[[row]], alone, atol=1e-4)
    assert not torch.allclose(made, model.sample(noisy, schedule, guidance).latents, atol=1e-2)


def test_frames_at_places_of_their_own_have_weights_of_their_own():
    path = PlacedPath((3,), (0.0, 0.1, 0.4, 0.8, 1.0))
    placed = {slot.index: slot for slots in path.slots() for slot in slots}
    assert path.position(3) == 0.8 and placed[3].position == 0.8
    weights = {index: slot.weight for index, slot in placed.items()}
    assert weights == pytest.approx({2: 0.4, 1: 0.25, 3: 2 / 3})


@pytest.mark.parametrize(
    "name",
    [
        "AID",
        "FreeMorph",
        "DiffMorpher",
        "attention to keyframes",
        "moved, LoRA",
        "moved, even speed",
    ],
)
def test_peers_make_paths_of_both_models(model, name, request):
    kind = request.node.callspec.params["model"]
    bench, pairs = Bench(4, 0, "cpu", kind, side=64), held_out(2, 0)
    way = Way(name, steps=4, cfg=1.5, posed=False, options={"lora_steps": 1})
    made = bench.made(way, pairs)
    assert made.frames.shape == (1, 4, 3, 128, 128) and made.frames.isfinite().all()
    again = bench.made(way, pairs)
    assert torch.equal(made.frames, again.frames)
    steps = (made.frames[:, 1:] - made.frames[:, :-1]).abs().mean((2, 3, 4))
    assert steps.min() > 1e-3
    assert made.evaluations > 2
    assert isinstance(bench._guide(way, pairs, made.frames[0]).positive, PromptEmbeddings)
