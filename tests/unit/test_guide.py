"""What frames are denoised under at their places on a path."""

from __future__ import annotations

import torch
from analytic import GaussianModel

from diffusion_interpolation.method.blend import slerp
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.models import contract
from diffusion_interpolation.models.contract import Guidance, PromptEmbeddings


def _text(rows: int) -> PromptEmbeddings:
    generator = torch.Generator().manual_seed(rows)
    states, pooled = torch.randn(rows, 5, 8), torch.randn(rows, 8, generator=generator)
    return PromptEmbeddings(states, pooled)


def test_prompts_are_mixed_once_for_all_candidates_of_a_position(monkeypatch):
    mixed = []

    def counted(a: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        mixed.append(len(a))
        return slerp(a, *more)

    guide, positions = Guide(_text(3), _text(1)), [0.5, 1.25, 0.5, 0.5, 1.25]
    want = guide.positive.at(torch.tensor(positions, dtype=torch.float64))
    monkeypatch.setattr(contract, "slerp", counted)
    guidance = guide.at(positions, GaussianModel(), (8, 8))
    assert mixed == [2, 2]
    assert torch.equal(guidance.positive.embeddings, want.embeddings)
    assert torch.equal(guidance.positive.pooled, want.pooled)
    assert guidance.positions == positions
    assert guidance.rows([1, 2]).positions == [1.25, 0.5]


def test_strengths_that_differ_in_their_last_bit_go_together():
    """A ControlNet of ComfyUI has one strength, so that others are another batch."""
    strength = torch.tensor([0.1 + 0.2, 1.5, 0.3, 1.5, 0.3001], dtype=torch.float64)
    assert strength[0] != strength[2]
    guidance = Guidance(_text(1), _text(1), 4.0, hint=torch.zeros(5, 3, 8, 8), strength=strength)
    assert guidance.by_strength(5) == {0.3: [0, 2], 1.5: [1, 3], 0.3001: [4]}
    assert Guidance(_text(1), _text(1), 4.0).by_strength(2) == {1.0: [0, 1]}
