"""The conditioning of prompts, by the text encoders of Stable Diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..prompts import PromptEmbeddings

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    TextEncoder = CLIPTextModel | CLIPTextModelWithProjection


@torch.no_grad()
def encode_text(
    prompts: list[str], encoders: Sequence[TextEncoder], tokenizers: Sequence[CLIPTokenizer]
) -> PromptEmbeddings:
    """The conditioning of prompts, one row each.

    XL: what both encoders have before their last layer, side by side, and the projection of the
    second as pooled states (SDXL, Podell et al. 2023, section 2.1). Otherwise the last states:
    Stable Diffusion 2's encoder comes cut off at the layer that is wanted. Raises `ValueError` for
    a prompt longer than an encoder can read.
    """
    outputs = []
    for encoder, tokenizer in zip(encoders, tokenizers, strict=True):
        tokens = token_ids(prompts, tokenizer, encoder.config.max_position_embeddings)
        outputs.append(encoder(tokens.to(encoder.device), output_hidden_states=True))
    if len(outputs) == 1:
        return PromptEmbeddings(outputs[0].last_hidden_state.float())
    states = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    return PromptEmbeddings(states.float(), outputs[1].text_embeds.float())


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
