"""Checks `nodes/comfy_conditioning.py` on the host's own classes; run by the host's Python."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import torch

# the host reads its options from there
sys.argv = [sys.argv[0], "--cpu"]
sys.path.insert(0, str(Path.cwd()))
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.clip_vision  # noqa: E402
import comfy.conds  # noqa: E402
import comfy.controlnet  # noqa: E402

# the checkout as a package, without the nodes that its own __init__ imports
checkout = ModuleType("checkout")
checkout.__path__ = [str(Path(__file__).parents[2])]
sys.modules["checkout"] = checkout
from checkout.nodes.comfy.conditioning import (  # noqa: E402
    Places,
    check_rows,
    joined,
    mixed,
    read_conditioning,
    unlike,
    write_conditioning,
)
from checkout.nodes.common.types import KEYFRAME_KEY  # noqa: E402

ROWS = torch.tensor([0.0, 4.0])
"""What two keyframes have; the frames at 0.25, 0.25 and 1 have 1, 1 and 4."""
WANT = [1.0, 1.0, 4.0]


def rows(*shape: int) -> torch.Tensor:
    return ROWS.reshape(2, *[1] * len(shape)).expand(2, *shape).clone()


def first(tensor: torch.Tensor) -> list[float]:
    return tensor.flatten(1)[:, 0].tolist()


def chain() -> tuple[comfy.controlnet.ControlNet, comfy.controlnet.T2IAdapter]:
    """A ControlNet with a mask for each keyframe, after an adapter with a hint for each."""
    adapter = comfy.controlnet.T2IAdapter(None, 3, 8, "nearest-exact", device="cpu")
    adapter.set_cond_hint(rows(3, 8, 8), 0.7, (0.1, 0.9))
    control = comfy.controlnet.ControlNet(None, concat_mask=True)
    control.control_model = control.control_model_wrapped = None
    control.set_cond_hint(torch.rand(1, 3, 8, 8), extra_concat=[rows(1, 8, 8)])
    return control.set_previous_controlnet(adapter), adapter


def check_controls(places: Places) -> None:
    control, adapter = chain()
    placed = places.rest({"control": control})["control"]
    assert places.rest({"control": control})["control"] is placed is not control
    assert first(placed.extra_concat_orig[0]) == WANT
    earlier = placed.previous_controlnet
    assert first(earlier.cond_hint_original) == WANT
    assert (earlier.strength, earlier.timestep_percent_range) == (0.7, (0.1, 0.9))
    # those of the user stay as they are
    assert control.previous_controlnet is adapter and len(adapter.cond_hint_original) == 2
    single = comfy.controlnet.T2IAdapter(None, 3, 8, "nearest-exact", device="cpu")
    single.set_cond_hint(torch.rand(1, 3, 8, 8))
    assert places.rest({"control": single})["control"] is single


def check_values(places: Places) -> None:
    vision = comfy.clip_vision.Output()
    vision.image_embeds = rows(5)
    changed = places.rest(
        {
            "concat_latent_image": rows(4, 2, 2),
            "reference_latents": [torch.zeros(1, 4, 2, 2), rows(4, 2, 2)],
            "model_conds": {"c": comfy.conds.CONDRegular(rows(3))},
            "clip_vision_output": vision,
        }
    )
    assert first(changed["concat_latent_image"]) == WANT
    assert [len(latent) for latent in changed["reference_latents"]] == [1, 3]
    assert first(changed["reference_latents"][1]) == WANT
    assert first(changed["model_conds"]["c"].cond) == WANT
    assert first(changed["clip_vision_output"].image_embeds) == WANT
    assert first(vision.image_embeds) == ROWS.tolist()
    same = {
        "mask": torch.rand(8, 8),
        "model_conds": {"c": comfy.conds.CONDConstant(ROWS)},
        "unclip_conditioning": [{"clip_vision_output": vision}],
        "guidance": 3.5,
    }
    kept = places.rest(same)
    assert all(kept[key] is same[key] for key in same)


def prompt(tokens: int, **extras: object) -> list:
    """A CONDITIONING of one row."""
    return [[torch.rand(1, tokens, 4), {"pooled_output": torch.rand(1, 2), **extras}]]


def keyframes(*prompts: list) -> list:
    """As KeyframeConditioning joins them."""
    texts = [read_conditioning("first", one) for one in prompts]
    return write_conditioning(joined([part for text in texts for part in text.parts]))


def check_prompts() -> None:
    """Prompts that are alike share an entry, and the entries are read again as they were."""
    short, other, long = prompt(3, guidance=2.0), prompt(3, guidance=2.0), prompt(5, guidance=2.0)
    [[rows, rest]] = keyframes(short, other)
    assert torch.equal(rows, torch.cat([short[0][0], other[0][0]])) and KEYFRAME_KEY not in rest
    both = keyframes(keyframes(short, other), long)
    assert [(len(rows), rest[KEYFRAME_KEY]) for rows, rest in both] == [(2, 0), (1, 2)]
    texts = read_conditioning("positive", both)
    assert len(texts) == 3 and [part.extras for part in texts.parts] == [{"guidance": 2.0}] * 2
    assert len(keyframes(short, prompt(3, guidance=3.0))) == 2
    assert unlike(*(read_conditioning("first", one) for one in (short, long))) == [
        "number of tokens"
    ]
    for odd in (both[::-1], [*short, *long], []):
        try:
            read_conditioning("positive", odd)
        except ValueError as error:
            assert "entries (regions, a schedule, or a combination)" in str(error)
        else:
            raise AssertionError(odd)


def check_ids_of_tokens() -> None:
    """They are of one row, however many tokens there are."""
    ids = torch.arange(4)
    same = keyframes(prompt(3, t5xxl_ids=ids), prompt(3, t5xxl_ids=ids))
    assert [len(rows) for rows, _ in same] == [1, 1]
    check_rows("positive", {"t5xxl_ids": ids}, 2)
    assert Places([0.5]).rest({"t5xxl_ids": ids})["t5xxl_ids"] is ids


def check_weights() -> None:
    """A prompt's own mask stays in force, in the size of the latents."""
    weights = torch.tensor([1.0, 0.25])
    rest = {"guidance": 2.0}
    mask = mixed(rest, weights, torch.Size([4, 6]))["mask"]
    assert mask.shape == (2, 4, 6) and first(mask) == [1.0, 0.25] and "mask" not in rest
    assert mixed(rest, weights, torch.Size([1, 4, 6]))["mask"].shape == (2, 1, 4, 6)
    own = torch.zeros(1, 8, 12)
    own[:, :, :6] = 1
    half = mixed({"mask": own}, weights, torch.Size([4, 6]))["mask"]
    assert half[1, 0].tolist() == [0.25] * 3 + [0.0] * 3


if __name__ == "__main__":
    check_prompts()
    check_ids_of_tokens()
    check_weights()
    at = Places([0.25, 0.25, 1.0])
    check_controls(at)
    check_values(at)
