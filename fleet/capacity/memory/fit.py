"""The largest micro-batch that fits, and what to turn when one does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from fleet.capacity.memory.memory import memory
from fleet.capacity.setup import Setup

MOST = 2**20  # sequences; no GPU holds more
SHARDS = ("zero", "ddp")  # the trainer's engines, whose stage can be turned


@dataclass(frozen=True, slots=True)
class Change:
    """Something to turn. setup: with it turned; saves: bytes of the peak; fits: whether it surely fits then."""

    what: str
    setting: str
    setup: Setup
    saves: float
    costs: str
    fits: bool


def largest_micro_batch(setup: Setup, most: int | None = None) -> int:
    """Sequences at once that surely fit, at most `most`; 0: not even one. By bisection: the peak never falls as the
    micro-batch grows."""
    fits = _fits_with(setup)
    limit = MOST if most is None else most
    if limit < 1 or not fits(1):
        return 0
    low, high = 1, 2
    while high <= limit and fits(high):
        low, high = high, 2 * high
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def changes(setup: Setup) -> list[Change]:
    """What would make `setup` smaller, the cheapest first; only what saves something. Raises as `memory` does."""
    before = memory(setup).total
    found = []
    for what, setting, other, costs in _candidates(setup):
        after = memory(other)
        if after.total < before:
            found.append(Change(what, setting, other, before - after.total, costs, after.verdict == "fits"))
    return found


def _fits_with(setup: Setup) -> Callable[[int], bool]:
    return lambda size: memory(replace(setup, micro_batch=size)).verdict == "fits"


def _candidates(setup: Setup) -> Iterator[tuple[str, str, Setup, str]]:
    """In the order of what they cost."""
    if setup.loss_chunk < 0:
        yield "logits by chunks", "train.loss_chunk=0", replace(setup, loss_chunk=0), "nothing to speak of"
    yield from _smaller(setup)
    yield from _sharded(setup, (1, 2))
    if setup.checkpointing == "none":
        words = "norms and activation functions are computed twice: a few percent of the time"
        yield _checkpointed(setup, "selective", words)
    yield from _sharded(setup, (3,))
    if setup.checkpointing != "full":
        yield _checkpointed(setup, "full", "every block's forward is computed twice: up to a third more time")
    if setup.engine in SHARDS and setup.zero >= 1 and setup.accumulation % 2 == 0:  # the step's batch stays as it is
        more = replace(setup, gpus=2 * setup.gpus, accumulation=setup.accumulation // 2)
        yield "twice the GPUs", f"gpu.count={more.gpus}", more, "twice the price per hour, for nearly half the hours"
    yield from _offloaded(setup)


def _smaller(setup: Setup) -> Iterator[tuple[str, str, Setup, str]]:
    """Half the micro-batch, or the next smaller divisor, so that the step's batch stays exactly what it is."""
    size = setup.micro_batch
    part = next((one for one in range(size // 2, 0, -1) if size % one == 0), 0)
    if part:
        other = replace(setup, micro_batch=part, accumulation=setup.accumulation * (size // part))
        words = f"{other.accumulation} micro-batches per step instead of {setup.accumulation}; slower below a full GPU"
        yield "a smaller micro-batch", f"train.micro_batch={part}", other, words


def _sharded(setup: Setup, stages: tuple[int, ...]) -> Iterator[tuple[str, str, Setup, str]]:
    if setup.engine not in SHARDS or setup.optimizer == "muon" or setup.gpus == 1:
        return
    costs = {1: "weights travel once per step", 2: "gradients are cut as they are made", 3: "weights travel per layer"}
    for stage in stages:
        if stage > setup.zero:
            other = replace(setup, engine="zero", zero=stage)
            yield f"ZeRO stage {stage}", f"parallel.zero={stage}", other, costs[stage]


def _checkpointed(setup: Setup, name: str, costs: str) -> tuple[str, str, Setup, str]:
    other = replace(setup, checkpointing=name)
    return f"{name} checkpointing of activations", f"train.checkpointing={name}", other, costs


def _offloaded(setup: Setup) -> Iterator[tuple[str, str, Setup, str]]:
    """Last: the PCIe bus and the processor's memory then decide the speed."""
    if setup.engine not in SHARDS or setup.optimizer == "muon" or setup.offload != "none":
        return
    stage = setup.zero or 1
    other = replace(setup, engine="zero", zero=stage, offload="optimizer")
    words = "the step runs in the host's memory: several times slower for small steps"
    yield "the optimizer in RAM", f"parallel.offload=optimizer parallel.zero={stage}", other, words
    both = replace(setup, engine="zero", zero=3, offload="both")
    yield "optimizer and weights in RAM", "parallel.offload=both parallel.zero=3", both, "weights travel over PCIe too"
