"""How fast the loader is, for `python -m trainer bench`."""

from __future__ import annotations

from time import perf_counter

from trainer.data.loader import Loader, Readable
from trainer.data.order import Order

SEEK = 1_000_000  # the step that is sought


def measure(
    split: Readable,
    windows_per_shard: tuple[int, ...],
    batch: int,
    context: int,
    micro: int = 0,
    group: int = 8,
    seconds: float = 1.0,
) -> dict[str, float]:
    """Reads micro-batches for about `seconds` twice: without a thread, and with one as training does.

    micro: windows, 0: the whole batch. Gives tokens_per_s (in the thread that reads: what a core can make),
    ahead_tokens_per_s (what a consumer that does nothing gets), seek_ms (a new loader's first micro-batch at step 10^6,
    the order's tables included) and microseconds (per micro-batch, of the first kind).
    """
    micro = micro or batch
    result: dict[str, float] = {}
    for name, prefetch in (("tokens_per_s", 0), ("ahead_tokens_per_s", 4)):
        with Loader(split, Order(windows_per_shard, 1, group), batch, 0, 1, context, prefetch) as loader:
            rate, each = _rate(loader, batch, micro, context, seconds)
            result[name] = rate
            result.setdefault("microseconds", each)
    began = perf_counter()
    with Loader(split, Order(windows_per_shard, 1, group), batch, 0, 1, context) as loader:
        next(loader.micro_batches(SEEK * batch, micro, context))
        result["seek_ms"] = (perf_counter() - began) * 1e3
    return result


def _rate(loader: Loader, batch: int, micro: int, context: int, seconds: float) -> tuple[float, float]:
    """Tokens per second, and microseconds per micro-batch; the first step is not counted."""
    tokens, count, step = 0, 0, 0
    for _ in loader.micro_batches(0, micro, context):
        pass
    began = perf_counter()
    while perf_counter() - began < seconds:
        step += 1
        for inputs, _ in loader.micro_batches(step * batch, micro, context):
            tokens += inputs.numel()
            count += 1
    spent = perf_counter() - began
    return tokens / spent, spent / count * 1e6
