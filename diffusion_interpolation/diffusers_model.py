"""The method's latent diffusion model over the parts of diffusers: Stable Diffusion 1, 2 and XL."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from torch import Tensor, nn

from .diffusers_files import load_controlnet, load_folder, load_single_file
from .finite import check_vae
from .memory import Batches
from .model import Begun, Guidance, Text, stack, steps_to_begin

if TYPE_CHECKING:
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        DDIMScheduler,
        SchedulerMixin,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
    from typing_extensions import Unpack

    TextEncoder = CLIPTextModel | CLIPTextModelWithProjection

log = logging.getLogger(__name__)

_OTHER_TYPE = "run it in another type, as with --dtype float32 or --dtype bfloat16"


class Options(TypedDict, total=False):
    """How a `DiffusersModel` runs.

    `steps` of DDIM over the whole schedule (default 20), `batch_size` rows at most in one forward
    pass (8), `device` (the CPU) and `dtype` of the weights (float32).
    """

    steps: int
    batch_size: int
    device: torch.device | str
    dtype: torch.dtype


class DiffusersModel:
    """A `LatentDiffusionModel` made of diffusers parts, sampled with DDIM at eta 0.

    Stable Diffusion 1 and 2 have one text encoder; XL has two, the second with a projection. The
    parts are taken over: moved, frozen, put in evaluation mode. `scheduler` gives the noise
    schedule and what the denoiser predicts. Inputs may lie anywhere; results lie on `device`, in
    float32 whatever the type of the weights, and carry no graph except those of `predict_noise`.
    Raises `ValueError` where the parts do not fit together or a weight is NaN or infinite.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin | Mapping[str, Any],
        text_encoders: Sequence[TextEncoder],
        tokenizers: Sequence[CLIPTokenizer],
        controlnet: ControlNetModel | None = None,
        *,
        steps: int = 20,
        batch_size: int = 8,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _check_fit(vae, unet, text_encoders, tokenizers)
        if controlnet is not None:
            _check_controlnet(controlnet, unet)
        self._scheduler = _ddim(scheduler, steps)
        self._grid = sorted(self._scheduler.timesteps.tolist())
        self._take(vae, text_encoders, tokenizers, batch_size, device, dtype)
        self._unet = self._place("unet", unet, dtype)
        self._controlnet = controlnet
        if controlnet is not None:
            self._place("controlnet", controlnet, dtype)

    def _take(
        self,
        vae: AutoencoderKL,
        text_encoders: Sequence[TextEncoder],
        tokenizers: Sequence[CLIPTokenizer],
        batch_size: int,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> None:
        """Take over the parts that models have whatever denoises."""
        if batch_size < 1:
            raise ValueError(f"batch size: got {batch_size}, it must be at least 1")
        self._device, self._dtype = torch.device(device), dtype
        # in half precision the autoencoders that say so overflow, XL's above all
        upcast = dtype == torch.float16 and vae.config.force_upcast
        self._vae = self._place("vae", vae, torch.float32 if upcast else dtype)
        names = ("text_encoder", "text_encoder_2")
        named = zip(names, text_encoders, strict=False)
        self._text_encoders = [self._place(name, encoder, dtype) for name, encoder in named]
        self._tokenizers = list(tokenizers)
        self._picture_batches, self._latent_batches = Batches(batch_size), Batches(batch_size)

    def _place(self, name: str, module: nn.Module, dtype: torch.dtype) -> Any:
        """`module` on the device, frozen, its weights checked."""
        # the `to` of diffusers' own classes warns of every change of type
        nn.Module.to(module, device=self._device, dtype=dtype)
        if self._device.type == "cpu" and dtype == torch.float32:
            nn.Module.to(module, memory_format=torch.channels_last)
        for key, weights in module.named_parameters():
            if not weights.isfinite().all():
                raise ValueError(f"{name}: {key} holds NaN or infinity, want finite numbers only")
        return module.eval().requires_grad_(False)

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        controlnet: str | Path | None = None,
        allow_download: bool = False,
        **options: Unpack[Options],
    ) -> DiffusersModel:
        """The model in a folder of diffusers' layout, and a ControlNet in another.

        Only safetensors are read. With `allow_download`, either may be an id on the Hugging Face
        hub. Raises `ValueError` for what is not there, not supported, not whole, or does not fit.
        """
        dtype = options.get("dtype", torch.float32)
        parts = load_folder(path, dtype, allow_download)
        control = load_controlnet(controlnet, dtype, allow_download)
        return cls(**parts, controlnet=control, **options)

    @classmethod
    def from_single_file(
        cls,
        path: str | Path,
        config: str | Path,
        controlnet: str | Path | None = None,
        allow_download: bool = False,
        **options: Unpack[Options],
    ) -> DiffusersModel:
        """The model in one `.safetensors` file of Stable Diffusion's original layout.

        `config` is a folder of diffusers' layout with the configurations and tokenizers of such a
        model; it needs no weights. The rest is as in `from_folder`.
        """
        dtype = options.get("dtype", torch.float32)
        parts = load_single_file(path, config, dtype, allow_download)
        control = load_controlnet(controlnet, dtype, allow_download)
        return cls(**parts, controlnet=control, **options)

    @property
    def device(self) -> torch.device:
        """Where the model is and leaves its results."""
        return self._device

    @property
    def batch_size(self) -> int:
        """How many latents go in one batch; it shrinks when memory runs out."""
        return self._latent_batches.size

    @property
    def hint_scale(self) -> int:
        """Pixels of a ControlNet hint for each step of the latent grid.

        Without a ControlNet, pixels of a picture.
        """
        if self._controlnet is None:
            return self._picture_scale
        layers = self._controlnet.controlnet_cond_embedding.modules()
        return 2 ** sum(getattr(layer, "stride", None) == (2, 2) for layer in layers)

    @property
    def _picture_scale(self) -> int:
        return _shrinking(self._vae)

    @property
    def _latent_unit(self) -> int:
        """What both sides of latents must be multiples of."""
        return _shrinking(self._unet)

    def checkpointing(self, on: bool) -> None:
        """Whether `predict_noise` recomputes activations for the backward pass or keeps them."""
        if on:
            self._unet.enable_gradient_checkpointing()
        else:
            self._unet.disable_gradient_checkpointing()

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Latents `(n, c, h', w')` of pictures `(n, 3, h, w)` in 0..1.

        They are the posterior's mode, scaled. Raises `ValueError` for sides that the autoencoder
        and the denoiser after it cannot halve, and `FloatingPointError` where the autoencoder makes
        NaN or infinity.
        """
        self._check_pictures(pictures)

        def work(rows: list[int]) -> Tensor:
            batch = pictures[rows].to(self._device, torch.float32) * 2 - 1
            mode = self._vae.encode(batch.to(self._vae.dtype)).latent_dist.mode()
            check_vae("encoded", batch, mode, _OTHER_TYPE)
            return (mode.float() - self._shift) * self._vae.config.scaling_factor

        return self._picture_batches.run(work, len(pictures))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures `(n, 3, h, w)` in 0..1 of latents `(n, c, h', w')`.

        Raises `FloatingPointError` where the autoencoder makes NaN or infinity.
        """

        def work(rows: list[int]) -> Tensor:
            batch = latents[rows].to(self._device, torch.float32)
            batch = batch / self._vae.config.scaling_factor + self._shift
            pictures = self._vae.decode(batch.to(self._vae.dtype)).sample
            check_vae("decoded", batch, pictures, _OTHER_TYPE)
            return (pictures.float() / 2 + 0.5).clamp(0, 1)

        return self._picture_batches.run(work, len(latents))

    @property
    def _shift(self) -> float:
        return self._vae.config.shift_factor or 0.0

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Text:
        """The conditioning of prompts, one row each.

        XL: what both encoders have before their last layer, side by side, and the projection of the
        second as pooled states (SDXL, Podell et al. 2023, section 2.1). Otherwise the last states:
        Stable Diffusion 2's encoder comes cut off at the layer that is wanted. Raises `ValueError`
        for a prompt longer than an encoder can read.
        """
        outputs = []
        for encoder, tokenizer in zip(self._text_encoders, self._tokenizers, strict=True):
            tokens = token_ids(prompts, tokenizer, encoder.config.max_position_embeddings)
            outputs.append(encoder(tokens.to(self._device), output_hidden_states=True))
        if len(outputs) == 1:
            return Text(outputs[0].last_hidden_state.float())
        states = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        return Text(states.float(), outputs[1].text_embeds.float())

    def scales(self, level: float) -> tuple[float, float]:
        """`(sqrt(alphabar), sqrt(1 - alphabar))` at the sampler's timestep for `level`.

        That is the last one not above `level` times the training timesteps, or the lowest there is;
        `denoise` and `predict_noise` move a level alike. Raises `ValueError` outside (0, 1].
        """
        alphabar = self._scheduler.alphas_cumprod[self._timestep(level)].item()
        return alphabar**0.5, (1 - alphabar) ** 0.5

    def timesteps(self, level: float, until: float | None = None) -> list[int]:
        """Those that `denoise` visits from `level` on, the noisiest first, down to `until`."""
        first, last = self._timestep(level), -1 if until is None else self._timestep(until)
        return [timestep for timestep in reversed(self._grid) if last < timestep <= first]

    def _timestep(self, level: float) -> int:
        if not 0 < level <= 1:
            raise ValueError(f"noise level: got {level}, it must be above 0 and at most 1")
        # rounded, so that a level that went through float32 stays where it was
        place = round(level * self._scheduler.config.num_train_timesteps, 3)
        return self._grid[max(bisect_right(self._grid, place) - 1, 0)]

    @torch.no_grad()
    def denoise(
        self, noisy: Tensor, level: float, guidance: Guidance, until: float | None = None
    ) -> Tensor:
        """Latents at `until`, or clean ones, from `(n, c, h', w')` at `level`, by DDIM with eta 0.

        A row's result does not depend on the others. Raises `ValueError` for a guidance whose rows
        or hint do not match the latents.
        """
        return self._run(noisy, self.timesteps(level, until), guidance).latents

    def steps(self, level: float) -> int:
        """How many steps `denoise` takes from `level`."""
        return len(self.timesteps(level))

    @torch.no_grad()
    def begin(self, noisy: Tensor, level: float, guidance: Guidance, share: float) -> Begun:
        """As `denoise`, but only the first `share` of the steps (`steps_to_begin`)."""
        timesteps = self.timesteps(level)
        return self._run(noisy, timesteps[: steps_to_begin(len(timesteps), share)], guidance)

    @torch.no_grad()
    def finish(self, begun: Tensor, level: float, guidance: Guidance, share: float) -> Tensor:
        """Clean latents from what `begin` left at the same `level` and `share`."""
        timesteps = self.timesteps(level)
        return self._run(
            begun, timesteps[steps_to_begin(len(timesteps), share) :], guidance
        ).latents

    def _run(self, noisy: Tensor, timesteps: list[int], guidance: Guidance) -> Begun:
        """`noisy` taken down all of `timesteps`, in batches that fit."""
        self._check_guidance(noisy, guidance)

        def work(rows: list[int]) -> Tensor:
            latents = noisy[rows].to(self._device, torch.float32)
            return torch.stack(self._sample(latents, timesteps, guidance.rows(rows)), dim=1)

        return Begun(*self._latent_batches.run(work, len(noisy)).unbind(1))

    def _sample(self, latents: Tensor, timesteps: list[int], guidance: Guidance) -> Begun:
        """`latents` taken down all of `timesteps`, both halves of guidance in one forward pass."""
        clean = latents
        halves = 1 if guidance.cfg == 1 else 2
        text = stack([guidance.negative, guidance.positive][-halves:])
        conditions = self._conditions(text, latents)
        residuals = self._residuals(guidance, halves)
        for timestep in timesteps:
            rows = self._input(latents.repeat(halves, 1, 1, 1))
            time = torch.full((len(rows),), timestep, device=self._device)
            added = residuals(rows, time, conditions)
            output = self._unet(rows, time, **conditions, **added, return_dict=False)[0].float()
            if halves == 2:
                negative, positive = output.chunk(2)
                output = negative + guidance.cfg * (positive - negative)
            step = self._scheduler.step(output, timestep, latents)
            latents, clean = step.prev_sample, step.pred_original_sample
        return Begun(latents, clean)

    def _input(self, latents: Tensor) -> Tensor:
        """Latents in the type and the memory layout of the denoiser's weights."""
        weights = self._unet.conv_in.weight
        in_order = weights.is_contiguous()
        layout = torch.contiguous_format if in_order else torch.channels_last
        return latents.to(weights.dtype, memory_format=layout)

    def _conditions(self, text: Text, latents: Tensor) -> dict[str, Any]:
        """What denoiser and ControlNet take beside latents and time.

        XL is told the size of the picture and that nothing was cropped off.
        """
        states = text.states.to(self._device, self._dtype)
        if not _is_xl(self._unet):
            return {"encoder_hidden_states": states}
        if text.pooled is None:
            raise ValueError("text: has no pooled states, Stable Diffusion XL wants them")
        height, width = (side * self._picture_scale for side in latents.shape[-2:])
        sizes = torch.tensor([height, width, 0, 0, height, width], device=self._device)
        added = {
            "text_embeds": text.pooled.to(self._device, self._dtype),
            "time_ids": sizes.expand(len(text), -1),
        }
        return {"encoder_hidden_states": states, "added_cond_kwargs": added}

    def _residuals(self, guidance: Guidance, halves: int) -> Callable[..., dict[str, Any]]:
        """What the ControlNet adds to the denoiser, as a function of latents, time, conditions."""
        network, hint, strength = self._controlnet, guidance.hint, guidance.strength
        if network is None or hint is None:
            return lambda *_: {}
        strength = torch.ones(len(hint)) if strength is None else strength
        scale = strength.to(self._device, self._dtype).repeat(halves)[:, None, None, None]
        embedded = _embed(network, hint.to(self._device, self._dtype)).repeat(halves, 1, 1, 1)

        def residuals(latents: Tensor, time: Tensor, conditions: dict[str, Any]) -> dict[str, Any]:
            with _taking_embedded_hints(network):
                down, middle = network(
                    latents,
                    time,
                    controlnet_cond=embedded,
                    conditioning_scale=scale,
                    return_dict=False,
                    **conditions,
                )
            return {
                "down_block_additional_residuals": down,
                "mid_block_additional_residual": middle,
            }

        return residuals

    def learning_batch(self, latent_shape: Sequence[int], text: Text, halves: int) -> int:
        """How many latents a step of learning takes at once; it shrinks when memory runs out."""
        return max(1, self.batch_size // halves)

    def predict_noise(
        self, noisy: Tensor, levels: Tensor, text: Text, negatives: int = 0
    ) -> Tensor:
        """The noise in `(n, c, h', w')` at `levels` `(n,)`, unguided, differentiable in `text`.

        Its halves of guidance differ in text alone, so that `negatives` changes nothing.

        It is the noise whatever the network predicts: from v it is `a v + s x`, with `(a, s)` of
        `scales` (Salimans and Ho 2022, appendix D). Raises `ValueError` for levels outside (0, 1]
        and for a text of another number of rows.
        """
        _check_rows("text", text, len(noisy))
        noisy = noisy.to(self._device, torch.float32)
        timesteps = torch.tensor([self._timestep(level) for level in levels.tolist()])
        conditions = self._conditions(text.rows(range(len(noisy))), noisy)
        time = timesteps.to(self._device)
        output = self._unet(self._input(noisy), time, **conditions, return_dict=False)[0].float()
        if self._scheduler.config.prediction_type == "epsilon":
            return output
        alphabar = self._scheduler.alphas_cumprod[timesteps].to(self._device)[:, None, None, None]
        return alphabar.sqrt() * output + (1 - alphabar).sqrt() * noisy

    def _check_pictures(self, pictures: Tensor) -> None:
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"pictures: got {tuple(pictures.shape)}, want (n, 3, height, width)")
        unit = self._picture_scale * self._latent_unit
        height, width = pictures.shape[-2:]
        if height % unit or width % unit:
            raise ValueError(
                f"pictures: got {width} x {height} pixels, both sides must be multiples of {unit}"
            )

    def _check_guidance(self, noisy: Tensor, guidance: Guidance) -> None:
        count, hint, strength = len(noisy), guidance.hint, guidance.strength
        _check_rows("positive", guidance.positive, count)
        _check_rows("negative", guidance.negative, count)
        if hint is None:
            return
        if self._controlnet is None:
            raise ValueError("hint: got one, but this model has no ControlNet, which it wants")
        want = count, 3, *(side * self.hint_scale for side in noisy.shape[-2:])
        if hint.shape != want:
            raise ValueError(f"hint: got {tuple(hint.shape)}, these latents want {want}")
        if strength is not None and strength.shape != (count,):
            raise ValueError(f"strength: got {tuple(strength.shape)}, the hints want ({count},)")


def _embed(network: ControlNetModel, hints: Tensor) -> Tensor:
    """The ControlNet's embedding of hints `(n, 3, H, W)`; neighbours that are equal share one."""
    changed = (hints[1:] != hints[:-1]).flatten(1).any(1).tolist()
    starts = [0, *(row for row, change in enumerate(changed, 1) if change)]
    source = [bisect_right(starts, row) - 1 for row in range(len(hints))]
    if network.config.controlnet_conditioning_channel_order == "rgb":
        return network.controlnet_cond_embedding(hints[starts])[source]
    # such a network turns the channels of all that it is given round, but only colours want that
    return network.controlnet_cond_embedding(hints[starts].flip(1))[source].flip(1)


@contextmanager
def _taking_embedded_hints(network: ControlNetModel) -> Iterator[None]:
    """Within, the ControlNet takes hints embedded already: they are the same at every timestep."""
    embedding = network.controlnet_cond_embedding
    network.controlnet_cond_embedding = nn.Identity()
    try:
        yield
    finally:
        network.controlnet_cond_embedding = embedding


def _ddim(scheduler: SchedulerMixin | Mapping[str, Any], steps: int) -> DDIMScheduler:
    """A DDIM sampler (Song et al. 2021, eq. 12) on the noise schedule of any other.

    It never clips: latents are not bounded, and no pipeline of Stable Diffusion does, though it is
    the default of diffusers' DDIM.
    """
    from diffusers import DDIMScheduler

    config = dict(scheduler if isinstance(scheduler, Mapping) else scheduler.config)
    # for values named there diffusers would take DDIM's defaults, not the other scheduler's
    config.pop("_use_default_values", None)
    name, kind = config.get("_class_name"), config.get("prediction_type", "epsilon")
    if "beta_schedule" not in config:
        raise ValueError(f"scheduler: {name} has no beta_schedule, want one of Stable Diffusion's")
    if kind not in ("epsilon", "v_prediction"):
        raise ValueError(f"scheduler: prediction_type is {kind!r}, want epsilon or v_prediction")
    # DDIM steps back by a whole number of timesteps. With "linspace", and with "trailing" for most
    # numbers of steps, it would not land on the next one of its timesteps.
    if config.get("timestep_spacing", "leading") != "leading":
        config |= {"timestep_spacing": "leading", "steps_offset": 1}
    ddim = DDIMScheduler.from_config(config, clip_sample=False, thresholding=False)
    most = ddim.config.num_train_timesteps - 1
    if not 1 <= steps <= most:
        raise ValueError(f"steps: got {steps}, this noise schedule allows 1 to {most}")
    ddim.set_timesteps(steps)
    return ddim


def token_ids(prompts: list[str], tokenizer: CLIPTokenizer, positions: int) -> Tensor:
    """Token ids `(n, tokens)`, padded to all that the encoder reads."""
    limit = min(tokenizer.model_max_length, positions)
    for prompt in prompts:
        ids = tokenizer(prompt, verbose=False).input_ids
        if len(ids) > limit:
            lost = tokenizer.decode(ids[limit - 1 : -1]).strip()
            raise ValueError(
                f"prompt: has {len(ids)} tokens, the text encoder reads at most {limit}; "
                f"what would be lost is {lost!r}"
            )
    return tokenizer(prompts, padding="max_length", max_length=limit, return_tensors="pt").input_ids


def _shrinking(network: AutoencoderKL | UNet2DConditionModel) -> int:
    """How many times smaller the lowest level of a network is than its input."""
    return 2 ** (len(network.config.block_out_channels) - 1)


def _is_xl(unet: UNet2DConditionModel) -> bool:
    return unet.config.addition_embed_type == "text_time"


def _check_rows(name: str, text: Text, count: int) -> None:
    if len(text) not in (1, count):
        raise ValueError(f"{name}: has {len(text)} rows, {count} latents want {count} or 1")


def _check_fit(
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoders: Sequence[TextEncoder],
    tokenizers: Sequence[CLIPTokenizer],
) -> None:
    """Raise `ValueError` unless the parts are of one model."""
    want = 2 if _is_xl(unet) else 1
    if (len(text_encoders), len(tokenizers)) != (want, want):
        raise ValueError(
            f"text encoders: got {len(text_encoders)} with {len(tokenizers)} tokenizers, "
            f"this unet wants {want} of each"
        )
    channels, made = unet.config.in_channels, vae.config.latent_channels
    if channels != made:
        raise ValueError(f"unet: takes {channels} channels, the vae makes latents of {made}")
    width = unet.config.cross_attention_dim
    made = sum(encoder.config.hidden_size for encoder in text_encoders)
    if width != made:
        raise ValueError(f"unet: takes text of width {width}, the text encoders make {made}")


def _check_controlnet(controlnet: ControlNetModel, unet: UNet2DConditionModel) -> None:
    """Raise `ValueError` unless both are of one family."""
    for key in ("cross_attention_dim", "addition_embed_type", "block_out_channels"):
        got, want = (_plain(network.config[key]) for network in (controlnet, unet))
        if got != want:
            raise ValueError(
                f"controlnet: its {key} is {got}, this model's unet wants {want}; "
                "it was trained for another family of models"
            )


def _plain(value: Any) -> Any:
    """A configuration's value, alike whether it was read from a file or not."""
    return tuple(value) if isinstance(value, list) else value
