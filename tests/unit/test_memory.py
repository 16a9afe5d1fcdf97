"""Batches that shrink until they fit, and the devices whose memory they use."""

from __future__ import annotations

import pytest
import torch

from diffusion_interpolation.command.job import Job, defaults_of
from diffusion_interpolation.command.networks import resolved
from diffusion_interpolation.models.memory import Batches, accelerators, out_of_memory

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
    RuntimeError("Could not allocate tensor. There is not enough GPU video memory available!"),
    RuntimeError(
        "Native API failed. Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"
    ),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_a_batch_that_does_not_fit_is_halved_in_an_emptied_cache(error):
    emptied, sizes = [], []

    def work(rows: list[int]) -> torch.Tensor:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise error
        return torch.tensor(rows)

    done = Batches(8, lambda: emptied.append(len(sizes))).run(work, 9)
    assert done.tolist() == list(range(9))
    assert sizes == [8, 4, 2, 2, 2, 2, 1] and emptied == [1, 2]


def test_another_error_goes_on():
    assert not out_of_memory(RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="size"):
        Batches(2).run(lambda rows: torch.zeros(2) @ torch.zeros(3), 4)


@pytest.mark.parametrize(
    ("present", "want"),
    [
        ((), "cpu"),
        (("mps",), "mps"),
        (("xpu",), "xpu"),
        (("cuda", "xpu"), "cuda"),
    ],
)
def test_the_command_runs_on_what_there_is(monkeypatch, present, want):
    """This machine is told which devices it has, since no machine has all of them."""
    for name, kind in (("cuda", torch.cuda), ("xpu", torch.xpu), ("mps", torch.backends.mps)):
        monkeypatch.setattr(kind, "is_available", lambda name=name: name in present)
    assert accelerators() == list(present)
    job = resolved(Job.of(defaults_of("demo")))
    assert job.machine.device == want
    assert job.machine.dtype == ("float16" if want == "cuda" else "float32")
