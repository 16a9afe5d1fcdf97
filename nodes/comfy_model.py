"""The method's latent diffusion model over ComfyUI's MODEL, VAE and CONTROL_NET.

The one place that knows the host's internals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import comfy.model_management as memory
import comfy.samplers
import torch
from torch import Tensor, nn

from ..diffusion_interpolation.finite import check_vae
from ..diffusion_interpolation.memory import Batches
from ..diffusion_interpolation.model import Begun, Guidance, Text, steps_to_begin
from .comfy_conditioning import Places
from .comfy_noise import row_wise
from .images import OTHER_VAE

Conditioning = list[list[Any]]
OnStep = Callable[[int, Tensor], None]
"""Called after every step of a sampler with the number of latents and their denoised state."""

MOST_ROWS = 32


class ComfyModel:
    """A `LatentDiffusionModel` of what ComfyUI has loaded.

    `positive` and `negative` are what a CONDITIONING holds beside its token and pooled states; they
    go with every text. `sigmas` `(steps + 1,)` are the sampler's whole schedule, falling to 0, and
    levels go through the host's `model_sampling`. Latents are in the scale that the network sees
    (`to_network`), float32. `rows` is the most latents denoised at once, 0: as many as fit in
    memory. Raises `ValueError` for parts that do not fit together.
    """

    def __init__(
        self,
        model: Any,
        sigmas: Tensor,
        sampler: Any,
        *,
        vae: Any = None,
        control_net: Any = None,
        positive: dict[str, Any] | None = None,
        negative: dict[str, Any] | None = None,
        rows: int = 0,
        on_step: OnStep | None = None,
    ) -> None:
        _check_latents(model)
        if control_net is not None:
            check_control_net(control_net, model)
        self._model, self._vae, self._control_net = model, vae, control_net
        if vae is None and self._needs_vae_hint():
            raise ValueError("vae: got none, but this control_net works on latents, want one")
        self._sampler, self.on_step = sampler, on_step
        self._sampling = model.get_model_object("model_sampling")
        self._sigmas = self._invertible(sigmas.cpu().float())
        self._rest = positive or {}, negative or {}
        self._batches: Batches | None = Batches(rows, memory.soft_empty_cache) if rows else None

    @property
    def device(self) -> torch.device:
        """Latents wait where the host keeps its results."""
        return memory.intermediate_device()

    @property
    def batch_size(self) -> int:
        return MOST_ROWS if self._batches is None else self._batches.size

    @property
    def hint_scale(self) -> int:
        """Pixels of a hint a latent: the ControlNet's own, or its VAE's."""
        scale = getattr(self._control_net, "compression_ratio", 8)
        if self._needs_vae_hint():
            scale *= self._vae.spacial_compression_encode()
        return scale

    def _needs_vae_hint(self) -> bool:
        return getattr(self._control_net, "latent_format", None) is not None

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures `(n, 3, h, w)` in 0..1, by the host's VAE.

        Raises `FloatingPointError` where the VAE makes NaN or infinity.
        """
        with torch.inference_mode():
            latents = self._vae.encode(pictures.movedim(1, -1))
            check_vae("encoded", pictures, latents, OTHER_VAE)
            return to_network(self._model, latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures `(n, 3, h, w)` in 0..1 of latents `(n, c, h', w')`, by the host's VAE.

        Raises `FloatingPointError` where the VAE makes NaN or infinity.
        """
        with torch.inference_mode():
            pictures = self._vae.decode(from_network(self._model, latents))
            check_vae("decoded", latents, pictures, OTHER_VAE)
            return pictures.movedim(-1, 1).float()

    def _invertible(self, sigmas: Tensor) -> Tensor:
        """Without the noisiest end of a flow model's schedule, which keeps nothing of a latent."""
        kept = [sigma for sigma in sigmas if self._scales(sigma)[0] > 0]
        if len(kept) < 2:
            raise ValueError(f"sigmas: got {sigmas.tolist()}, want a schedule that falls to 0")
        return torch.stack(kept)

    def sigmas(self, level: float) -> Tensor:
        """The rest of the schedule from `level` on, `(steps + 1,)`, falling to 0.

        It begins at the last sigma not above the one of `level`, or at the lowest above 0.
        """
        if not 0 < level <= 1:
            raise ValueError(f"noise level: got {level}, want more than 0, and 1 at most")
        highest = float(self._sampling.percent_to_sigma(1.0 - level))
        # a level that went through float32 stays where it was
        above = self._sigmas > highest * (1 + 1e-5)
        return self._sigmas[min(int(above.sum()), len(self._sigmas) - 2) :]

    def scales(self, level: float) -> tuple[float, float]:
        """`(a, s)` such that `a * latent + s * noise` is a latent at `level`."""
        return self._scales(self.sigmas(level)[0])

    def _scales(self, sigma: Tensor) -> tuple[float, float]:
        one, none = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
        mix = self._sampling.noise_scaling
        return mix(sigma, none, one).item(), mix(sigma, one, none).item()

    def denoise(self, noisy: Tensor, level: float, guidance: Guidance) -> Tensor:
        """Clean latents from `(n, c, h', w')` at `level`, by the host's sampler."""
        return self.denoise_from(noisy, self.sigmas(level), guidance)

    def denoise_from(
        self, noisy: Tensor, sigmas: Tensor, guidance: Guidance, mask: Tensor | None = None
    ) -> Tensor:
        """As `denoise`, from `sigmas[0]` on along `sigmas` `(steps + 1,)`.

        Where the `mask` `(rows, h, w)` of any size is 0, latents stay as they are; its rows are
        repeated, as the host repeats those of a `noise_mask`.
        """
        if mask is not None:
            # one channel, as the host will repeat it once more
            mask = comfy.sampler_helpers.prepare_mask(mask, noisy.shape, noisy.device)[:, :1]
        return self._run(noisy, sigmas, guidance, mask).latents

    def steps(self, level: float) -> int:
        """How many steps `denoise` takes from `level`."""
        return len(self.sigmas(level)) - 1

    def begin(self, noisy: Tensor, level: float, guidance: Guidance, share: float) -> Begun:
        """As `denoise`, but only the first `share` of the steps (`steps_to_begin`)."""
        first = steps_to_begin(self.steps(level), share)
        return self._run(noisy, self.sigmas(level)[: first + 1], guidance)

    def finish(self, begun: Tensor, level: float, guidance: Guidance, share: float) -> Tensor:
        """Clean latents from what `begin` left at the same `level` and `share`.

        A sampler that remembers steps begins anew here, and one that adds noise draws other noise.
        """
        first = steps_to_begin(self.steps(level), share)
        if guidance.seeds is not None:
            guidance = replace(guidance, seeds=[(seed + 1) % 2**64 for seed in guidance.seeds])
        return self._run(begun, self.sigmas(level)[first:], guidance).latents

    def _run(
        self, noisy: Tensor, sigmas: Tensor, guidance: Guidance, mask: Tensor | None = None
    ) -> Begun:
        """`noisy` taken along `sigmas` `(steps + 1,)`, in batches that fit.

        A ControlNet of the host has one strength, so rows of different strength go separately.
        """
        if self._batches is None:
            self._batches = Batches(self._rows_that_fit(noisy), memory.soft_empty_cache)
        both = torch.stack([noisy, noisy], dim=1)
        for rows in guidance.by_strength(len(noisy)).values():

            def work(part: list[int], rows: list[int] = rows) -> Tensor:
                index = [rows[i] for i in part]
                masked = None if mask is None else mask[index]
                found = self._sample(noisy[index], sigmas, guidance.rows(index), masked)
                return torch.stack(found, dim=1)

            both[rows] = self._batches.run(work, len(rows)).to(both)
        return Begun(*both.unbind(1))

    def _sample(
        self, noisy: Tensor, sigmas: Tensor, guidance: Guidance, mask: Tensor | None
    ) -> Begun:
        if len(sigmas) < 2:
            return Begun(noisy, noisy)
        clean = []

        def stepped(step: int, denoised: Tensor, x: Tensor, steps: int) -> None:
            clean[:] = [denoised]
            self._stepped(denoised)

        start = carry_noisy(self._model, noisy, sigmas[0])
        guider = comfy.samplers.CFGGuider(self._model)
        guider.set_conds(*self._conditionings(guidance))
        guider.set_cfg(guidance.cfg)
        sampled = guider.sample(
            torch.zeros_like(start),  # the noise is in there already
            start,
            row_wise(self._sampler, guidance.seeds, start.to(self._model.load_device), sigmas),
            sigmas,
            denoise_mask=mask,
            callback=stepped,
            disable_pbar=True,
            seed=guidance.seeds[0] if guidance.seeds else 0,
        )
        latents = take_noisy(self._model, sampled.to(noisy), sigmas[-1])
        # the samplers of other packs may tell nothing of their steps
        return Begun(latents, clean[0].to(noisy) if clean else latents)

    def _stepped(self, denoised: Tensor) -> None:
        memory.throw_exception_if_processing_interrupted()
        if self.on_step:
            self.on_step(len(denoised), denoised)

    def _conditionings(self, guidance: Guidance) -> list[Conditioning]:
        """Positive and negative; a pose's ControlNet is one object in both, so they batch."""
        with_pose: dict[int, Any] = {}
        result = []
        places = Places(guidance.positions or [])
        rests = [places.rest(rest) for rest in self._rest]
        shared = rests[0] if rests[0].get("control_apply_to_uncond") else {}
        for text, rest in zip((guidance.positive, guidance.negative), rests, strict=True):
            if guidance.hint is not None:
                earlier = rest.get("control", shared.get("control"))
                if id(earlier) not in with_pose:
                    with_pose[id(earlier)] = self._pose_control(guidance, earlier)
                rest["control"] = with_pose[id(earlier)]
                rest["control_apply_to_uncond"] = False
            result.append(write_conditioning(text, rest))
        return result

    def _pose_control(self, guidance: Guidance, earlier: Any) -> Any:
        # all rows have the same
        [strength] = guidance.by_strength(len(guidance.hint))
        control = self._control_net.copy()
        vae = self._vae if self._needs_vae_hint() else None
        control.set_cond_hint(guidance.hint, strength, (0.0, 1.0), vae=vae)
        control.set_previous_controlnet(earlier)
        return control

    def _rows_that_fit(self, latents: Tensor) -> int:
        """How many latents the free memory holds beside the networks, both halves of guidance."""
        needed = _needed(self._model, latents.shape)
        networks = [self._model]
        if hasattr(self._control_net, "get_models"):
            networks += self._control_net.get_models()
        memory.load_models_gpu(
            networks, memory_required=MOST_ROWS * needed, minimum_memory_required=needed
        )
        free = memory.get_free_memory(self._model.load_device)
        return max(1, min(MOST_ROWS, int(free / needed)))


def _needed(patcher: Any, latent_shape: Sequence[int]) -> float:
    """Bytes that one latent needs in the sampler, both halves of guidance."""
    return patcher.model.memory_required([2, *latent_shape[1:]])


def to_network(model: Any, latents: Tensor) -> Tensor:
    """Latents as wires carry them, in the scale that the network sees."""
    # `model.model` has what a node has put over it only while it is loaded
    return model.get_model_object("latent_format").process_in(latents.float())


def from_network(model: Any, latents: Tensor) -> Tensor:
    """The way back of `to_network`."""
    return model.get_model_object("latent_format").process_out(latents)


def carry_noisy(model: Any, noisy: Tensor, sigma: Tensor) -> Tensor:
    """A noisy latent of the network's scale as wires carry it, for the host's samplers to go on."""
    sampling = model.get_model_object("model_sampling")
    return from_network(model, sampling.inverse_noise_scaling(sigma, noisy))


def take_noisy(model: Any, carried: Tensor, sigma: Tensor) -> Tensor:
    """The way back of `carry_noisy`."""
    sampling = model.get_model_object("model_sampling")
    latents = to_network(model, carried)
    return sampling.noise_scaling(sigma, torch.zeros_like(latents), latents)


def whole_schedule(model: Any, scheduler: str, steps: int) -> Tensor:
    """The host's sigmas `(steps + 1,)` of a scheduler, falling to 0."""
    sampling = model.get_model_object("model_sampling")
    return comfy.samplers.calculate_sigmas(sampling, scheduler, steps)


def read_conditioning(name: str, conditioning: Conditioning) -> tuple[Text, dict[str, Any]]:
    """The states of a CONDITIONING of one entry, and what else it holds.

    Raises `ValueError` for several entries: regions or a schedule have no row for each keyframe.
    """
    if len(conditioning) != 1:
        raise ValueError(
            f"{name}: got {len(conditioning)} entries (regions, a schedule, or a combination), "
            "want one; KeyframeConditioning gives every keyframe a prompt of its own"
        )
    [[states, rest]] = conditioning
    rest = dict(rest)
    return Text(states.float(), _float(rest.pop("pooled_output", None))), rest


def write_conditioning(text: Text, rest: dict[str, Any]) -> Conditioning:
    """A CONDITIONING of one entry with a row for each of `text`."""
    pooled = {} if text.pooled is None else {"pooled_output": text.pooled}
    return [[text.states, {**rest, **pooled}]]


def _float(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float()


def _check_latents(model: Any) -> None:
    dimensions = getattr(model.get_model_object("latent_format"), "latent_dimensions", 2)
    if dimensions != 2:
        raise ValueError(
            f"model: {type(model.model).__name__} has latents of {dimensions} dimensions, as video "
            "models do and those built like them, want one with 2"
        )


def check_channels(name: str, latents: Tensor, model: Any) -> None:
    """Raise `ValueError` for latents of another model family."""
    want = model.get_model_object("latent_format").latent_channels
    if latents.ndim != 4 or latents.shape[1] != want:
        raise ValueError(
            f"{name}: got {tuple(latents.shape)}, this model wants (n, {want}, height, width); "
            "is the VAE of another model family?"
        )


def check_control_net(control_net: Any, model: Any) -> None:
    """Raise `ValueError` where text of another width is wanted: the mark of another family."""
    network = getattr(control_net, "control_model", None)
    if network is None:
        return
    got, want = _text_width(network), _text_width(model.get_model_object("diffusion_model"))
    if got != want:
        raise ValueError(
            f"control_net: it takes {_of_width(got)}, this model {_of_width(want)}; "
            "it was trained for another family of models"
        )


def _text_width(network: nn.Module) -> int | None:
    """The width of the text that a UNet's cross-attention takes; None for other networks."""
    for name, weight in network.named_parameters():
        if name.endswith("attn2.to_k.weight"):
            return weight.shape[1]
    return None


def _of_width(width: int | None) -> str:
    return "another kind of text" if width is None else f"text of width {width}"
