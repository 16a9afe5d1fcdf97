from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from diffusion_interpolation.models.checkpointing import (
    MAX_LATENTS,
    USABLE,
    Kept,
    blocks,
    checkpoints,
    plan,
    saving_copies,
)


class Block(nn.Module):
    """A residual block; `change` is done to what it was given, in place."""

    def __init__(self, change: str = "") -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.change = change

    def forward(self, x: torch.Tensor, options: dict[str, torch.Tensor]) -> torch.Tensor:
        y = self.first(self.norm(x) * options["scale"]).tanh()
        if self.change == "random":
            y = y * torch.rand(y.shape)
        y = self.second(y.square())
        if self.change == "in place":
            # both have been used, and are needed on the way back
            options["scale"].mul_(1.5)
            return x.mul_(y).mul_(2.0)
        return x + y


class Network(nn.Module):
    def __init__(self, change: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.start = nn.Linear(8, 8)
        self.layers = nn.ModuleList([Block(change), nn.Sequential(Block(change)), Block()])
        self.requires_grad_(False)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x, options = self.start(text), {"scale": text * 2}
        for block in (self.layers[0], self.layers[1][0], self.layers[2]):
            x = block(x, options)
        return x.sin()


def gradient(network: Network, **around: object) -> torch.Tensor:
    text = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    torch.manual_seed(2)
    with around.get("hooks", torch.enable_grad()):
        loss = network(text).square().sum()
    # what comes between must not change what a block draws when it runs again
    torch.rand(3)
    if not around.get("thread"):
        return torch.autograd.grad(loss, [text])[0]
    # as on a GPU, whose way back is a thread of autograd's own
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.autograd.grad, loss, [text]).result()[0]


def numeric(network: Network) -> torch.Tensor:
    """The gradient of the same by differences."""
    text = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1)).double()
    network = network.double()
    found = torch.zeros_like(text)
    for index in range(text.numel()):
        ends = []
        for sign in (1, -1):
            moved = text.clone()
            moved.view(-1)[index] += sign * 1e-6
            torch.manual_seed(2)
            ends.append(network(moved).square().sum())
        found.view(-1)[index] = (ends[0] - ends[1]) / 2e-6
    network.float()
    return found.float()


def test_blocks_are_the_highest_modules_that_are_no_lists():
    network = Network()
    assert blocks(network) == [network.layers[0], network.layers[1][0], network.layers[2]]


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize("change", ["", "in place", "random"])
def test_blocks_that_run_again_give_the_same_gradient(change, thread):
    """Whatever they do to what they were given, and whatever they draw."""
    network = Network(change)
    with checkpoints(blocks(network)):
        found = gradient(network, hooks=saving_copies(), thread=thread)
    want = gradient(network) if change == "random" else numeric(network)
    assert torch.allclose(found, want, atol=2e-3 * want.abs().max())


def test_running_again_draws_nothing_from_what_comes_after():
    network = Network("random")
    with checkpoints(blocks(network)):
        gradient(network)
        after = torch.rand(3)
    gradient(network)
    assert torch.equal(after, torch.rand(3))


def test_what_a_block_runs_within_is_there_when_it_runs_again():
    entered = []

    @contextmanager
    def around():
        entered.append(torch.is_grad_enabled())
        yield

    network = Network()
    with checkpoints(blocks(network), around):
        gradient(network, thread=True)
    assert entered == [True] * 3


def test_copies_are_kept_where_a_network_works_in_place():
    network = Network("in place")
    with pytest.raises(RuntimeError, match="inplace operation"):
        gradient(network)
    found, want = gradient(network, hooks=saving_copies()), numeric(network)
    assert torch.allclose(found, want, atol=2e-3 * want.abs().max())


def test_modules_are_as_before():
    network = Network()
    network.layers[0].forward = before = network.layers[0].forward
    with pytest.raises(KeyError), checkpoints(blocks(network)):
        assert network.layers[2].forward is not before
        raise KeyError
    assert network.layers[0].forward is before
    assert "forward" not in vars(network.layers[2])


def test_within_no_grad_nothing_is_kept():
    network, kept = Network(), Kept()
    with checkpoints(blocks(network), kept=kept), torch.no_grad(), saving_copies(kept):
        network(torch.randn(1, 5, 8))
    assert kept == Kept()


def test_bytes_are_counted():
    """The inputs of the blocks, and what one of them keeps, by hand."""
    network, kept, floats = Network(), Kept(), 4
    with checkpoints(blocks(network), kept=kept):
        gradient(network, hooks=saving_copies(kept))
    activation = 2 * 5 * 8 * floats
    # the network's own start, and the scale, which all blocks share
    assert kept.inputs == 3 * activation + activation
    assert kept.inside == 3 * kept.largest
    # its norm keeps x, means and deviations; products, tanh and square what they are given or give
    assert 4 * activation < kept.largest < 12 * activation
    assert kept.outside >= 2 * activation
    assert kept.plain == kept.outside + kept.inside
    assert kept.checkpointed == kept.outside + kept.inputs + kept.largest


def test_what_would_be_kept_is_what_is_kept():
    """With no checkpoints, as many bytes as were counted with them."""
    network, counted, kept = Network(), Kept(), Kept()
    with checkpoints(blocks(network), kept=counted):
        gradient(network, hooks=saving_copies(counted))
    gradient(network, hooks=saving_copies(kept))
    assert kept.plain == counted.plain


@pytest.mark.parametrize(
    ("free", "rows", "checkpointed"),
    [
        (10_000, min(MAX_LATENTS, int(USABLE * 10_000 / 220)), False),
        (500, 2, False),
        (250, 1, False),
        (240, 4, True),
        (100, 1, True),
        (50, 0, True),
        (-10, 0, True),
    ],
)
def test_what_fits(free, rows, checkpointed):
    kept = Kept(outside=5, inputs=5, inside=95, largest=5)
    found = plan(kept, 10.0, free)
    assert (found.rows, found.checkpointed) == (rows, checkpointed)
    assert (found.bytes_plain, found.bytes_checkpointed) == (220, 50)
