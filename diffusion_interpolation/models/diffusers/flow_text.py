"""The conditioning of prompts for flow transformers, which see no padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..prompts import PromptEmbeddings
from .text import token_ids

if TYPE_CHECKING:
    from transformers import CLIPTextModel, Gemma2Model, PreTrainedTokenizerBase

_GEMMA_TOKENS = 256
"""As many as Lumina 2 was trained with."""

_GEMMA_PREFIX = (
    "You are an assistant designed to generate superior images with the superior degree of "
    "image-text alignment based on textual prompts or user prompts. <Prompt Start> "
)
"""What stood before every prompt in the training, as in diffusers' `Lumina2Pipeline`."""


class FlowText:
    """The text encoder of a flow transformer: Lumina 2's Gemma 2, or the CLIP of the demo."""

    def __init__(
        self, encoder: CLIPTextModel | Gemma2Model, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self._encoder, self._tokenizer = encoder, tokenizer
        self._is_gemma = encoder.config.model_type.startswith("gemma")
        # states are cut off at the end, where the padding is
        self._tokenizer.padding_side = "right"

    @torch.no_grad()
    def encode(self, prompts: list[str], negative: bool) -> PromptEmbeddings:
        """The conditioning of prompts, one row each, as long as the longest of them.

        The states after the end of a shorter one are 0, which no state of a token is. Of CLIP they
        are the last states, of Gemma those before the last layer, and its prompts, but for
        `negative` ones, begin as in the training. Raises `ValueError` for a prompt longer than the
        encoder can read.
        """
        encoder, limit = self._encoder, _GEMMA_TOKENS
        if not self._is_gemma:
            limit = encoder.config.max_position_embeddings
        elif not negative:
            prompts = [_GEMMA_PREFIX + prompt for prompt in prompts]
        tokens = token_ids(prompts, self._tokenizer, limit).to(encoder.device)
        lengths = torch.tensor([len(ids) for ids in self._tokenizer(prompts).input_ids])
        inside = (torch.arange(tokens.shape[1]) < lengths[:, None]).to(encoder.device)
        if self._is_gemma:
            output = encoder(tokens, attention_mask=inside.long(), output_hidden_states=True)
            states = output.hidden_states[-2]
        else:
            states = encoder(tokens).last_hidden_state
        longest = int(lengths.max())
        return PromptEmbeddings((states.float() * inside[:, :, None])[:, :longest])
