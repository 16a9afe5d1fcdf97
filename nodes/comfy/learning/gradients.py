"""Learning a model's conditioning: predictions of ComfyUI's models that can be differentiated."""

from __future__ import annotations

import inspect
import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import comfy.model_management as memory
import comfy.sampler_helpers
import comfy.samplers
from comfy.model_patcher import create_model_options_clone

from ....diffusion_interpolation.method.learning.inversion import NoGradientError
from ....diffusion_interpolation.models.checkpointing import (
    Kept,
    blocks,
    checkpoints,
    plan,
    saving_copies,
)
from ....diffusion_interpolation.models.contract import Schedule
from ....diffusion_interpolation.models.prompts import PromptEmbeddings
from ..codec import ComfyCodec, with_frames, without_frames
from ..patches import names_of_patches, without_shortcuts
from ..schedule import ComfySchedule
from .differentiable import (
    NormalTensors,
    leave_inference,
    override_attention,
    pack_quantised,
    plain_kernels,
    steady,
    unpack_quantised,
)

log = logging.getLogger(__name__)

_ACTIVATIONS = 4
"""What learning needs with checkpoints, in multiples of what the host counts with for sampling.

`benchmarks/gpu.py --count-learning` finds 2.6 for SD 1.5, 3 for Flux, 4 for SDXL, 5.8 for Z-Image.
"""

_STEPS_OF_SCHEDULE = 1000
"""Many, for patches that look a sigma up among those of the sampler."""

_POSITIVE, _NEGATIVE = 0, 1
"""The host's numbers of the halves of guidance."""

_SAVED_INFERENCE = "Inference tensors cannot be saved"
_NO_WAY_BACK = (
    _SAVED_INFERENCE,
    "inplace",
    "in-place",
    "does not require grad",
    "automatic differentiation",
    "autograd",
    "backward through",
    "derivative",
    "did something else when it ran again",
)
"""Of PyTorch's messages about what cannot be differentiated."""


class LearningModel:
    """What inversion asks of a `LearnableModel`, for what ComfyUI has loaded.

    Its predictions can be differentiated in their conditioning, within `gradients` only; the model
    is the same afterwards. The extras of a prompt are what its CONDITIONING holds.
    """

    def __init__(self, model: Any, schedule: ComfySchedule, codec: ComfyCodec) -> None:
        self._model, self._schedule, self._codec = model, schedule, codec
        self._held = self._checkpointed = False
        self._kept: Kept | None = None
        self._normal: NormalTensors | None = None
        self._needed = 0.0
        # the sampler names the two halves of guidance so
        self._uuids = uuid.uuid4(), uuid.uuid4()

    @property
    def device(self) -> torch.device:
        """Latents wait where the host keeps its results."""
        return memory.intermediate_device()

    @classmethod
    def of(cls, model: Any, vae: Any) -> LearningModel:
        """What is learned with, of a MODEL and its VAE."""
        schedule = ComfySchedule(model, "simple", _STEPS_OF_SCHEDULE)
        return cls(model, schedule, ComfyCodec(model, vae))

    @property
    def network(self) -> nn.Module:
        """What predicts noise; within `gradients` it may be a copy."""
        return self._model.model.diffusion_model

    def schedule(self, denoise: float, min_steps: int = 1) -> Schedule:
        return self._schedule.schedule(denoise, min_steps)

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        return self._schedule.scales(schedule)

    def encode(self, pictures: Tensor) -> Tensor:
        """As the codec does; the VAE may take the network's place in memory."""
        self._held = False
        return self._codec.encode(pictures)

    @contextmanager
    def gradients(self, latent_shape: Sequence[int], halves: int = 2) -> Iterator[None]:
        """Within, `predict_noise` on latents of `latent_shape` can be differentiated.

        The host makes room for one of them, in as many rows as guidance has `halves`.
        Raises `ValueError` that names the patches of a model that cannot be.
        """
        patcher, self._model = self._model, steady(self._model)
        self._needed, self._normal = self._sampling_needs(halves, latent_shape), None
        try:
            self._hold()
            self._model.pre_run()
            with torch.inference_mode(False), torch.enable_grad(), plain_kernels():
                yield
        except (NoGradientError, RuntimeError) as error:
            if told := self._refusal(error):
                raise ValueError(told) from error
            raise
        finally:
            self._model.cleanup()
            pack_quantised(self._model.model)
            if self._model is not patcher:
                # the host does not know it once we are done
                self._model.detach()
            self._model, self._held, self._normal = patcher, False, None
            memory.soft_empty_cache()

    def _refusal(self, error: Exception) -> str | None:
        """Return why learning fails with this model, if `error` is about gradients."""
        patches = names_of_patches(self._model)
        if patches:
            way_out = f"leave out what other nodes have put on it: {', '.join(patches)}"
        elif isinstance(error, NoGradientError):
            way_out = "nothing of the prompt of this kind of model can be learned"
        else:
            way_out = "this kind of model cannot be learned with"
        if isinstance(error, NoGradientError):
            return f"model: no gradient comes back to the {error.what}; {way_out}"
        [first, *_] = str(error).splitlines() or [""]
        if any(words in first for words in _NO_WAY_BACK):
            return f"model: its gradients cannot be computed ({first}); {way_out}"
        return None

    def rows_that_fit(
        self, latent_shape: Sequence[int], text: PromptEmbeddings, halves: int
    ) -> int:
        """How many latents a step takes at once, from what the network keeps of one row.

        Each latent is `halves` rows. The network keeps less, and takes longer, where not even one
        latent would fit otherwise; 0 where its halves do not fit together. Within `gradients` only.
        """
        self._hold()
        kept, device = Kept(), self._model.load_device
        self._kept, self._checkpointed = kept, True
        try:
            row = torch.zeros(1, *latent_shape[1:])
            text = text.map(lambda tensor: tensor[:1].detach().requires_grad_(True) * 1)
            self.predict_noise(row, torch.tensor([0.5]), text)
        finally:
            self._kept = None
        free = memory.get_free_memory(device) - memory.extra_reserved_memory()
        chosen = plan(kept, self._sampling_needs(1, latent_shape), free, halves)
        self._checkpointed = chosen.checkpointed
        log.info(
            "learning takes %d pictures at once in %.1f MiB; one needs %.1f MiB, or %.1f MiB %s",
            chosen.rows,
            free / 2**20,
            chosen.bytes_plain / 2**20,
            chosen.bytes_checkpointed / 2**20,
            "with checkpoints, as it goes" if chosen.checkpointed else "with checkpoints",
        )
        return chosen.rows

    def predict_noise(
        self, noisy: Tensor, levels: Tensor, text: PromptEmbeddings, negatives: int = 0
    ) -> Tensor:
        """The noise in `(n, c, h', w')` at `levels` `(n,)`, unguided, differentiable in `text`.

        The first `negatives` rows, none, half or all of them, are under the negative prompt.
        Without the ControlNet.
        """
        self._hold()
        device = self._model.load_device
        noisy = noisy.to(device)
        schedules = [self.schedule(level) for level in levels.tolist()]
        sigmas = torch.tensor([schedule.points[0] for schedule in schedules], device=device)
        scales = torch.tensor([self.scales(schedule) for schedule in schedules], device=device)
        signal, sigma = scales[:, :, None, None, None].unbind(1)
        try:
            denoised = self._denoised(noisy, sigmas, text, negatives)
        except RuntimeError as error:
            if self._normal is not None or _SAVED_INFERENCE not in str(error):
                raise
            # a patch has brought them; looking at every operation takes time, so only then
            self._normal = NormalTensors(device)
            denoised = self._denoised(noisy, sigmas, text, negatives)
        return ((noisy - signal * denoised) / sigma).to(self.device)

    @contextmanager
    def _around(self) -> Iterator[None]:
        """The context of each run of the network, also in the backward pass (autograd's thread)."""
        with ExitStack() as stack:
            if self._normal is not None:
                stack.enter_context(self._normal)
            yield

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """The context that decides what autograd keeps of the network."""
        with ExitStack() as stack:
            stack.enter_context(self._around())
            if torch.is_grad_enabled():
                stack.enter_context(saving_copies(self._kept))
                if self._checkpointed:
                    found = blocks(self._model.model.diffusion_model)
                    stack.enter_context(checkpoints(found, self._around, self._kept))
            yield

    def _denoised(
        self, noisy: Tensor, sigmas: Tensor, text: PromptEmbeddings, negatives: int
    ) -> Tensor:
        """The network's estimate of the clean latents, called as the host's sampler calls it.

        Rows under the negative prompt and others go together where the host would join them.
        """
        halves = [(slice(negatives), _NEGATIVE), (slice(negatives, len(noisy)), _POSITIVE)]
        halves = [(rows, half) for rows, half in halves if len(noisy[rows])]
        noisy = with_frames(self._model, noisy)
        found = [
            self._conditions(noisy[rows], sigmas[rows], _rows(text, rows), half)
            for rows, half in halves
        ]
        if len(found) == 2 and _join(*found):
            conditions = {key: one.concat([found[1][key]]) for key, one in found[0].items()}
            together = [half for _, half in halves]
            return without_frames(self._call(noisy, sigmas, conditions, together))
        denoised = [
            self._call(noisy[rows], sigmas[rows], {k: c.cond for k, c in one.items()}, [half])
            for (rows, half), one in zip(halves, found, strict=True)
        ]
        return without_frames(torch.cat(denoised))

    def _call(
        self, noisy: Tensor, sigmas: Tensor, conditions: dict[str, Any], halves: list[int]
    ) -> Tensor:
        """The network under `conditions`; `halves` are the host's numbers of those in the rows."""
        model, options = self._model.model, self._options(sigmas, halves)
        conditions = {**conditions, "transformer_options": options["transformer_options"]}
        wrapper = options.get("model_function_wrapper")
        with self._saving():
            if wrapper is None:
                return model.apply_model(noisy, sigmas, **conditions)
            call = {"input": noisy, "timestep": sigmas, "c": conditions, "cond_or_uncond": halves}
            return wrapper(model.apply_model, call)

    def _conditions(
        self, noisy: Tensor, sigmas: Tensor, text: PromptEmbeddings, half: int
    ) -> dict[str, Any]:
        """What the network takes in addition to latents and sigmas, in the host's containers."""
        rest = {key: value for key, value in (text.extras or {}).items() if key != "control"}
        # some networks change their text in place
        text = text.map(lambda tensor: tensor.to(noisy.device, copy=True))
        entry = {**rest, "cross_attn": text.embeddings, "model_conds": {}}
        entry["pooled_output"] = text.pooled
        sampling = self._model.get_model_object("model_sampling")
        [entry] = comfy.samplers.encode_model_conds(
            self._model.model.extra_conds,
            [entry],
            noisy,
            noisy.device,
            "negative" if half == _NEGATIVE else "positive",
            # as the sampler, which begins with noisy latents, without a mask
            latent_image=sampling.inverse_noise_scaling(sigmas, noisy),
            denoise_mask=None,
            seed=0,
        )
        return {
            key: condition.process_cond(batch_size=len(noisy), area=None)
            for key, condition in entry["model_conds"].items()
        }

    def _options(self, sigmas: Tensor, halves: list[int]) -> dict[str, Any]:
        """The model's options, with all that the host's sampler adds to them."""
        options = create_model_options_clone(self._model.model_options)
        # adds the patcher's own wrappers and callbacks
        comfy.sampler_helpers.prepare_model_patcher(self._model, {}, options)
        options = without_shortcuts(options)
        # one sigma a latent
        sigmas = sigmas[: len(sigmas) // len(halves)]
        schedule = self._schedule.sigmas.to(sigmas)
        options["transformer_options"] |= {
            "cond_or_uncond": halves,
            "uuids": [self._uuids[half] for half in halves],
            "sigmas": sigmas,
            # patches look a sigma up there
            "sample_sigmas": torch.cat([schedule, sigmas]).unique().flip(0),
            "optimized_attention_override": override_attention,
        }
        # older hosts take no options
        told = [sigmas, options][: len(inspect.signature(self._model.prepare_state).parameters)]
        self._model.prepare_state(*told)
        return options

    def _sampling_needs(self, rows: int, latent_shape: Sequence[int]) -> float:
        """Return the bytes that the host's sampler reserves for so many rows."""
        return self._model.model.memory_required([rows, *latent_shape[1:]])

    def _hold(self) -> None:
        """Load the network, if something else took its place, in tensors that autograd can save."""
        if self._held:
            return
        models = [self._model, *self._model.get_nested_additional_models()]
        least = _ACTIVATIONS * self._needed
        with torch.inference_mode():
            # others make room for a whole batch, but a network that leaves no room for one latent
            # stays on the CPU in part
            memory.load_models_gpu(models, memory_required=4 * least, minimum_memory_required=least)
        if hasattr(memory, "reset_cast_buffers"):
            # what is left of sampling in them was made under `inference_mode`
            memory.reset_cast_buffers()
        with torch.inference_mode(False):
            for patcher in models:
                leave_inference(patcher.model, patcher.load_device)
            unpack_quantised(self._model.model)
        self._held = True


def _rows(text: PromptEmbeddings, rows: slice) -> PromptEmbeddings:
    """Some rows of a prompt; one row serves all."""
    return text if len(text) == 1 else text.map(lambda tensor: tensor[rows])


def _join(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the host would have the network see the conditions of both halves in one batch."""
    return one.keys() == other.keys() and all(one[key].can_concat(other[key]) for key in one)
