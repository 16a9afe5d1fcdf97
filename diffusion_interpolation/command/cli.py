"""The command `diffusion-interpolation` makes the frames between two or more pictures."""

from __future__ import annotations

import argparse
import errno
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__

if TYPE_CHECKING:
    from .job import Job

PROGRAM = "diffusion-interpolation"
EXAMPLES = f"""examples:
  {PROGRAM} demo
  {PROGRAM} a.png b.png --out out --model path/to/stable-diffusion --prompt "a photo of a dog"
"""
# Values of options that are not given. The embedded models know only puppets and the flaws in their
# training pictures, and they need a higher learning rate than large models.
DEFAULTS = {
    "prompt": [""],
    "negative": "",
    "cfg": 7.5,
    "learning_rate": 1e-4,
    "draws": 1,
    "augmentations": 16,
    "max_denoise": 0.55,
    "min_denoise": 0.30,
}
EMBEDDED_DEFAULTS = {
    "prompt": ["a puppet"],
    "negative": "a double exposure",
    "cfg": 2.0,
    "learning_rate": 0.25,
    "draws": 4,
    "augmentations": 0,
    "max_denoise": 0.55,
    "min_denoise": 0.30,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in ("httpx", "diffusers", "transformers", "PIL"):
        logging.getLogger(name).setLevel(logging.ERROR)
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run_demo(words[1:]) if words[:1] == ["demo"] else _run_images(words)
    except KeyboardInterrupt:
        return _fail(
            "interrupted; finished frames are kept, and the same command continues from them", 130
        )
    except (ValueError, FloatingPointError) as error:
        return _fail(str(error))
    except ImportError as error:
        return _fail(f"{error}; the command needs the extra 'cli': pip install \".[cli]\"")
    except OSError as error:
        return _fail(_disk_trouble(error))
    except RuntimeError as error:
        from ..models.memory import out_of_memory

        if not out_of_memory(error):
            raise
        return _fail("out of memory; try --dtype float16, --checkpointing, or a smaller --size")


def _fail(text: str, status: int = 1) -> int:
    print(f"{PROGRAM}: {' '.join(text.split())}", file=sys.stderr)
    return status


def _disk_trouble(error: OSError) -> str:
    place = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"out: no space left to write{place}; finished frames are kept"
    return f"{error.strerror or error}{place}"


def _run_images(words: list[str]) -> int:
    options = _parser().parse_args(words)
    return _finish(options, _job(options))


def _run_demo(words: list[str]) -> int:
    options = _demo_parser().parse_args(words)
    from ..demo.pair import write_pair
    from .job import EMBEDDED

    if options.out.exists() and not options.out.is_dir():
        raise ValueError(f"out: {options.out} is a file, needs a folder")
    options.images, poses = write_pair(options.out / "inputs")
    if options.model == EMBEDDED:
        options.pose = poses
    options.out = options.out / "run"
    return _finish(options, _job(options))


def _finish(options: argparse.Namespace, job: Job) -> int:
    from .run import run

    page = run(job)
    _print(f"{job.frames} frames in {job.out / 'frames'}; open {page}")
    return 0


def _print(text: str) -> None:
    """Print text with paths, of which the encoding of a Windows pipe may lack characters."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _job(options: argparse.Namespace) -> Job:
    """The job that the options describe, with the defaults that depend on others."""
    from ..method.bisection import Settings
    from ..method.inversion import InversionSettings
    from .job import EMBEDDED, EMBEDDED_MODELS, Job, ModelChoice

    embedded = options.model in EMBEDDED_MODELS
    given = {name: value for name, value in vars(options).items() if value is not None}
    values = defaults_of(options.model) | given
    device = values.setdefault("device", _best_device())
    values.setdefault("dtype", "float16" if device.startswith("cuda") else "float32")
    values |= {"prompts": values["prompt"], "poses": values.get("pose", [])}
    if embedded and "controlnet" in values:
        raise ValueError(
            f"controlnet: got {options.controlnet}, but the embedded models take none from outside"
        )
    if options.model == EMBEDDED and values["poses"]:
        values["controlnet"] = EMBEDDED
    values["networks"], values["bisection"] = _of(ModelChoice, values), _of(Settings, values)
    values["inversion"] = InversionSettings(
        steps=values["inversion_steps"],
        **{
            name: values[name]
            for name in ("learning_rate", "draws", "augmentations", "cfg", "seed")
        },
    )
    return _of(Job, values)


def defaults_of(model: str) -> dict[str, Any]:
    """What is used where an option is not given, by the value of `--model`."""
    from .job import EMBEDDED_MODELS

    return EMBEDDED_DEFAULTS if model in EMBEDDED_MODELS else DEFAULTS


def _of(kind: Any, values: dict[str, Any]) -> Any:
    """An instance of a data class from those of `values` that it has fields for."""
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in names})


def _best_device() -> str:
    from ..models.memory import accelerators

    return next(iter(accelerators()), "cpu")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="two or more pictures, in order"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the results"
    )
    _add_text_options(parser)
    _add_path_options(parser)
    _add_picture_options(parser)
    _add_output_options(parser)
    _add_model_options(parser)
    _add_machine_options(parser)
    return parser


def _demo_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} demo",
        description="Make the frames between two puppets with an embedded model. The small Stable "
        "Diffusion has a ControlNet for their poses; the flow transformer has none.",
    )
    parser.add_argument(
        "--model",
        choices=("demo", "demo-flow"),
        default="demo",
        help="a small Stable Diffusion, or a small flow transformer (default: demo)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo-out"),
        metavar="DIR",
        help="folder for the puppets and the results (default: demo-out)",
    )
    _add_text_options(parser)
    _add_path_options(parser)
    _add_output_options(parser)
    _add_machine_options(parser)
    return parser


def _add_text_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("text")
    group.add_argument(
        "--prompt",
        action="append",
        metavar="TEXT",
        help="describes what all images show; repeat the option to describe each image",
    )
    group.add_argument(
        "--negative-prompt",
        dest="negative",
        metavar="TEXT",
        help="describes what the frames should not look like",
    )
    group.add_argument(
        "--rerank-prompt",
        default="",
        metavar="TEXT",
        help="describes what the best candidate looks like (default: the prompts)",
    )
    group.add_argument(
        "--rerank-negative",
        default="",
        metavar="TEXT",
        help="describes what the best candidate does not look like (default: the negative prompt)",
    )
    group.add_argument(
        "--inversion-steps",
        type=int,
        default=100,
        metavar="N",
        help="steps of learning a prompt from the images; more steps follow the images more "
        "closely, 0 uses the prompt as it is (default: 100)",
    )
    group.add_argument(
        "--learning-rate",
        type=float,
        metavar="X",
        help="size of each learning step (default: 1e-4; 0.25 for the embedded models)",
    )
    group.add_argument(
        "--draws",
        type=int,
        metavar="N",
        help="how many times noise is drawn for each image in a learning step; higher values learn "
        "more evenly and take longer (default: 1; 4 for the embedded models)",
    )
    group.add_argument(
        "--augmentations",
        type=int,
        metavar="N",
        help="how many altered copies of each image are used for learning, so that specks are not "
        "learned (default: 16; 0 for the embedded models)",
    )
    group.add_argument(
        "--checkpointing",
        action="store_true",
        help="learn with less memory, which takes about a third more time",
    )


def _add_path_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("frames")
    group.add_argument(
        "--frames",
        type=int,
        default=17,
        metavar="N",
        help="number of frames, the inputs included (default: 17)",
    )
    group.add_argument(
        "--steps",
        type=int,
        default=20,
        help="DDIM steps of the whole schedule; a frame uses the fraction of them that is its "
        "denoise (default: 20)",
    )
    group.add_argument(
        "--cfg",
        type=float,
        help="scale of guidance; higher values follow the prompt more closely (default: 7.5; 2 for "
        "the embedded models)",
    )
    group.add_argument(
        "--levels",
        type=float,
        nargs=2,
        metavar=("HIGH", "LOW"),
        action=_Levels,
        default=argparse.SUPPRESS,
        help="denoise of the frame half-way and of the last frames; higher values invent more "
        "(default: 0.55 0.3)",
    )
    group.add_argument(
        "--curve",
        choices=("linear", "convex", "concave"),
        default="linear",
        help="how the denoise falls from HIGH to LOW: evenly, mostly at the start, or mostly at "
        "the end (default: linear)",
    )
    group.add_argument(
        "--blend",
        choices=("slerp", "lerp", "exact"),
        default="lerp",
        help="how two noisy neighbours are mixed; slerp is the paper's choice (default: lerp)",
    )
    group.add_argument(
        "--candidates",
        type=int,
        default=4,
        metavar="N",
        help="number of candidates for the frame half-way; each later depth has one fewer, but not "
        "fewer than 3 (default: 4)",
    )
    group.add_argument(
        "--smoothness_weight",
        type=float,
        default=4.0,
        metavar="X",
        help="weight of similarity to the neighbouring frames when candidates are ranked; higher "
        "values give a smoother path, 0 ranks by the prompt alone (default: 4)",
    )
    group.add_argument(
        "--rank-fraction",
        type=float,
        default=0.5,
        metavar="X",
        help="fraction of the steps after which candidates are ranked; only the best one is then "
        "finished, and at 1 all are finished before the ranking (default: 0.5)",
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        help="the same seed gives the same frames; another seed gives other frames (default: 0)",
    )


class _Levels(argparse.Action):
    """Store the two numbers of `--levels` in two settings."""

    def __call__(self, parser: Any, options: Any, values: Any, flag: Any = None) -> None:
        options.max_denoise, options.min_denoise = values


def _add_picture_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures and poses")
    group.add_argument(
        "--size",
        type=_size,
        metavar="WxH",
        help="size of the frames (default: the size of the first image)",
    )
    group.add_argument(
        "--fit",
        choices=("cover", "contain", "stretch"),
        default="cover",
        help="how an image of another size is brought to the size of the frames (default: cover)",
    )
    group.add_argument(
        "--pose",
        nargs="+",
        type=Path,
        metavar="JSON",
        help="OpenPose files, one for each image; they need --controlnet or --model demo",
    )
    group.add_argument(
        "--people",
        choices=("largest", "all"),
        default="largest",
        help="whether the largest person of each image is used, or everyone (default: largest)",
    )
    group.add_argument(
        "--pairing",
        choices=("left to right", "distance"),
        default="left to right",
        help="how the people of one image are paired with those of the next, with --people all: in "
        "this order, or so that joints move as little as possible (default: left to right)",
    )
    group.add_argument(
        "--pose-motion",
        dest="motion",
        choices=("swing", "straight"),
        default="swing",
        help="whether arms and legs turn about their joints, or every joint moves on a straight "
        "line (default: swing)",
    )
    group.add_argument(
        "--fill-joints",
        action="store_true",
        help="add a joint that an image lacks at the place where the other images have it, instead "
        "of leaving it out",
    )


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--fps",
        type=float,
        default=12.0,
        help="frames per second of the WebP and the mp4 (default: 12)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace another run in the folder of --out"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("networks")
    group.add_argument(
        "--model",
        default="demo",
        metavar="PATH",
        help="a folder in the layout of diffusers, or a .safetensors file together with --config; "
        "demo and demo-flow are embedded models (default: demo)",
    )
    group.add_argument(
        "--config", metavar="DIR", help="folder with the configurations for a single file"
    )
    group.add_argument(
        "--controlnet", metavar="DIR", help="folder of an OpenPose ControlNet, for --pose"
    )
    group.add_argument(
        "--reranker",
        metavar="PATH",
        help="a CLIP that ranks candidates: a folder, or a .safetensors file of open-clip",
    )
    group.add_argument(
        "--reranker-architecture",
        default="ViT-L-14-quickgelu",
        metavar="NAME",
        help="architecture of the open-clip file (default: ViT-L-14-quickgelu)",
    )
    group.add_argument(
        "--allow-download",
        action="store_true",
        help="--model, --config and --controlnet may be OWNER/NAME or OWNER/NAME@REVISION on the "
        "Hugging Face hub; path.json says which commit was fetched",
    )


def _add_machine_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine")
    group.add_argument(
        "--device", help="cuda, xpu, mps or cpu (default: the first of these that the machine has)"
    )
    group.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        help="type of the networks' numbers (default: float16 on cuda, otherwise float32)",
    )
    group.add_argument(
        "--max-batch",
        type=int,
        default=16,
        help="how many candidates are denoised together; the frames do not depend on it (default: "
        "16)",
    )


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or not all(int(side) for side in found.groups()):
        raise argparse.ArgumentTypeError(f"got {text!r}, needs WIDTHxHEIGHT, such as 512x512")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    sys.exit(main())
