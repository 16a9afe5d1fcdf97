from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from diffusion_interpolation.scoring import clip as rerank
from diffusion_interpolation.scoring.clip import (
    ClipPair,
    load_pair,
    normalise,
    open_clip_pair,
    transformers_pair,
)
from diffusion_interpolation.scoring.contract import EmbeddingScorer, judge

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture
def tiny_open_clip(tmp_path):
    """A random open-clip model of an architecture of its own: its name, its file, the model."""
    import open_clip

    (tmp_path / "tiny-test.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path)
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-test").eval()
    file = tmp_path / "tiny.safetensors"
    save_file(model.state_dict(), file)
    return "tiny-test", file, model


def test_the_score_is_positive_minus_negative():
    axes = torch.eye(3)
    pair = ClipPair(
        embed_pictures=lambda pictures: F.normalize(pictures.mean((2, 3)), dim=-1),
        embed_texts=lambda texts: axes[[{"red": 0, "green": 1, "blue": 2}[text] for text in texts]],
    )
    pictures = torch.zeros(3, 3, 2, 2)
    pictures[0, 0] = pictures[1, 1] = pictures[2, 2] = 1
    assert pair.scorer(["red"], "green")(pictures).tolist() == [1, -1, 0]
    assert pair.scorer(["red", "blue"], "green")(pictures).tolist() == [0.5, -1, 0.5]


def test_clip_is_given_few_large_pictures_at_once(monkeypatch):
    sizes = []

    def embed(pictures: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pictures))
        if len(pictures) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return pictures.mean((2, 3))

    pair = ClipPair(embed, lambda texts: torch.ones(len(texts), 3))
    scorer, pictures = pair.scorer(["a"], "b"), torch.rand(11, 3, 8, 8)
    monkeypatch.setattr(rerank, "MAX_PIXELS", 5 * 8 * 8)
    assert torch.equal(scorer.encoder(pictures), pictures.mean((2, 3)))
    assert sizes == [5, 2, 2, 2, 2, 2, 1]


class _Taste:
    """A scorer with an encoder that it does not ask itself."""

    encoder = staticmethod(lambda pictures: pictures.mean((2, 3)))

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.amax((1, 2, 3))


def test_a_scorer_is_asked_for_numbers_and_its_encoder_for_embeddings():
    pictures, seen = torch.rand(4, 3, 2, 2), []

    def embed(pictures: torch.Tensor) -> torch.Tensor:
        seen.append(len(pictures))
        return pictures.mean((2, 3))

    scorer = EmbeddingScorer(embed, lambda embeddings: embeddings[:, 0])
    numbers, embeddings = judge(scorer, pictures)
    assert seen == [4], "pictures were seen twice"
    assert torch.equal(numbers, pictures.mean((2, 3))[:, 0])
    assert torch.equal(embeddings, pictures.mean((2, 3)))
    numbers, embeddings = judge(_Taste(), pictures)
    assert torch.equal(numbers, pictures.amax((1, 2, 3)))
    assert torch.equal(embeddings, pictures.mean((2, 3)))
    numbers, embeddings = judge(lambda pictures: pictures[:, 0, 0, 0], pictures)
    assert torch.equal(numbers, pictures[:, 0, 0, 0]) and embeddings is None


def test_a_clip_is_read_by_the_kind_of_its_place(tiny_open_clip, tmp_path):
    name, file, _ = tiny_open_clip
    pictures = torch.rand(2, 3, 32, 32)
    want = open_clip_pair(name, file).embed_pictures(pictures)
    assert torch.equal(load_pair(file, name).embed_pictures(pictures), want)
    with pytest.raises(ValueError, match="is not a folder with a CLIP of transformers"):
        load_pair(tmp_path, name)


def test_normalisation_is_that_of_open_clip():
    from open_clip.transform import image_transform
    from torchvision.transforms.functional import to_pil_image, to_tensor

    picture = torch.rand(3, 50, 70, generator=torch.Generator().manual_seed(0))
    picture = F.interpolate(picture[None, :, ::10, ::10], (50, 70), mode="bilinear")[0]
    pil = to_pil_image(picture)
    want = image_transform(32, is_train=False)(pil)
    got = normalise(to_tensor(pil)[None], 32)[0]
    assert got.shape == want.shape
    assert (got - want).abs().mean() < 0.02


def test_open_clip_from_a_file(tiny_open_clip):
    import open_clip

    name, file, model = tiny_open_clip
    pair = open_clip_pair(name, file)
    pictures = torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        texts = model.encode_text(open_clip.get_tokenizer(name)(["a dog", "a cat"]), normalize=True)
        seen = model.encode_image(normalise(pictures, 32), normalize=True)
    want = seen @ texts[0] - seen @ texts[1]
    assert torch.allclose(pair.scorer(["a dog"], "a cat")(pictures), want, atol=1e-5)


@pytest.mark.parametrize("missing", ["nowhere.safetensors", "weights.bin"])
def test_a_file_that_is_no_safetensors_file(tmp_path, missing):
    with pytest.raises(ValueError, match=r"reranker: got .*, needs an existing .safetensors file"):
        open_clip_pair("ViT-B-32", tmp_path / missing)


def test_an_unknown_architecture(tiny_open_clip):
    with pytest.raises(ValueError, match="got the architecture 'ViT-Z'"):
        open_clip_pair("ViT-Z", tiny_open_clip[1])


def test_a_file_that_is_no_clip(tiny_open_clip, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, other)
    with pytest.raises(ValueError, match=r"reranker: .*other.safetensors is not a tiny-test CLIP"):
        open_clip_pair(tiny_open_clip[0], other)


def test_a_folder_that_is_no_clip(tmp_path):
    with pytest.raises(ValueError, match="is not a folder with a CLIP of transformers"):
        transformers_pair(tmp_path)


def test_a_clips_network_may_be_moved(tiny_open_clip):
    """It runs where its weights are; a device without memory shows it on every machine."""
    name, file, _ = tiny_open_clip
    pair = open_clip_pair(name, file)
    score = pair.scorer(["a dog"], "a cat")
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = score(pictures)
    pair.network.to("meta")
    assert score(pictures).device.type == "meta"
    assert before.device.type == "cpu"
