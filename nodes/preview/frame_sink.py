"""Takes the frames of a run as they are made: to the output, to files, to the front end."""

from __future__ import annotations

from torch import Tensor

from ...diffusion_interpolation.method.frame_info import FrameInfo
from .files import FrameFiles


class FrameSink:
    """The output of a run, which fills as frames come, in any order.

    `images` `(n, h, w, 3)` in 0..1 is the only copy of all pictures that a run holds: the files are
    written from it, and of the frames themselves only one batch of the model is there at a time.
    The frame cache has pictures of its own besides, within its budget (`memory.py`). `latents` is
    `(n, c, h', w')`; the bisection holds on to the latents of the frames, too, as later frames are
    made from them.
    """

    def __init__(self, files: FrameFiles, count: int, pictures: Tensor, latents: Tensor) -> None:
        """For `count` frames like `pictures` `(., 3, h, w)` and `latents` `(., c, h', w')`."""
        _, channels, height, width = pictures.shape
        self.images = pictures.new_empty(count, height, width, channels)
        self.latents = latents.new_empty(count, *latents.shape[1:])
        self.made: dict[int, FrameInfo] = {}
        self._files = files

    def add(
        self, info: FrameInfo, picture: Tensor, latent: Tensor, thumbnails: Tensor | None = None
    ) -> None:
        """Put a frame in its place; `thumbnails` `(count, h, w, 3)` are those of its candidates.

        Raises `ValueError` if the picture `(3, h, w)` is not of the keyframes' size.
        """
        place = self.images[info.index].movedim(-1, 0)
        if picture.shape != place.shape:
            (_, high, wide), (_, height, width) = picture.shape, place.shape
            raise ValueError(
                f"vae: got a frame of {wide} x {high} from it, needs {width} x {height}, the size "
                "of the keyframes"
            )
        place.copy_(picture)
        self.latents[info.index] = latent
        if info.parents:
            self.made[info.index] = info
        self._files.add(info, place, thumbnails)
