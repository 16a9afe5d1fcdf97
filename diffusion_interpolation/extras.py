"""Packages that a few parts need and ComfyUI does not bring, and the command to install them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import NamedTuple


class Extra(NamedTuple):
    """What a part of ours needs: a module, its package, and packages that ComfyUI may lack."""

    user: str
    module: str
    packages: tuple[str, ...]
    opencv: bool = False
    """Whether OpenCV is needed, too."""


OPENPOSE = Extra(
    "OpenPose",
    "controlnet_aux.open_pose.body",
    (
        *("controlnet-aux", "timm", "scikit-image", "lazy-loader", "imageio", "tifffile"),
        *("importlib-metadata", "zipp"),
    ),
    opencv=True,
)
OPEN_CLIP = Extra(
    "a CLIP of open-clip", "open_clip", ("open-clip-torch", "timm", "ftfy", "wcwidth", "regex")
)

# Four packages bring the module cv2 and overwrite each other; this one needs no display, and runs
# with numpy 1 and 2.
_OPENCV, _OPENCV_MODULE = "opencv-python-headless==4.11.0.86", "cv2"


def install_command(extra: Extra) -> str:
    """Return the command that installs what `extra` lacks, with the Python that runs this.

    It changes no version that is installed: with --no-deps pip leaves every package alone that is
    there, and OpenCV is named only where no package has brought it.
    """
    packages = [*extra.packages]
    if extra.opencv and importlib.util.find_spec(_OPENCV_MODULE) is None:
        packages.append(_OPENCV)
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return f"{python} -m pip install --no-deps {' '.join(packages)}"


def require(option: str, extra: Extra) -> None:
    """Import what `extra` names; raise `ValueError` with the command to type where that fails."""
    try:
        importlib.import_module(extra.module)
    except ImportError as error:
        raise ValueError(
            f"{option}: {extra.user} needs the package {extra.packages[0]} ({error}); to install "
            f"it and change no installed version, type: {install_command(extra)}"
        ) from error
