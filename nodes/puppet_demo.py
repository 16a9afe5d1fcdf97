"""The node that loads the embedded demo: nothing to download."""

from __future__ import annotations

from comfy_api.latest import io

from .reranker import hosted_pair, pair_scorer, prompt_inputs, reranker_output
from .types import CATEGORY, PoseKeypoint


class PuppetDemo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PuppetDemo",
            display_name="Puppet Demo",
            category=CATEGORY,
            description="A small Stable Diffusion that draws puppets of 64 x 64, with its "
            "ControlNet, its reranker, and two puppets to go between. It comes with this pack.",
            inputs=prompt_inputs("a puppet", "a double exposure"),
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="Draws puppets."),
                io.Clip.Output(
                    "clip", display_name="clip", tooltip="Reads captions such as 'a red puppet'."
                ),
                io.Vae.Output("vae", display_name="vae", tooltip="Shrinks pictures four times."),
                io.ControlNet.Output(
                    "control_net", display_name="control_net", tooltip="Holds puppets to poses."
                ),
                reranker_output(),
                io.Image.Output(
                    "keyframes", display_name="keyframes", tooltip="Two puppets, 64 x 64."
                ),
                PoseKeypoint.Output("poses", display_name="poses", tooltip="Their poses."),
            ],
        )

    @classmethod
    def execute(cls, positive: str, negative: str) -> io.NodeOutput:
        # only who wants puppets waits for these
        from ..diffusion_interpolation.demo import reranker
        from ..diffusion_interpolation.demo.networks import SIZE
        from ..diffusion_interpolation.demo.pair import pair
        from ..diffusion_interpolation.demo.world import poses, render
        from ..diffusion_interpolation.pose_format import write_poses
        from .puppet_networks import load_clip, load_control_net, load_unet, load_vae

        puppets = pair()
        keyframes = (render(puppets, SIZE) * 255).round() / 255
        return io.NodeOutput(
            load_unet(),
            load_clip(),
            load_vae(),
            load_control_net(),
            pair_scorer(hosted_pair(reranker()), positive, negative),
            keyframes.movedim(1, -1),
            write_poses(poses(puppets, SIZE), (SIZE, SIZE)),
        )
