"""What frames are denoised under at their places on a path."""

from __future__ import annotations

import pytest
import torch
from analytic import GaussianModel

from diffusion_interpolation.method.blend import slerp
from diffusion_interpolation.method.guide import Guide
from diffusion_interpolation.models import prompts
from diffusion_interpolation.models.contract import Guidance
from diffusion_interpolation.models.prompts import KeyframePrompts, PromptEmbeddings


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
    monkeypatch.setattr(prompts, "slerp", counted)
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


def _keyframes() -> KeyframePrompts:
    """Three keyframes: one of 5 tokens, and two of 7."""
    texts = torch.randn(1, 5, 8), torch.randn(2, 7, 8)
    return KeyframePrompts(tuple(PromptEmbeddings(text, extras=len(text[0])) for text in texts))


def test_prompts_of_other_lengths_are_mixed_by_their_predictions():
    """Within a part embeddings are on a great circle; the weights change between parts alone."""
    prompts = _keyframes()
    mix = prompts.at(torch.tensor([0.0, 0.25, 1.0, 1.5, 2.0], dtype=torch.float64))
    assert mix.weights.T.tolist() == [[1, 0.75, 0, 0, 0], [0, 0.25, 1, 1, 1]]
    assert len(prompts) == 3 and [part.extras for part in mix.parts] == [5, 7]
    first, second = prompts.parts
    assert torch.equal(mix.parts[0].embeddings, first.embeddings)
    want = second.at(torch.tensor([0, 0, 0, 0.5, 1], dtype=torch.float64))
    assert torch.equal(mix.parts[1].embeddings, want.embeddings)
    assert mix.groups() == [[0], [1], [2, 3, 4]]
    with pytest.raises(ValueError, match=r"position: got 2\.5 to 2\.5, needs 0 to 2"):
        prompts.at(torch.tensor([2.5], dtype=torch.float64))


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_a_guided_prediction_is_the_mix_under_all_prompts(cfg):
    guide = Guide(_keyframes(), _text(1), cfg)
    guidance = guide.at([0.25, 0.75], GaussianModel(), (8, 8))
    first, second, away = torch.randn(3, 2, 4, 1, 1)
    texts = guidance.texts()
    assert [text.extras for text in texts] == [None, 5, 7][-len(texts) :]
    got = guidance.guided([away, first, second][-len(texts) :])
    towards = torch.stack([0.75 * first[0] + 0.25 * second[0], 0.25 * first[1] + 0.75 * second[1]])
    assert torch.allclose(got, away + cfg * (towards - away))


def test_rows_at_keyframes_have_a_prompt_alone():
    guidance = Guide(_keyframes(), _text(1), 1.0).at([0.0, 0.5, 1.0], GaussianModel(), (8, 8))
    assert guidance.by_prompts(3) == [[0], [1], [2]]
    for row, tokens in ((0, 5), (2, 7)):
        [text] = guidance.rows([row]).texts()
        assert text.embeddings.shape == (1, tokens, 8)
        prediction = torch.randn(1, 4, 8, 8)
        assert guidance.rows([row]).guided([prediction]) is prediction


def test_one_row_serves_all_and_stays_one():
    """Some models take a prompt of one row alone."""
    guidance = Guide(_text(1), _text(1), 2.0).at([0.1, 0.2], GaussianModel(), (8, 8))
    assert len(guidance.positive) == len(guidance.rows([1, 0, 1]).positive) == 1
    assert len(guidance.positive.repeated(3)) == 3
