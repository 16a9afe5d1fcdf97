"""What autograd keeps for the way back: copies, or nothing but the inputs of each block.

PyTorch's own gradient checkpointing runs a block again on what its inputs hold by then, and does
not see that a network, or a patch on it, has changed them in place. Here nothing that is kept can
be changed by the network.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Around = Callable[[], AbstractContextManager]


@dataclass
class Kept:
    """Bytes that autograd keeps for the way back: of all that runs, and with checkpoints."""

    outside: int = 0
    """Of what is in no block."""
    inputs: int = 0
    """Of the inputs of all blocks, which checkpoints keep."""
    inside: int = 0
    """Of all blocks, without checkpoints."""
    largest: int = 0
    """Of the largest block."""

    @property
    def plain(self) -> int:
        """Without checkpoints."""
        return self.outside + self.inside

    @property
    def checkpointed(self) -> int:
        """With checkpoints, while the largest block runs again."""
        return self.outside + self.inputs + self.largest


@dataclass(frozen=True)
class Plan:
    """How a step of learning fits into memory.

    `rows` latents at once, 0 where not both halves of guidance fit together even for one; with
    `checkpointed` blocks or not. One latent takes `bytes_plain`, or `bytes_checkpointed`.
    """

    rows: int
    checkpointed: bool
    bytes_plain: int
    bytes_checkpointed: int


USABLE = 0.9
"""Fraction of the free memory that is used; allocators lose some memory in gaps."""

MAX_LATENTS = 16


def plan(kept: Kept, working: float, free: float, halves: int = 2) -> Plan:
    """How latents of `halves` rows each fit into `free` bytes; `kept` is what one row keeps.

    `working` bytes a row are what passes through without being kept. Checkpoints take a third more
    time, so they come only where not even one latent fits without.
    """
    plain, checkpointed = (
        max(1, int(halves * (size + working))) for size in (kept.plain, kept.checkpointed)
    )
    fits = [max(0, int(USABLE * free / size)) for size in (plain, checkpointed)]
    rows = fits[0] or fits[1]
    return Plan(min(rows, MAX_LATENTS), not fits[0], plain, checkpointed)


def blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks of a network: its highest modules that are not mere lists of others.

    Single layers are left out: they keep little more than their input.
    """
    found: list[nn.Module] = []
    for child in network.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict | nn.Sequential):
            found += blocks(child)
        elif any(True for _ in child.children()):
            found.append(child)
    return found


@contextmanager
def saving_copies(kept: Kept | None = None) -> Iterator[None]:
    """Within, autograd keeps copies of all but the network's weights.

    What it would keep itself may be changed in place afterwards, by the network or by a patch.
    `kept` counts the bytes.
    """

    def pack(tensor: Tensor) -> Tensor:
        if _is_weight(tensor):
            return tensor
        if kept is not None:
            kept.outside += tensor.nbytes
        return tensor.detach().clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield


@contextmanager
def checkpoints(
    modules: Iterable[nn.Module], around: Around = nullcontext, kept: Kept | None = None
) -> Iterator[None]:
    """Within, each of `modules` keeps copies of its inputs alone, and runs again on the way back.

    It runs again within `around()`, because that happens in a thread of autograd's own. `kept`
    counts bytes.
    """
    copies = _Copies(kept)
    forwards = {module: module.__dict__.get("forward") for module in modules}
    for module in forwards:
        module.forward = _checkpointed(module.forward, copies, around, kept)
    try:
        yield
    finally:
        for module, forward in forwards.items():
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def _checkpointed(
    forward: Callable[..., Any], copies: _Copies, around: Around, kept: Kept | None
) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        given = args, options
        if not torch.is_grad_enabled() or not any(t.requires_grad for t in _tensors(given)):
            return forward(*args, **options)
        block = _Block(forward, copies.of(given), around)
        with torch.autograd.graph.saved_tensors_hooks(block.pack, block.unpack):
            result = forward(*args, **options)
        if kept is not None:
            kept.inside += block.bytes
            kept.largest = max(kept.largest, block.bytes)
        return result

    return run


class _Slot:
    """The place of one tensor that a block will have kept once it has run again."""

    def __init__(self) -> None:
        self.value: Tensor | None = None


class _Block:
    """One call of a block, which can be made again."""

    def __init__(self, forward: Callable[..., Any], given: Any, around: Around) -> None:
        self.forward, self.given, self.around = forward, given, around
        self.slots: list[weakref.ref[_Slot]] = []
        self.bytes = 0
        # patches may draw random numbers
        devices = {tensor.device for tensor in _tensors(given)} | {torch.device("cpu")}
        self.random = {device: _random_state(device) for device in devices}

    def pack(self, tensor: Tensor) -> _Slot:
        slot = _Slot()
        self.slots.append(weakref.ref(slot))
        self.bytes += 0 if _is_weight(tensor) else tensor.nbytes
        return slot

    def unpack(self, slot: _Slot) -> Tensor:
        if slot.value is None:
            self._again()
        if slot.value is None:
            raise RuntimeError("a block of the model did something else when it ran again")
        return slot.value

    def _again(self) -> None:
        """Run once more, and fill all slots that are still wanted."""
        slots = iter(self.slots)

        def fill(tensor: Tensor) -> None:
            slot = next(slots, lambda: None)()
            if slot is not None:
                slot.value = tensor if _is_weight(tensor) else tensor.detach().clone()

        hooks = torch.autograd.graph.saved_tensors_hooks(fill, lambda kept: kept)
        with self._same_random(), torch.enable_grad(), self.around():
            # copies again, because the block may change them, and none may be a leaf
            args, options = map_tensors(lambda t: t if _is_weight(t) else t.clone(), self.given)
            with hooks:
                self.forward(*args, **options)

    @contextmanager
    def _same_random(self) -> Iterator[None]:
        before = {device: _random_state(device) for device in self.random}
        _set_random_states(self.random)
        try:
            yield
        finally:
            _set_random_states(before)


def _random_state(device: torch.device) -> Tensor | None:
    """The state of a device's own generator; None for devices that have none."""
    module = torch if device.type == "cpu" else getattr(torch, device.type, None)
    if not hasattr(module, "get_rng_state"):
        return None
    return module.get_rng_state(*_of_several(device))


def _set_random_states(states: dict[torch.device, Tensor | None]) -> None:
    for device, state in states.items():
        if state is not None:
            module = torch if device.type == "cpu" else getattr(torch, device.type)
            module.set_rng_state(state, *_of_several(device))


def _of_several(device: torch.device) -> list[torch.device]:
    """The device, for those kinds of which there may be several."""
    return [device] if device.type in ("cuda", "xpu") else []


class _Copies:
    """Copies of tensors, one for each state of it however many blocks it is given to."""

    def __init__(self, kept: Kept | None) -> None:
        self._kept = kept
        self._known: dict[int, tuple[weakref.ref, int, weakref.ref]] = {}

    def of(self, given: Any) -> Any:
        return map_tensors(self._copy, given)

    def _copy(self, tensor: Tensor) -> Tensor:
        if _is_weight(tensor):
            return tensor
        version = -1 if tensor.is_inference() else tensor._version
        source, seen, copy = self._known.get(id(tensor), (_nothing, 0, _nothing))
        known = copy()
        if source() is tensor and seen == version and version >= 0 and known is not None:
            return known
        # asks for a gradient where the tensor does, so that the same things will be kept
        made = tensor.detach().clone().requires_grad_(tensor.requires_grad)
        if self._kept is not None:
            self._kept.inputs += made.nbytes
        self._known[id(tensor)] = weakref.ref(tensor), version, weakref.ref(made)
        return made


def _nothing() -> None:
    """A reference to what is no longer there."""


def _is_weight(tensor: Tensor) -> bool:
    """Whether this is a parameter or a view of one: nothing changes these in place."""
    whole = tensor if tensor._base is None else tensor._base
    return isinstance(whole, nn.Parameter)


def map_tensors(change: Callable[[Tensor], Tensor], given: Any) -> Any:
    """`given` with `change` applied to the tensors in it, in new lists, tuples and dicts."""
    if isinstance(given, Tensor):
        return change(given)
    if type(given) in (list, tuple):
        return type(given)(map_tensors(change, part) for part in given)
    if type(given) is dict:
        return {key: map_tensors(change, part) for key, part in given.items()}
    return given


def _tensors(given: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, given)
    return found
