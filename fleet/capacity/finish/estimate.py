"""The seconds and rates that hours are added up of, three times: as fast, as expected and as slow as it may come."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.capacity.figure import Figure
from fleet.capacity.finish.checkpoint import checkpoint_bytes
from fleet.capacity.finish.disk import transfer_seconds
from fleet.capacity.finish.habits import Habits
from fleet.capacity.finish.interruptions import mtbf
from fleet.capacity.setup import Setup
from fleet.capacity.speed.hardware import PCIE
from fleet.capacity.speed.speed import Speed

LINK = (4.0, 1.0, 0.5)  # a rented link as a factor of its seconds: slow, expected, fast
BOOT = (1.7, 1.0, 0.35)  # providers tell of 1 to 5 minutes (facts: Vast)
# modded-nanogpt tells of about 7 minutes for its first compile; a block compiled once, as the trainer does, takes less
COMPILE = (420.0, 120.0, 40.0)
EAGER = (60.0, 20.0, 5.0)  # the first step without compile: kernels loaded, communicators made
UNPACK = (0.1e9, 0.2e9, 0.5e9)  # bytes/s of layers unpacked, assumed
HOST = 100e9  # bytes/s that the GPUs of one host share: its memory
COPY_SLOW = 4.0  # without pinned memory
SETTLE = (
    0.006  # s, the stall measured for a copy hidden behind the next forward and backward (bench/results/resume.json)
)
RATE = ("low", "value", "high")  # of a speed, from slow to fast
WORST = 0.95  # share of the time that interruptions take at most in the slow case: beyond, there is no bound to show


@dataclass(frozen=True, slots=True)
class Case:
    """Seconds, tokens/s, USD per GPU-hour. stall: of one save; write, upload, download: of one checkpoint.

    link: factor of a transfer's seconds; most_lost: share of the time that interruptions may take, 1: no bound.
    """

    rate: float
    price: float
    boot: float
    image: float
    link: float
    compile: float
    stall: float
    write: float
    upload: float
    download: float
    mtbf: float
    most_lost: float = 1.0

    @property
    def restart(self) -> float:
        """From an interruption to the first new step, on a fresh machine."""
        return self.boot + self.image + self.download + self.compile


@dataclass(frozen=True, slots=True)
class Cases:
    """What may come."""

    slow: Case
    expected: Case
    fast: Case

    def all(self) -> tuple[Case, Case, Case]:
        """From slow to fast."""
        return self.slow, self.expected, self.fast


def cases(setup: Setup, speed: Speed, price: Figure, habits: Habits) -> Cases:
    """Of a setup with its speed."""
    size = checkpoint_bytes(setup.shape, setup.optimizer)
    until = mtbf(habits, setup.gpus, setup.nodes)
    made = []
    for number in range(3):
        link = LINK[number]
        made.append(
            Case(
                rate=_bound(speed.total, RATE[number]),
                price=_bound(price, RATE[2 - number]),  # slow and dear go together: the widest range
                boot=habits.boot_seconds * BOOT[number],
                image=_pull(habits, link, UNPACK[number]),
                link=link,
                compile=(COMPILE if setup.compile else EAGER)[number],
                stall=stall_seconds(setup, size, number),
                write=size / (habits.disk_gbs * 1e9) * (2.0, 1.0, 0.5)[number],
                upload=link * transfer_seconds(size, habits.up_mbit),
                download=link * transfer_seconds(size, habits.down_mbit),
                mtbf=_bound(until, RATE[number]) * 3600,
                most_lost=1.0 if number == 1 else WORST,
            )
        )
    return Cases(*made)


def stall_seconds(setup: Setup, size: float, number: int = 1) -> float:
    """The loop stands still while a GPU's share is copied to the host, at worst: the copy runs beside the next forward
    and backward, and hides there when they take longer. number: 0 slow, 1 expected, 2 fast (all of it hidden)."""
    if number == 2:
        return SETTLE
    copy = size / setup.gpus / min(PCIE[setup.gpu.pcie], HOST / min(setup.gpus, setup.gpus_per_node))
    return SETTLE + copy * (COPY_SLOW if number == 0 else 1.0)


def _pull(habits: Habits, link: float, unpack: float) -> float:
    return link * transfer_seconds(habits.image_bytes, habits.down_mbit) + habits.unpacked_bytes / unpack


def _bound(figure: Figure, name: str) -> float:
    bound = getattr(figure, name)
    return float(figure.value if bound is None else bound)
