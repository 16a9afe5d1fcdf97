"""Reads the parts of models from diffusers' folders, and of Stable Diffusion from single files.

Only safetensors are read, nothing is fetched unless that was asked for, and what is read must be
complete. Everything else is a `ValueError` that names the place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...hub import HubModel

if TYPE_CHECKING:
    from diffusers import ControlNetModel

_STABLE_DIFFUSION = {
    "vae": ("AutoencoderKL",),
    "unet": ("UNet2DConditionModel",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection", None),
}
"""The classes that a part may have, by its name in `model_index.json`; None: it may be missing."""

_LUMINA = {
    "vae": ("AutoencoderKL",),
    "transformer": ("Lumina2Transformer2DModel",),
    # the small one is that of the demo
    "text_encoder": ("Gemma2Model", "CLIPTextModel"),
}


def load_folder(path: str | Path, dtype: torch.dtype, allow_download: bool) -> dict[str, Any]:
    """The parts in a folder of diffusers' layout, by the names `DiffusersModel` has for them."""
    import diffusers

    folder = model_folder(path, allow_download)
    classes = _part_classes(folder, _STABLE_DIFFUSION)
    encoders = [name for name in classes if name.startswith("text")]
    return {
        **_load_vae_and_scheduler(folder),
        "unet": _load_weights(diffusers.UNet2DConditionModel, folder / "unet", torch_dtype=dtype),
        "text_encoders": [_load_encoder(folder, name, classes[name]) for name in encoders],
        "tokenizers": [_load_tokenizer(folder, name) for name in encoders],
    }


def load_flow_folder(path: str | Path, dtype: torch.dtype, allow_download: bool) -> dict[str, Any]:
    """As `load_folder`, by the names `DiffusersFlow` has for the parts."""
    import diffusers

    folder = model_folder(path, allow_download)
    kind = _part_classes(folder, _LUMINA)["text_encoder"]
    network, place = diffusers.Lumina2Transformer2DModel, folder / "transformer"
    return {
        **_load_vae_and_scheduler(folder),
        "transformer": _load_weights(network, place, torch_dtype=dtype),
        "text_encoder": _load_encoder(folder, "text_encoder", kind, dtype=dtype),
        "tokenizer": _load_tokenizer(folder, "text_encoder", kind == "CLIPTextModel"),
    }


def model_folder(path: str | Path, allow_download: bool) -> Path:
    """The folder of a model, which `allow_download` lets be fetched from the hub."""
    return _folder("model", path, allow_download, _fetch_pipeline)


def pipeline_name(folder: Path) -> str:
    """The class of diffusers' pipeline that a folder was saved from."""
    return str(_read_index(folder).get("_class_name"))


def has_unet(folder: Path) -> bool:
    """Whether a folder has the denoiser of Stable Diffusion."""
    return _class_name(_read_index(folder), "unet") in _STABLE_DIFFUSION["unet"]


def _load_vae_and_scheduler(folder: Path) -> dict[str, Any]:
    import diffusers

    return {
        # read in full precision, because that may be what it runs in
        "vae": _load_weights(diffusers.AutoencoderKL, folder / "vae", torch_dtype=torch.float32),
        "scheduler": _read_json(folder / "scheduler" / "scheduler_config.json"),
    }


def _load_encoder(folder: Path, name: str, kind: str, **options: Any) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    return _load_weights(getattr(transformers, kind), folder / name, **options)


def load_controlnet(
    path: str | Path | None, dtype: torch.dtype, allow_download: bool
) -> ControlNetModel | None:
    """The ControlNet in a folder, if one is given."""
    if path is None:
        return None
    from diffusers import ControlNetModel

    folder = _folder("controlnet", path, allow_download, _fetch_controlnet)
    return _load_weights(ControlNetModel, folder, torch_dtype=dtype)


def load_single_file(
    path: str | Path, config: str | Path, dtype: torch.dtype, allow_download: bool
) -> dict[str, Any]:
    """The parts in one file of the original layout; their configurations are in a folder."""
    import diffusers

    file = Path(path)
    _check_single_file(file)
    folder = _folder("config", config, allow_download, _fetch_configs)
    classes = _part_classes(folder, _STABLE_DIFFUSION)
    encoders = [name for name in classes if name.startswith("text")]
    xl = len(encoders) == 2
    pipeline = diffusers.StableDiffusionXLPipeline if xl else diffusers.StableDiffusionPipeline
    unused = dict.fromkeys(("safety_checker", "feature_extractor", "image_encoder"))
    options = {"config": str(folder), "local_files_only": True}
    with _readable(file):
        # read in full precision, because that may be what it runs in
        vae = diffusers.AutoencoderKL.from_single_file(
            str(file), subfolder="vae", torch_dtype=torch.float32, **options
        )
        parts = pipeline.from_single_file(
            str(file), vae=vae, torch_dtype=dtype, **options, **unused
        ).components
    names = ["vae", "unet", *encoders]
    weights = ((name, *item) for name in names for item in parts[name].named_parameters())
    _check_complete(file, [f"{name}.{key}" for name, key, tensor in weights if tensor.is_meta])
    return {
        "vae": parts["vae"],
        "unet": parts["unet"],
        "scheduler": _read_json(folder / "scheduler" / "scheduler_config.json"),
        "text_encoders": [parts[name] for name in encoders],
        "tokenizers": [_load_tokenizer(folder, name) for name in encoders],
    }


def _check_single_file(file: Path) -> None:
    from diffusers.utils import is_accelerate_available

    if file.suffix != ".safetensors":
        raise ValueError(f"model: {file} is no safetensors file, and no other weights are read")
    if not file.is_file():
        raise ValueError(f"model: there is no file {file}")
    if not is_accelerate_available():
        # diffusers then leaves missing weights random and does not tell
        raise ValueError("model: to read a single file, the package accelerate is needed")


def _folder(
    name: str, path: str | Path, allow_download: bool, fetch: Callable[[HubModel], str]
) -> Path:
    """The local folder `path`, or the one to which the hub's model of that id was fetched."""
    folder = Path(path)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ValueError(f"{name}: {path} is a file, needs a folder in diffusers' layout")
    model = HubModel.parse(str(path))
    if model is None:
        raise ValueError(f"{name}: there is no folder {path}")
    if not allow_download:
        raise ValueError(
            f"{name}: {path} is no local folder; "
            "--allow-download would fetch it from the Hugging Face hub"
        )
    try:
        return Path(fetch(model))
    except OSError as error:
        raise ValueError(f"{name}: {path} cannot be fetched: {_first_line(error)}") from error


def _fetch_pipeline(model: HubModel) -> str:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.download(
        model.name, revision=model.revision, use_safetensors=True, safety_checker=None
    )


def _fetch_configs(model: HubModel) -> str:
    return _fetch_files(model, ["*.json", "*.txt"])


def _fetch_controlnet(model: HubModel) -> str:
    return _fetch_files(model, ["config.json", "diffusion_pytorch_model.safetensors"])


def _fetch_files(model: HubModel, patterns: list[str]) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(model.name, revision=model.revision, allow_patterns=patterns)


def _part_classes(folder: Path, wanted: Mapping[str, tuple[str | None, ...]]) -> dict[str, str]:
    """The class of each part that a folder in diffusers' layout has, of those `wanted`."""
    index, found = _read_index(folder), {}
    for name, classes in wanted.items():
        got = _class_name(index, name)
        if got not in classes:
            needed = " or ".join(kind for kind in classes if kind)
            raise ValueError(
                f"model: {folder} has {got} as its {name}, needs {needed}; "
                "the models supported are Stable Diffusion 1, 2 and XL, and Lumina 2"
            )
        if got is not None:
            found[name] = got
    return found


def _read_index(folder: Path) -> dict[str, Any]:
    file = folder / "model_index.json"
    if not file.is_file():
        raise ValueError(
            f"model: {folder} has no model_index.json, needs a folder in diffusers' layout"
        )
    return _read_json(file)


def _class_name(index: Mapping[str, Any], part: str) -> str | None:
    """The class of a part in `model_index.json`, where it stands after its library."""
    return (index.get(part) or (None, None))[1]


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"model: {file} cannot be read: {_first_line(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"model: {file} holds a {type(content).__name__}, needs a JSON object")
    return content


def _load_tokenizer(folder: Path, encoder: str, is_clip: bool = True) -> Any:
    import transformers

    place = folder / encoder.replace("text_encoder", "tokenizer")
    # without them transformers makes a tokenizer that knows no words
    if not any((place / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise ValueError(f"model: {place} has no vocab.json, needs the files of a tokenizer")
    kind = transformers.CLIPTokenizer if is_clip else transformers.AutoTokenizer
    with _readable(place):
        return kind.from_pretrained(place, local_files_only=True)


def _load_weights(kind: Any, folder: Path, **options: Any) -> Any:
    """The network of class `kind` in `folder`."""
    variant = _variant(folder)
    with _readable(folder):
        network, report = kind.from_pretrained(
            folder,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    _check_complete(folder, sorted(report["missing_keys"]))
    return network


def _variant(folder: Path) -> str | None:
    """Which of its weights to read: those in half precision only where there are no others."""
    names = [file.name for file in folder.glob("*.safetensors")]
    if not names:
        others = sorted(file.name for file in folder.glob("*") if file.suffix in (".bin", ".ckpt"))
        beside = f", and {', '.join(others)} is not read" if others else ""
        raise ValueError(f"model: {folder} has no safetensors{beside}")
    return "fp16" if all(".fp16" in name for name in names) else None


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    """Within, whatever goes wrong in reading is a `ValueError` that names `place`."""
    from diffusers.loaders.single_file_utils import SingleFileComponentError
    from safetensors import SafetensorError

    known = OSError, RuntimeError, ValueError, KeyError, SafetensorError, SingleFileComponentError
    try:
        yield
    except NotImplementedError as error:
        # torch's word for moving tensors that were left without data
        raise ValueError(f"model: {place} lacks weights that its configuration names") from error
    except known as error:
        raise ValueError(f"model: {place} cannot be read: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_complete(place: Path, missing: list[str]) -> None:
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"model: {place} lacks the weights {missing[0]}{more}")
