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
from checkout.nodes.comfy.conditioning import Places  # noqa: E402

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


if __name__ == "__main__":
    at = Places([0.25, 0.25, 1.0])
    check_controls(at)
    check_values(at)
