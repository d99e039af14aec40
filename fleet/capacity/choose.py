"""The fastest way to train a workload on given GPUs that surely fits them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isqrt

from fleet.capacity import precision
from fleet.capacity.memory.memory import Memory, memory
from fleet.capacity.setup import Setup
from fleet.capacity.speed.measured import Measured
from fleet.capacity.speed.speed import Speed, speed
from fleet.capacity.workload import Workload
from profiles.errors import WrongInput
from profiles.gpus import Gpu

WORTH = 1.02  # a setting further from the plain one must be this much faster
SHARDED = 1.10  # and one that shards, where it need not: DeepSpeed costs what no formula here knows
ENOUGH = 16_384  # tokens of a micro-batch from which larger ones are hardly faster
CHECKPOINTING = ("none", "selective", "full")


@dataclass(frozen=True, slots=True)
class Settled:
    """A setup, whether it fits, and how fast it is (None where it does not fit)."""

    setup: Setup
    memory: Memory
    speed: Speed | None
    verdict: str  # fits, tight, refused
    why: str  # one line: how the settings were found, or why there are none


def settle(workload: Workload, gpu: Gpu, gpus: int, measured: Sequence[Measured] = ()) -> Settled:
    """What was left open is chosen: the fastest that fits, preferring fewer tricks at equal speed.

    Raises WrongInput for a batch these GPUs cannot share, and for a precision the GPU lacks.
    """
    share = per_gpu(workload, gpus)
    name, reason = precision.resolve(workload.precision, gpu, workload.shape)
    plain = _plain(workload, gpu, gpus, name)
    best: Settled | None = None
    for setup in _settings(workload, plain):
        micro = _micro(workload, setup, share)
        if not micro:
            continue
        fitting = replace(setup, micro_batch=micro, accumulation=share // micro)
        found = Settled(fitting, memory(fitting), speed(fitting, measured), "fits", f"{name}: {reason}")
        if best is None or _faster(found, best):
            best = found
        if setup.checkpointing == "none" and (micro == share or micro * setup.length >= ENOUGH):
            break  # nothing is recomputed or gathered that need not be: what follows gains less than it costs
    return best or _nearly(workload, plain, share, measured)


def per_gpu(workload: Workload, gpus: int) -> int:
    """Sequences of a step that each GPU sees. Raises WrongInput, naming batches that do divide."""
    if gpus < 1:
        raise WrongInput(f"{gpus} GPUs", "give at least 1")
    share, rest = divmod(workload.batch, gpus)
    micro = workload.micro_batch or 1
    if share and not rest and share % micro == 0:
        return share
    unit = gpus * micro
    near = sorted({max(1, workload.batch // unit) * unit, -(-workload.batch // unit) * unit})
    what = f"{gpus} GPUs" + (f" with micro-batches of {micro}" if micro > 1 else "")
    raise WrongInput(
        f"a batch of {workload.batch:,} sequences does not divide among {what}",
        f"--batch {' or '.join(str(one) for one in near)}",
    )


def _plain(workload: Workload, gpu: Gpu, gpus: int, name: str) -> Setup:
    """Unsharded, nothing recomputed, one sequence at a time."""
    return Setup(
        shape=workload.shape,
        gpu=gpu,
        gpus=gpus,
        length=workload.length,
        micro_batch=1,
        precision=name,
        offload=workload.offload,
        optimizer=workload.optimizer,
        loss_chunk=workload.loss_chunk,
        attention=workload.attention,
        compile=workload.compile,
        link="nvlink" if gpu.nvlink_gbs else "pcie",
        between=workload.between or ("infiniband" if gpu.form_factor == "sxm" else "ethernet"),
    )


def _settings(workload: Workload, plain: Setup) -> Iterator[Setup]:
    """What may be chosen, the plainest first."""
    for zero in _stages(workload, plain.gpus):
        for kept in CHECKPOINTING if workload.checkpointing is None else (workload.checkpointing,):
            yield replace(plain, zero=zero, engine="zero" if zero else "ddp", checkpointing=kept)


def _stages(workload: Workload, gpus: int) -> Sequence[int]:
    if workload.zero is not None:
        return (workload.zero,)
    if workload.offload != "none":
        return (3,) if workload.offload in ("parameters", "both") else (1, 2, 3)
    return (0,) if gpus == 1 or workload.optimizer == "muon" else (0, 1, 2, 3)


def _micro(workload: Workload, setup: Setup, share: int) -> int:
    """The largest divisor of a GPU's share that surely fits, or the one asked for if it does; 0: none."""
    sizes = [workload.micro_batch] if workload.micro_batch else _divisors(share)
    # By bisection: the peak never falls as the micro-batch grows.
    found = bisect_left(sizes, True, key=lambda size: not _fits(replace(setup, micro_batch=size), share))
    return sizes[found - 1] if found else 0


def _fits(setup: Setup, share: int) -> bool:
    return memory(replace(setup, accumulation=share // setup.micro_batch)).verdict == "fits"


@lru_cache(maxsize=64)
def _divisors(number: int) -> list[int]:
    small = [size for size in range(1, isqrt(number) + 1) if number % size == 0]
    return sorted({*small, *(number // size for size in small)})


def _faster(one: Settled, than: Settled) -> bool:
    assert one.speed and than.speed
    worth = SHARDED if one.setup.zero and not than.setup.zero else WORTH
    return one.speed.formula > worth * than.speed.formula


def _nearly(workload: Workload, plain: Setup, share: int, measured: Sequence[Measured]) -> Settled:
    """Nothing surely fits: the smallest there is, which may fit (tight) or cannot (refused)."""
    micro = workload.micro_batch or 1
    tried = [replace(one, micro_batch=micro, accumulation=share // micro) for one in _settings(workload, plain)]
    weighed = [(memory(setup), setup) for setup in tried]
    held, setup = min(weighed, key=lambda pair: (pair[0].verdict == "refused", pair[0].total))
    if held.verdict == "refused":
        return Settled(setup, held, None, "refused", _too_large(held))
    what = "a machine's RAM is assumed to be" if held.short_of == "host" else "the GPU has"
    why = f"within the estimate's uncertainty of what {what}: it may not fit"
    return Settled(setup, held, speed(setup, measured), "tight", why)


def _too_large(held: Memory) -> str:
    if held.short_of == "host":
        return (
            f"needs {held.host / 1e9:,.0f} GB of each machine's RAM, where {held.host_capacity / 1e9:,.0f} are assumed "
            "(providers differ)"
        )
    over = held.total / held.capacity
    return f"needs {held.total / 1e9:.1f} GB of {held.capacity / 1e9:.1f}: {over:.1f} times what it has"
