"""Bytes on the machine's disk, and seconds and dollars of moving them."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.capacity.figure import Figure

SHORT = 1 << 16  # the trainer's data are uint16 up to this vocabulary, uint32 above
STEP_LOG = 1400.0  # bytes of all log lines of one step; a test weighs a real run's
GPU_LOG = 1000.0  # bytes of one sample of the GPUs
GPU_SECONDS = 10.0  # between samples, the trainer's default
# Hours in a month of storage. Vast bills 720 (dph_total = dph_base + GB x storage_cost / 720, exact in the example of
# its OpenAPI file: providers.md 2.4); the same is taken for the others.
MONTH_HOURS = 720.0
WORKING = 5e9  # bytes to spare: the container's own files, compile caches


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes by what they are for."""

    image: float
    dataset: float
    checkpoints: float  # kept newest, the best and the one being written
    export: float
    logs: float
    working: float
    copies: int  # checkpoints there at once

    @property
    def total(self) -> float:
        """All of them."""
        return self.image + self.dataset + self.checkpoints + self.export + self.logs + self.working


def dataset_bytes(tokens: float, vocab: int) -> float:
    """Of tokenised data: 2 bytes a token up to a vocabulary of 65,536, else 4."""
    return tokens * (2 if vocab <= SHORT else 4)


def copies(keep: int) -> int:
    """Checkpoints on the disk at once under the retention policy: the newest, the best, the one being written."""
    return keep + 2


def log_bytes(steps: int, seconds: float) -> float:
    """Of the metrics of a run, all attempts together."""
    return steps * STEP_LOG + seconds / GPU_SECONDS * GPU_LOG


def transfer_seconds(size: float, mbit: float) -> float:
    """For `size` bytes over a link of `mbit` Mbit/s (10^6 bits)."""
    return size * 8 / (mbit * 1e6)


def storage_dollars(size: float, hours: float, price: float) -> float:
    """price: USD per GB (10^9) and month of MONTH_HOURS."""
    return size / 1e9 * price * hours / MONTH_HOURS


def traffic_dollars(up: float, down: float, up_price: float, down_price: float) -> float:
    """Bytes sent and received, USD per GB (10^9)."""
    return up / 1e9 * up_price + down / 1e9 * down_price


def link_figure(size: float, mbit: float, spread: tuple[float, float]) -> Figure:
    """Seconds of a transfer; spread: the slowest and the fastest the link may be, as factors."""
    seconds = transfer_seconds(size, mbit)
    return Figure(
        seconds, "s", f"{size / 1e9:,.1f} GB over {mbit:,.0f} Mbit/s", seconds / spread[1], seconds / spread[0]
    )
