"""The embedded demo's networks in the host's own model classes.

Their weights are in diffusers' names; the host's classes have those of the original checkpoints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.latent_formats
import comfy.model_base
import comfy.model_management as memory
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.utils
import torch
from torch import Tensor, nn

from ...diffusion_interpolation.demo import weights_folder
from ...diffusion_interpolation.demo.networks import LATENT_SCALE

HEADS = 4
AUTOENCODER_GROUPS = 8
AUTOENCODER = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 128,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 2, 3, 3],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
}
UNET = {
    "image_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 64,
    "num_res_blocks": [1, 1, 1],
    "channel_mult": [1, 2, 2],
    "transformer_depth": [0, 1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [0, 0, 1, 1, 1, 1],
    "context_dim": 128,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "legacy": False,
    "use_checkpoint": False,
}

Rules = Iterable[tuple[str, str]]

_VAE_NAMES: Rules = (
    (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    # up blocks are counted from the picture's end
    *((rf"up_blocks\.{i}\.resnets\.(\d)", rf"up.{3 - i}.block.\1") for i in range(4)),
    *((rf"up_blocks\.{i}\.upsamplers\.0", f"up.{3 - i}.upsample") for i in range(4)),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"attn_1\.group_norm", "attn_1.norm"),
    (r"attn_1\.to_([qkv])", r"attn_1.\1"),
    (r"attn_1\.to_out\.0", "attn_1.proj_out"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
)
_CONTROL_NAMES: Rules = (
    (r"^controlnet_mid_block\.", "middle_block_out.0."),
    (r"^controlnet_down_blocks\.(\d+)\.", r"zero_convs.\1.0."),
    (r"^controlnet_cond_embedding\.conv_in\.", "input_hint_block.0."),
    *(
        (rf"^controlnet_cond_embedding\.blocks\.{i}\.", f"input_hint_block.{2 * i + 2}.")
        for i in range(6)
    ),
    (r"^controlnet_cond_embedding\.conv_out\.", "input_hint_block.14."),
)


class PuppetLatent(comfy.latent_formats.LatentFormat):
    """The demo's latents; the factors fit their colours by least squares, for previews."""

    scale_factor = LATENT_SCALE
    spacial_downscale_ratio = 8
    latent_rgb_factors = (
        (-1.086, -0.623, 0.011),
        (-0.586, -0.439, -0.127),
        (0.300, 0.273, 0.096),
        (1.127, 0.682, 0.071),
    )
    latent_rgb_factors_bias = (0.319, 0.120, -0.020)


class Puppet(comfy.supported_models.SD15):
    """Stable Diffusion 1 in miniature, predicting v."""

    unet_config = UNET
    unet_extra_config = {"num_heads": HEADS, "num_head_channels": -1}  # noqa: RUF012
    latent_format = PuppetLatent

    def model_type(self, *_: Any, **__: Any) -> comfy.model_base.ModelType:
        return comfy.model_base.ModelType.V_PREDICTION


class PuppetText(comfy.sd1_clip.SDClipModel):
    """The text tower: the states after the last layer, as in Stable Diffusion 1."""

    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> None:
        config = _config("text_encoder")
        special = {name: config[f"{key}_token_id"] for name, key in _SPECIAL.items()}
        super().__init__(
            device=device,
            dtype=dtype,
            max_length=config["max_position_embeddings"],
            textmodel_json_config=config,
            special_tokens=special,
            return_projected_pooled=False,
            model_options=model_options or {},
        )
        # the host's class has a fixed vocabulary
        self.transformer.set_input_embeddings(
            self.operations.Embedding(
                config["vocab_size"], config["hidden_size"], dtype=dtype, device=device
            )
        )


_SPECIAL = {"start": "bos", "end": "eos", "pad": "pad"}


class PuppetTokenizer(comfy.sd1_clip.SDTokenizer):
    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        from transformers import CLIPTokenizerFast

        config = _config("text_encoder")
        super().__init__(
            str(weights_folder() / "tokenizer"),
            max_length=config["max_position_embeddings"],
            embedding_directory=embedding_directory,
            embedding_size=config["hidden_size"],
            tokenizer_class=CLIPTokenizerFast,
            tokenizer_data=tokenizer_data or {},
        )


class _TextTower(comfy.sd1_clip.SD1ClipModel):
    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> None:
        super().__init__(device, dtype, model_options or {}, clip_model=PuppetText)


class _UnpaddedTextTower(_TextTower):
    """The states of a caption's own tokens alone, as the flow transformer was trained.

    The host's CLIP reads only captions that are filled up, so the rest is cut off afterwards.
    """

    def encode_token_weights(self, token_weight_pairs: dict[str, Any]) -> Any:
        states, *rest = super().encode_token_weights(token_weight_pairs)
        chunks = token_weight_pairs[self.clip_name]
        kept = [inside for chunk in chunks for inside in _until_end(chunk)]
        return (states[:, torch.tensor(kept, device=states.device)], *rest)


class _Tokenizer(comfy.sd1_clip.SD1Tokenizer):
    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        super().__init__(embedding_directory, tokenizer_data or {}, tokenizer=PuppetTokenizer)


def _until_end(chunk: list[tuple[Any, float]]) -> list[bool]:
    """Which tokens are not padding: those up to the first end of a caption."""
    end = _config("text_encoder")["eos_token_id"]
    # an embedding of the user's is a tensor
    ends = [isinstance(token, int) and token == end for token, _ in chunk]
    length = ends.index(True) + 1 if any(ends) else len(chunk)
    return [place < length for place in range(len(chunk))]


def load_unet() -> Any:
    """The UNet as a MODEL."""
    device = memory.get_torch_device()
    dtype = memory.unet_dtype(supported_dtypes=[torch.float16, torch.bfloat16, torch.float32])
    config = Puppet(UNET)
    config.set_inference_dtype(dtype, memory.unet_manual_cast(dtype, device))
    model = config.get_model({}, "", device=memory.unet_offload_device())
    names = comfy.utils.unet_to_diffusers(UNET)
    weights = {names[key]: tensor.to(dtype) for key, tensor in read_weights("unet").items()}
    _load(model.diffusion_model, weights)
    return comfy.model_patcher.ModelPatcher(model, device, memory.unet_offload_device())


def load_clip(padded: bool = True) -> comfy.sd.CLIP:
    """The text encoder and its tokenizer as a CLIP; the flow transformer takes unpadded texts."""
    tower = _TextTower if padded else _UnpaddedTextTower
    target = comfy.supported_models_base.ClipTarget(_Tokenizer, tower)
    clip = comfy.sd.CLIP(target)
    weights = {f"text_model.{key}": tensor for key, tensor in read_weights("text_encoder").items()}
    tower = clip.cond_stage_model.clip_l.transformer
    # Stable Diffusion 1 conditions on states alone; the projection is the reranker's
    weights["text_projection.weight"] = torch.eye(tower.text_projection.in_features)
    _load(tower, weights)
    return clip


def load_vae() -> comfy.sd.VAE:
    """The autoencoder as a VAE, shrinking eight times."""
    weights = _renamed(read_weights("vae"), _VAE_NAMES)
    # the host's attention is written with convolutions of one pixel
    pattern = re.compile(r"attn_1\.(q|k|v|proj_out)\.weight")
    weights = {k: w[:, :, None, None] if pattern.search(k) else w for k, w in weights.items()}
    vae = comfy.sd.VAE(sd=weights, config={"params": {"ddconfig": AUTOENCODER, "embed_dim": 4}})
    for module in vae.first_stage_model.modules():
        if isinstance(module, nn.GroupNorm):
            module.num_groups = AUTOENCODER_GROUPS
    return vae


def load_control_net() -> comfy.controlnet.ControlNet:
    """The pose ControlNet as a CONTROL_NET; its hints are eight times as large as latents."""
    device = memory.get_torch_device()
    dtype = memory.unet_dtype(supported_dtypes=[torch.float16, torch.bfloat16, torch.float32])
    cast = memory.unet_manual_cast(dtype, device)
    operations = comfy.ops.manual_cast if cast is not None else comfy.ops.disable_weight_init
    network = comfy.cldm.cldm.ControlNet(
        **UNET, hint_channels=3, num_heads=HEADS, dtype=dtype, operations=operations
    )
    names = comfy.utils.unet_to_diffusers(UNET)
    weights = {names.get(key, key): w.to(dtype) for key, w in read_weights("controlnet").items()}
    _load(network, _renamed(weights, _CONTROL_NAMES))
    return comfy.controlnet.ControlNet(network.eval(), load_device=device, manual_cast_dtype=cast)


def _load(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load all of `weights` and nothing else; a host may take their type for its own."""
    network.load_state_dict(weights, strict=True)
    network.requires_grad_(False)


def read_weights(part: str) -> dict[str, Tensor]:
    """The embedded weights in the folder `part`, in diffusers' names."""
    [file] = (weights_folder() / part).glob("*.safetensors")
    return comfy.utils.load_torch_file(str(file), safe_load=True)


def _config(part: str) -> dict[str, Any]:
    return json.loads(Path(weights_folder() / part / "config.json").read_text(encoding="utf-8"))


def _renamed(weights: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    renamed = {}
    for key, tensor in weights.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        renamed[key] = tensor
    return renamed
