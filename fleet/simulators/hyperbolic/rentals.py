"""A rental at Hyperbolic: Pending, Running, gone; the row that shows it (providers.md 3.5, 3.7)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from fleet.simulators.faults import Faults
from fleet.simulators.hyperbolic.options import Option
from fleet.simulators.machine import Machine

FIRST = ("soft", "calm", "bright", "quiet", "swift", "gentle")
SECOND = ("apricot", "cedar", "indigo", "amber", "willow", "copper")
THIRD = ("ladybug", "heron", "otter", "falcon", "badger", "marten")


@dataclass
class Rental:
    """What the provider keeps. delivered: the form factor that came; started: microseconds, when it began to bill."""

    id: int
    option: Option
    delivered: str
    label: str
    given: bool  # the label was the user's
    cents: Decimal
    status: str = "Pending"
    started: int | None = None
    address: str = ""
    ssh: tuple[str, int, str] | None = None
    why: str = ""


def rental_of(machine: Machine) -> Rental:
    found = machine.facts["rental"]
    assert isinstance(found, Rental)
    return found


def invented_name(drawn: random.Random) -> str:
    """The kind of name the server gives when nobody gave a label."""
    return f"{drawn.choice(FIRST)}-{drawn.choice(SECOND)}-{drawn.choice(THIRD)}"


def written(moment: datetime, fraction: bool) -> str:
    """`2026-09-12 13:59:00.123+00`: a blank, +00, and a fraction that may be missing (providers.md 0.4)."""
    text = moment.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{moment.microsecond // 1000:03d}+00" if fraction else f"{text}+00"


def row(machine: Machine, stamp: datetime, started: datetime | None, faults: Faults) -> dict[str, Any]:
    """One row, with the faults that are set. stamp: of its creation, as the provider's clock has it."""
    rental = rental_of(machine)
    option = rental.option.row
    host, port, user = rental.ssh or ("", 0, "")
    shown = rental.status == "Running" and rental.ssh is not None
    cents: Any = int(rental.cents) if rental.cents == int(rental.cents) else float(rental.cents)
    found: dict[str, Any] = {
        "id": rental.id,
        "status": rental.status,
        "gpuType": option["gpuType"],
        "gpuCount": option["gpuCount"],
        "region": option["region"],
        **echoed(rental, faults),
        "createdAt": written(stamp, True),
        "startedAt": None if started is None else written(started, rental.id % 2 == 0),
        "currentTerm": {"costPerHourCents": cents},
        "providerData": {
            "sshNetworking": [{"host": host, "port": port, "user": user}] if shown else [],
            "nodeNetworking": [{"publicIp": rental.address}] if rental.status == "Running" else [],
        },
    }
    broken(found, faults)
    return found


def echoed(rental: Rental, faults: Faults) -> dict[str, str]:
    """The label, echoed or not, or as `name` only."""
    knob = faults.take("label_echo")
    form = "label" if knob is None else str(knob.get("form", "none"))
    if form == "none":
        return {"name": "soft-apricot-ladybug"} if rental.given else {"name": rental.label}
    if form == "name" or not rental.given:
        return {"name": rental.label}
    return {"label": rental.label}


def broken(found: dict[str, Any], faults: Faults) -> None:
    """The knobs that spoil a row."""
    unknown = faults.take("status.unknown_value")
    if unknown is not None:
        found["status"] = unknown.get("value", "Hibernating (invented)")
    if faults.take("status.missing") is not None:
        del found["status"]
    if faults.take("price.missing") is not None:
        del found["currentTerm"]
    elif faults.take("price.string") is not None:
        found["currentTerm"] = {"costPerHourCents": str(found["currentTerm"]["costPerHourCents"])}
    if faults.take("status.lower_case") is not None and "status" in found:
        found["status"] = str(found["status"]).lower()
