"""The types of wires that ComfyUI itself does not have."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "Diffusion Interpolation"

PoseKeypoint = io.Custom("POSE_KEYPOINT")
"""As comfyui_controlnet_aux makes it: a list of one dict a picture."""

Reranker = io.Custom("RERANKER")
"""A `Scorer` of `scoring/contract.py`: any function from pictures to one number each."""

CorrespondenceType = io.Custom("CORRESPONDENCE")
"""A list with a `Correspondence` (`method/matching/`) for each gap between keyframes."""

INVERSION_KEY = "diffusion_interpolation"
"""Under it a learned CONDITIONING holds what it was made with; the host passes such keys on."""

KEYFRAME_KEY = "diffusion_interpolation_keyframe"
"""Under it each entry of a CONDITIONING of several prompts holds the number of its keyframe."""
