"""The nodes on all families of image models that the host has, as tiny networks in one process."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import comfy_host
import pytest
from comfy_host import CHECKOUT
from family_table import EDITS, FAMILIES, LEFT_OUT, NO_PICTURES, Family, table

Results = dict[str, dict[str, float]]

TOLERANCE = 1e-4
CONTROLS = [
    "SD 1.5",
    "SDXL, Pony, Illustrious",
    "SD 3, SD 3.5",
    "Flux.1 dev, Krea",
    "Qwen-Image",
    "adapter",
    "adapter of SDXL",
    "union",
]
NAMES = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `family_checks.py` finds in the host."""
    if reason := comfy_host.why_not():
        pytest.skip(reason)
    host, file = comfy_host.find_host(), tmp_path_factory.mktemp("families") / "found.json"
    script = CHECKOUT / "tests" / "support" / "family_checks.py"
    words = [comfy_host.host_python(host), str(script), str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=host, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(file.read_text())


def results(found: dict[str, Any], name: str) -> tuple[Family, Results]:
    """A family and its results, without a check that must be there; skips what hosts lack."""
    family = FAMILIES[name]
    if _version(found["version"]) < _version(family.since):
        assert name not in found["families"], f"{name} is in {found['version']} already"
        pytest.skip(f"ComfyUI has {name} from {family.since} on")
    # a family whose class has another name now would be missing
    return family, found["families"][name]


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


@NAMES
def test_frames_under_two_prompts_of_other_lengths(found, name):
    family, checks = results(found, name)
    if family.draws:
        assert family.draws in checks["frames"]["error"]
        return
    assert checks["frames"]["ends"] == 0
    assert checks["frames"]["deviation"] > 0.02


@NAMES
@pytest.mark.parametrize("check", ["batches", "parts", "host"])
def test_the_same_frame_on_every_way(found, name, check):
    """One by one as all at once; by the parts; by the host's own sampler."""
    family, checks = results(found, name)
    if family.draws and check != "host":
        assert family.draws in checks[check]["error"]
        return
    assert checks[check]["off"] < TOLERANCE


@NAMES
def test_a_keyframe_has_its_own_prompt_alone(found, name):
    _, checks = results(found, name)
    own = checks["own_prompt"]
    assert max(own["off 0"], own["off 1"]) < TOLERANCE < own["other"] / 10


@NAMES
def test_poses_reach_each_frame(found, name):
    family, checks = results(found, name)
    if family.poses:
        assert checks["poses"]["change"] > 0.01
        assert checks["poses"]["off"] < TOLERANCE


@NAMES
def test_edit_models_see_the_keyframes(found, name):
    """One by one as all at once, and half-way as with the host's own reference latents."""
    family, checks = results(found, name)
    seen = checks["references"]
    if name in EDITS:
        assert seen["change"] > 0.01
        assert max(seen["off"], seen["parts"]) < TOLERANCE
    else:
        told = f"reference_latents: this model ({family.config}) takes none, needs an edit model"
        assert (family.draws or told) in seen["error"]


XL = "SDXL", "SSD1B"
TAKES = {
    **{key: {"SD 1.5", "adapter"} for key in ("SD15", "SD15_instructpix2pix")},
    # UNets whose text has another width
    **{key: {"adapter"} for key in ("SD20", "SD21UnclipL", "LotusD")},
    **{key: {"SDXL, Pony, Illustrious", "adapter of SDXL"} for key in XL},
    **{key: {"Flux.1 dev, Krea"} for key in ("Flux", "FluxSchnell", "FluxInpaint", "Chroma")},
    "SD3": {"SD 3, SD 3.5"},
    "QwenImage": {"Qwen-Image"},
}
"""Those of `CONTROLS` that the host's classes of models take."""


@NAMES
def test_control_nets_of_other_families_are_refused(found, name):
    """A Union ControlNet of SDXL, of which no type is set, by SDXL as well."""
    family, checks = results(found, name)
    told = checks["others"]
    assert set(CONTROLS) - set(told) == TAKES.get(family.config, set())
    for kind, words in told.items():
        assert words.startswith("control_net: ")
        unset = kind == "union" and family.config in XL
        assert ("Union ControlNet without a type" if unset else "another family of models") in words


@NAMES
def test_a_video_of_the_keyframes_is_told(found, name):
    family, checks = results(found, name)
    assert "error" not in checks["videos"]
    if family.vae == "wan":
        said = checks["videos"]
        assert said["of 2"].startswith("latents: got 1, needs a batch of at least 2 keyframes; ")
        assert said["of 5"].startswith("latents: got a video of 2 latent frames, needs pictures; ")
        assert all("makes one video of a batch, so encode each" in words for words in said.values())


@NAMES
def test_learning_moves_all_prompts(found, name):
    family, checks = results(found, name)
    learned = checks["learning"]
    if not family.learns:
        assert "nothing of the prompt of this kind of model can be learned" in learned["error"]
        return
    assert learned["fall"] > 0 and learned["moved"] > 1e-3 and learned["change"] > TOLERANCE


@NAMES
def test_each_frame_has_the_loras_of_its_place(found, name):
    """One by one as all at once."""
    family, checks = results(found, name)
    seen = checks["loras"]
    if family.draws:
        assert family.draws in seen["error"]
    elif family.config == "HiDreamO1":
        assert "its gradients cannot be computed" in seen["error"]
    else:
        assert seen["change"] > 1e-3 and seen["off"] < TOLERANCE


@pytest.mark.parametrize("name", ["Flux.1 schnell", "Z-Image"])
def test_weights_of_smaller_types(found, name):
    """They draw much the same frames, by the parts as well, and prompts can be learned."""
    _, checks = results(found, name)
    assert len(checks["halves"]) == 2
    for seen in checks["halves"].values():
        assert 0 < seen["off"] < 0.5 and seen["parts"] < TOLERANCE
        assert seen["fall"] > 0 and seen["moved"] > 1e-3


def test_every_class_of_the_host_is_tried_or_left_out(found):
    tried = {family.config for family in FAMILIES.values()} | set(LEFT_OUT)
    assert [
        name for name in found["classes"] if name not in tried and not name.startswith(NO_PICTURES)
    ] == []


def test_the_table_is_that_of_the_families():
    """`python tests/support/family_table.py` writes it."""
    assert (CHECKOUT / "docs" / "families.md").read_text(encoding="utf-8") == table()
