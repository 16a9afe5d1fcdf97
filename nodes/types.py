"""The types of wires that ComfyUI itself does not have."""

from __future__ import annotations

from collections.abc import Callable

from comfy_api.latest import io
from torch import Tensor

CATEGORY = "Diffusion Interpolation"

PoseKeypoint = io.Custom("POSE_KEYPOINT")
"""As comfyui_controlnet_aux makes it: a list of one dict a picture."""

Reranker = io.Custom("RERANKER")
"""A `Scorer`: from pictures `(n, 3, h, w)` in 0..1 to one number each, the highest wins."""

Scorer = Callable[[Tensor], Tensor]

INVERSION_KEY = "diffusion_interpolation"
"""Under it a learned CONDITIONING holds what it was made with; the host passes such keys on."""
