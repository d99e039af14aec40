"""What is to be trained, and what that comes to on a machine that is offered: hours and dollars to finish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from fleet.capacity.choose import Settled, settle
from fleet.capacity.figure import Figure
from fleet.capacity.finish.bill import finish
from fleet.capacity.finish.goal import Goal
from fleet.capacity.finish.habits import Habits
from fleet.capacity.finish.room import least
from fleet.capacity.speed.measured import Measured
from fleet.capacity.workload import Workload
from fleet.offers.offer import ON_DEMAND, Offer
from profiles import gpus
from profiles.errors import StokerError

UNIT = "USD per GPU-hour"


@dataclass(frozen=True, slots=True)
class Training:
    """baked: what the image trains with when nobody says otherwise, by the trainer's keys; flags: for the run script,
    whatever the machine; derived: nobody said how many steps, so the rate falls over those that are planned."""

    work: Workload
    goal: Goal
    habits: Habits
    measured: Sequence[Measured] = ()
    baked: Mapping[str, object] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    derived: bool = False

    def disk_bytes(self) -> float:
        """What a run needs on any machine: image, data, checkpoints as they are kept, export, logs."""
        return least(self.work.shape, self.work.optimizer, self.habits, self.goal, self.work.step_tokens)

    def with_image(self, size: float, unpacked: float) -> Training:
        """With the bytes of the real image instead of a usual one's."""
        return replace(self, habits=replace(self.habits, image_bytes=size, unpacked_bytes=unpacked))


@dataclass(frozen=True, slots=True)
class Estimate:
    """One machine. verdict: fits, tight, refused (too large for it), impossible (batch or precision), with why; the
    rest None or empty where it does not fit. flags: for the run script on this machine; traffic: the dollars among
    `dollars` that are for the image, the data and the checkpoints on their way."""

    verdict: str
    why: str = ""
    steps: int | None = None
    hours: Figure | None = None
    dollars: Figure | None = None
    ram_bytes: float = 0.0
    flags: tuple[str, ...] = ()
    traffic: Figure | None = None


class Weigher:
    """Estimates of offers; each kind of machine is planned once."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self._settled: dict[tuple[str, int], Settled | StokerError] = {}

    def settled(self, gpu: str, count: int) -> Settled:
        """How the training runs on `count` x `gpu`. Raises WrongInput for a batch or a precision that cannot be."""
        if (gpu, count) not in self._settled:
            try:
                self._settled[gpu, count] = settle(self.training.work, gpus.gpu(gpu), count, self.training.measured)
            except StokerError as wrong:
                self._settled[gpu, count] = wrong
        found = self._settled[gpu, count]
        if isinstance(found, StokerError):
            raise found
        return found

    def estimate(self, offer: Offer, usd_hour: Decimal) -> Estimate:
        """Of an offer at `usd_hour` for the whole machine without its disk."""
        try:
            found = self.settled(offer.gpu, offer.count)
            if found.speed is None:
                return Estimate(found.verdict, found.why, ram_bytes=found.memory.host)
            price = Figure(float(usd_hour) / offer.count, UNIT, f"{offer.provider}, seen {offer.seen}")
            bill = finish(found.setup, found.speed, self.training.goal, price, self.habits(offer))
        except StokerError as wrong:
            return Estimate("impossible", f"{wrong.what}: {wrong.next_step}")
        flags = (*self.steps_flags(bill.steps), *self.machine_flags(found), *self.training.flags)
        traffic = bill.money.get("traffic")
        return Estimate(
            found.verdict, found.why, bill.steps, bill.hours, bill.dollars, found.memory.host, flags, traffic
        )

    def habits(self, offer: Offer) -> Habits:
        """With this machine's prices of storage and traffic, and its kind."""
        return replace(
            self.training.habits,
            kind="on-demand" if offer.kind == ON_DEMAND else "spot",
            storage_price=offer.disk_price,
            up_price=offer.up_price,
            down_price=offer.down_price,
            disk_gb=offer.disk_gb,
        )

    def steps_flags(self, steps: int) -> tuple[str, ...]:
        """The image's own number of steps is not what was planned unless it is said."""
        told = ("--steps", str(steps))
        return (*told, "--set", "optim.decay_steps=0") if self.training.derived else told

    def machine_flags(self, found: Settled) -> tuple[str, ...]:
        """What the plan chose and the image would not do by itself."""
        setup, baked = found.setup, self.training.baked
        chosen: dict[str, object] = {
            "train.batch": self.training.work.batch,
            "parallel.zero": setup.zero,
            "train.checkpointing": setup.checkpointing,
        }
        # Without ZeRO the trainer finds the largest micro-batch by trying (trainer/config/schema.py).
        if self.training.work.micro_batch or setup.zero:
            chosen["train.micro_batch"] = setup.micro_batch
        wanted = [f"{key}={value}" for key, value in chosen.items() if baked.get(key) != value]
        return tuple(word for text in wanted for word in ("--set", text))
