"""Dollars by what they are for, of a case."""

from __future__ import annotations

from fleet.capacity.figure import Figure
from fleet.capacity.finish.checkpoint import checkpoint_bytes, weights_bytes
from fleet.capacity.finish.disk import MONTH_HOURS, storage_dollars, traffic_dollars
from fleet.capacity.finish.estimate import Case, Cases
from fleet.capacity.finish.habits import Habits
from fleet.capacity.finish.hours import Work, seconds
from fleet.capacity.finish.room import room
from fleet.capacity.setup import Setup


def dollars(setup: Setup, work: Work, case: Case, steps: int) -> dict[str, float]:
    """USD for the GPUs, for storage and for traffic. Never less for more steps."""
    habits = work.habits
    spent = sum(seconds(work, case, steps).values())
    size = checkpoint_bytes(setup.shape, setup.optimizer)
    saves = steps / work.cadence.steps + 1
    again = spent / case.mtbf  # interruptions: each pulls the image and a checkpoint once more
    up = saves * size + (weights_bytes(setup.shape) if habits.export else 0.0)
    data = 0.0 if habits.data == "there" else work.data_bytes(steps)
    down = habits.image_bytes + data + again * (habits.image_bytes + size)
    tokens = work.dataset_tokens or steps * work.step_tokens
    disk = room(setup.shape, setup.optimizer, habits, tokens, steps, spent).total
    return {
        "GPUs": case.price * setup.gpus * spent / 3600,
        "storage": storage_dollars(disk, spent / 3600, habits.storage_price or 0.0),
        "traffic": traffic_dollars(up, down, habits.up_price or 0.0, habits.down_price or 0.0),
    }


def figures(setup: Setup, work: Work, cases: Cases, steps: int, price: Figure) -> tuple[dict[str, Figure], Figure]:
    """USD by kind, and all of them."""
    slow, expected, fast = (dollars(setup, work, case, steps) for case in cases.all())
    sources = {
        "GPUs": f"hours x {setup.gpus} GPUs x {price.value:g} USD per GPU-hour ({price.source})",
        **extras(work.habits),
    }
    kinds = {}
    for name, value in expected.items():
        told = (slow[name], value, fast[name])
        kinds[name] = Figure(value, "USD", sources[name], min(told), max(told))
    return kinds, total(list(kinds.values()), "USD", "sum of the kinds")


def total(figures: list[Figure], unit: str, source: str) -> Figure:
    """Of figures that have ranges."""
    low, high = (sum(getattr(one, end) for one in figures) for end in ("low", "high"))
    return Figure(sum(one.value for one in figures), unit, source, low, high)


def extras(habits: Habits) -> dict[str, str]:
    """Where the dollars beside the GPUs come from; a price that nobody told counts as 0, and its source says so."""
    storage, up, down = habits.storage_price, habits.up_price, habits.down_price
    unknown = "not told, counted as 0"
    told = {"sent": up, "received": down}
    traffic = [f"{name} {unknown if price is None else f'{price:g}'}" for name, price in told.items()]
    return {
        "storage": f"disk x {storage:g} USD per GB and month of {MONTH_HOURS:g} h" if storage is not None else unknown,
        "traffic": f"USD per GB: {', '.join(traffic)}",
    }
