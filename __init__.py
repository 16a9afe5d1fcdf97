"""Diffusion Interpolation: the frames between two pictures, as ComfyUI nodes."""

from comfy_api.latest import ComfyExtension, io

from .nodes.clip_rerank import CLIPRerank
from .nodes.conditioned_denoise import ConditionedDenoise
from .nodes.denoise_probe import DenoiseProbe
from .nodes.frame_bisector import FrameBisector
from .nodes.interpolation_preview import InterpolationPreview
from .nodes.inversion_files import LoadInversion, SaveInversion
from .nodes.keyframe_conditioning import KeyframeConditioning
from .nodes.keyframe_lora import KeyframeLora
from .nodes.load_poses import LoadPoses
from .nodes.match_colors import MatchColors
from .nodes.match_keyframes import MatchKeyframes
from .nodes.match_poses import MatchPoses
from .nodes.noisy_latent_lerp import NoisyLatentLerp
from .nodes.path_metrics import PathMetrics
from .nodes.pose_extract import PoseExtract
from .nodes.preview.memory import watch_prompts
from .nodes.preview.routes import add_routes
from .nodes.puppet_demo import PuppetDemo
from .nodes.reranker import LoadReranker, RerankerFromCLIP
from .nodes.textual_invert import TextualInvert

WEB_DIRECTORY = "./js"


class DiffusionInterpolation(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            TextualInvert,
            PoseExtract,
            NoisyLatentLerp,
            ConditionedDenoise,
            CLIPRerank,
            FrameBisector,
            KeyframeConditioning,
            LoadReranker,
            RerankerFromCLIP,
            SaveInversion,
            LoadInversion,
            PuppetDemo,
            InterpolationPreview,
            MatchPoses,
            LoadPoses,
            PathMetrics,
            MatchKeyframes,
            DenoiseProbe,
            MatchColors,
            KeyframeLora,
        ]


async def comfy_entrypoint() -> ComfyExtension:
    add_routes()
    watch_prompts()
    return DiffusionInterpolation()
