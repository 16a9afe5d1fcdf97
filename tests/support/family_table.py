"""Writes docs/families.md, the table of what the nodes do with each family of models.

`python tests/support/family_table.py`. tests/host/test_all_families.py holds it to be true.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
_LIST = CHECKOUT / "tests" / "host" / "pack" / "family_list.py"
# the pack's own __init__ needs the host
_spec = importlib.util.spec_from_file_location("family_list", _LIST)
_list = importlib.util.module_from_spec(_spec)
sys.modules["family_list"] = _list
_spec.loader.exec_module(_list)
FAMILIES, EDITS = _list.FAMILIES, _list.EDITS
LEFT_OUT, NO_PICTURES = _list.LEFT_OUT, _list.NO_PICTURES
Family = _list.Family

HEAD = """# Families of models

The table lists the families of image models that ComfyUI samples with. A test runs the nodes on a
tiny network of each family, with random weights, in the classes of ComfyUI itself. The test shows
that the nodes run, that they agree with ComfyUI's own sampler, and that prompts can be learned. It
does not show how good the frames look. The test runs in ComfyUI 0.33.0, which has all of these
families, and in 0.3.64. For Flux.1 schnell and Z-Image it also takes weights in bfloat16 and in
float8, as the flags of ComfyUI do.

- **frames**: FrameBisector, NoisyLatentLerp and ConditionedDenoise draw frames, under one prompt or
  a prompt for each keyframe. The prompts may differ in length and in all that comes with them.
- **learns**: TextualInvert learns prompts. KeyframeLora learns LoRAs for these families and for
  Stable Cascade B.
- **poses**: ComfyUI has a kind of ControlNet for the family that works with the input `poses`, if
  somebody has trained one for OpenPose skeletons.
- **references**: the input `reference_latents` shows the keyframes to the network. Only models that
  were trained to edit pictures make good use of them.
- **settings**: steps of the whole schedule and cfg, from the templates of ComfyUI or from the
  authors of the model.
- **from**: the version of ComfyUI that has the family. The pack needs 0.3.64 or newer.

| family | frames | learns | poses | references | settings (steps, cfg) | from |
|---|---|---|---|---|---|---|
"""


def table() -> str:
    """The page, in Markdown."""
    lines = []
    for name, family in FAMILIES.items():
        cells = (
            name,
            "no: the VAE gives pictures of another size" if family.draws else "yes",
            "yes" if family.learns else "no",
            "yes" if family.poses else "no",
            "yes" if name in EDITS else "no",
            family.settings,
            family.since,
        )
        lines.append(f"| {' | '.join(cells)} |\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    (CHECKOUT / "docs" / "families.md").write_text(table(), encoding="utf-8")
