"""`--micro-batch auto`: the largest micro-batch that fits, found by trying; and what to turn when none does."""

from __future__ import annotations

import bisect
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trainer.config import Config
from trainer.config.amounts import divisors
from trainer.errors import TrainerError

SPARE = 0.08  # of the card: fragments, and what cuBLAS, NCCL and the evaluation allocate later
CPU_TOKENS = 16384  # a micro-batch on CPU: its caches gain nothing from more, and host memory is left alone
NO_MEMORY = "out of memory"
TOO_MUCH = "over the limit"
MESSAGES = (  # how libraries that allocate past torch say it, in small letters
    "out of memory",
    "can't allocate memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "std::bad_alloc",
)


class Ranks(Protocol):
    """What is asked of trainer.parallel.world.World."""

    def max(self, value: float) -> float:
        """The largest over the ranks."""
        ...


@dataclass(frozen=True)
class Fit:
    """The answer, and every try in order: micro-batch in windows, and its peak in bytes or why it does not fit."""

    micro_batch: int
    tried: list[tuple[int, int | str]]


class Alone:
    """One rank: its own answer is everybody's."""

    def max(self, value: float) -> float:
        """The value."""
        return value


def without_memory_search(windows: int, context: int, tokens: int = CPU_TOKENS) -> int:
    """The micro-batch on CPU: the largest divisor of a rank's windows with at most `tokens` tokens, and at least 1."""
    return max(size for size in divisors(windows) if size == 1 or size * context <= tokens)


def micro_batch(
    try_one: Callable[[int], int],
    candidates: Sequence[int],
    world: Ranks | None = None,
    limit: int | None = None,
    first: int = 1,
) -> Fit:
    """The largest candidate whose try stays under `limit` on every rank: steps that double, then halves between.

    try_one: runs a real forward and backward of that many windows and gives back the peak in bytes; it raises
    torch.OutOfMemoryError (or what `out_of_memory` knows) when they do not fit. limit: bytes a try may take; None: 92%
    of this CUDA device, less what others hold on it. first: where to begin, for example an earlier answer.
    All ranks try the same sizes in the same order, agree after each, and take the smallest limit of all. A try whose
    backward waits for the others must not lose one: leave the reduction out, or rely on equal cards running out alike.
    Raises TrainerError when not even the smallest fits.
    """
    sizes = sorted(candidates)
    world = world or Alone()
    agreed = -world.max(-float(cuda_limit() if limit is None else limit))
    search = _Search(try_one, sizes, world, agreed)
    best, beyond = -1, len(sizes)
    place = max(0, bisect.bisect_right(sizes, first) - 1)
    while best < place < beyond and (best < 0 or beyond == len(sizes)):
        if search.fits(place):
            best = place
            place = max(place + 1, bisect.bisect_right(sizes, 2 * sizes[place]) - 1)
        else:
            beyond = place
            place = min(place - 1, bisect.bisect_left(sizes, sizes[place] / 2))
    while beyond - best > 1:
        middle = (best + beyond) // 2
        best, beyond = (middle, beyond) if search.fits(middle) else (best, middle)
    if best < 0:
        raise TrainerError(
            f"not even a micro-batch of {sizes[0]} windows fits into {_gb(search.limit)}: {search.story()}",
            "set train.checkpointing=full, a higher parallel.zero, or a smaller model",
        )
    return Fit(sizes[best], search.tried)


class _Search:
    def __init__(self, try_one: Callable[[int], int], sizes: Sequence[int], world: Ranks, limit: float) -> None:
        self.try_one, self.sizes, self.world, self.limit = try_one, sizes, world, limit
        self.tried: list[tuple[int, int | str]] = []

    def fits(self, place: int) -> bool:
        """Tries one size; the same answer on all ranks."""
        size = self.sizes[place]
        peak = self._peak(size)
        _free()
        worst = self.world.max(float("inf") if peak is None else float(peak))
        if worst == float("inf"):
            self.tried.append((size, NO_MEMORY))
        else:
            self.tried.append((size, int(worst) if worst <= self.limit else f"{TOO_MUCH}, {_gb(worst)}"))
        return worst <= self.limit

    def story(self) -> str:
        """All tries in words."""
        return ", ".join(f"{size}: {_gb(answer) if isinstance(answer, int) else answer}" for size, answer in self.tried)

    def _peak(self, size: int) -> int | None:
        try:
            return self.try_one(size)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return None  # the frames that hold its tensors end with the except clause


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch.OutOfMemoryError, a library's own words, or MemoryError."""
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in MESSAGES)


def cuda_limit() -> int:
    """Bytes that torch may reserve on the current CUDA device: 92% of it, less what it holds outside torch's allocator
    (contexts, NCCL, other processes)."""
    import torch

    free, whole = torch.cuda.mem_get_info()
    elsewhere = whole - free - torch.cuda.memory_reserved()
    return int((1.0 - SPARE) * whole) - max(0, int(elsewhere))


def oom_error(config: Config, micro: int, world: int) -> TrainerError:
    """What to turn when memory ran out with `micro` windows on each of `world` ranks, with numbers; see footprint."""
    from trainer.optim.footprint import footprint, knobs

    parts = footprint(config, micro, world)
    listed = ", ".join(f"{name} {_gb(size)}" for name, size in parts.items())
    what = f"out of memory with a micro-batch of {micro} windows x {config.model.context} tokens (estimated: {listed})"
    return TrainerError(what, "; or ".join(knobs(config, micro, world)))


def _free() -> None:
    import torch

    if torch.cuda.is_available():
        gc.collect()  # graphs that refer to themselves
        torch.cuda.empty_cache()


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
