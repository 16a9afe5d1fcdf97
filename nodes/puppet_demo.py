"""The node that loads the embedded demo: nothing to download."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .common.types import CATEGORY, PoseKeypoint
from .reranker import hosted_pair, pair_scorer, prompt_inputs, reranker_output

UNET, FLOW, STUDENT = "unet", "flow", "flow, 8 steps"
NETWORKS = (UNET, FLOW, STUDENT)


class PuppetDemo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PuppetDemo",
            display_name="Puppet Demo",
            category=CATEGORY,
            description="A small Stable Diffusion, or a small flow transformer, that draws puppets "
            "of 128 x 128, with its reranker and two puppets to go between. Stable Diffusion has a "
            "ControlNet too. All of it comes with this pack.",
            inputs=[
                *prompt_inputs("a puppet", "a double exposure"),
                io.Combo.Input(
                    "network",
                    options=list(NETWORKS),
                    default=UNET,
                    optional=True,
                    tooltip="The model that draws. unet: a small Stable Diffusion with a "
                    "ControlNet for poses. flow: a small Lumina 2, a flow transformer without a "
                    "ControlNet. flow, 8 steps: the same transformer with a LoRA for 8 steps at "
                    "cfg 1, which makes frames several times faster.",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="Draws puppets."),
                io.Clip.Output(
                    "clip", display_name="clip", tooltip="Reads captions such as 'a red puppet'."
                ),
                io.Vae.Output("vae", display_name="vae", tooltip="Shrinks pictures eight times."),
                io.ControlNet.Output(
                    "control_net",
                    display_name="control_net",
                    tooltip="Holds puppets to poses. Empty with a flow transformer, which has no "
                    "ControlNet: frames are then made without poses.",
                ),
                reranker_output(),
                io.Image.Output(
                    "keyframes", display_name="keyframes", tooltip="Two puppets, 128 x 128."
                ),
                PoseKeypoint.Output(
                    "poses",
                    display_name="poses",
                    tooltip="Their poses, for the ControlNet. Empty with a flow transformer.",
                ),
            ],
        )

    @classmethod
    def execute(cls, positive: str, negative: str, network: str = UNET) -> io.NodeOutput:
        # only who wants puppets waits for these
        from ..diffusion_interpolation.demo import reranker
        from ..diffusion_interpolation.demo.networks import SIZE
        from ..diffusion_interpolation.demo.pair import pair
        from ..diffusion_interpolation.demo.world import poses, render
        from ..diffusion_interpolation.poses.format import write_poses
        from .networks.puppet_networks import load_clip, load_vae

        puppets = pair()
        keyframes = (render(puppets, SIZE) * 255).round() / 255
        model, control_net = _load(network)
        people = write_poses(poses(puppets, SIZE), (SIZE, SIZE))
        return io.NodeOutput(
            model,
            load_clip(padded=network == UNET),
            load_vae(),
            control_net,
            pair_scorer(hosted_pair(reranker()), positive, negative),
            keyframes.movedim(1, -1),
            # FrameBisector takes poses and a ControlNet together or neither
            None if control_net is None else people,
        )


def _load(network: str) -> tuple[Any, Any]:
    """The MODEL and its CONTROL_NET, None where it has none."""
    from .networks.puppet_flow import load_flow
    from .networks.puppet_networks import load_control_net, load_unet

    if network == UNET:
        return load_unet(), load_control_net()
    return load_flow(student=network == STUDENT), None
