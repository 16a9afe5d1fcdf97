"""Finds NaN and infinity where they come from, before something else takes the blame."""

from __future__ import annotations

from torch import Tensor


def check_finite(name: str, tensor: Tensor, way_out: str) -> None:
    """Raise `ValueError` where `tensor` `(n, ...)`, the input `name`, is not finite throughout.

    `way_out` tells in a few words what to do.
    """
    if bad := _bad_rows(tensor):
        raise ValueError(
            f"{name}: got NaN or infinity in {bad} of {len(tensor)}, needs finite numbers only; "
            f"{way_out}"
        )


def check_vae(verb: str, given: Tensor, made: Tensor, way_out: str) -> None:
    """Raise `FloatingPointError` where an autoencoder made what is not finite of what was given.

    `verb` says what it did, as "encoded". SDXL's does so in float16, whose numbers end at 65504.
    """
    bad = _bad_rows(made)
    if not bad:
        return
    if _bad_rows(given):
        raise FloatingPointError(
            f"vae: it was given NaN or infinity, so what it {verb} is not finite either"
        )
    raise FloatingPointError(
        f"vae: it {verb} {bad} of {len(made)} pictures to NaN or infinity, as some VAEs do in "
        f"float16; {way_out}"
    )


def _bad_rows(tensor: Tensor) -> int:
    """Return how many rows hold NaN or infinity."""
    finite = tensor.isfinite()
    return 0 if finite.all() else int((~finite.flatten(1).all(1)).sum())
