"""The one account behind the simulator: keys, templates, volumes, credentials. Values of secrets stay in here."""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fleet.simulators.bodies.body import Login
from fleet.simulators.meter import Meter
from fleet.simulators.runpod.problems import not_found
from fleet.simulators.world import World

LETTERS = string.ascii_lowercase + string.digits
MONTH = 720  # hours, for disks (invented)
SPEND_LIMIT = 80  # USD per hour and account, as documented (providers.md 1.14)


@dataclass
class Volume:
    """A network volume; it bills until it is deleted."""

    facts: dict[str, Any]
    meter: Meter
    made: int

    def rates(self) -> dict[str, Decimal]:
        """0.07 USD per GB and month below 1 TB, 0.05 above (providers.md 1.12); 1 TB as 1000 GB, the whole size."""
        size = int(self.facts["size"])
        usd = Decimal("0.07") if size < 1000 else Decimal("0.05")
        kind = "highPerformance" if self.facts["type"] == "HIGH_PERFORMANCE" else "standard"
        return {kind: size * usd / MONTH}


@dataclass
class Account:
    """What belongs to the user."""

    world: World
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    registries: dict[str, tuple[str, Login]] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    deleted_volumes: list[Volume] = field(default_factory=list)  # what they cost stays on the bill
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    ssh_keys: list[str] = field(default_factory=list)
    accepted: set[str] | None = None  # keys; None is any
    refused: set[str] = field(default_factory=set)
    pod_keys: dict[str, str] = field(default_factory=dict)  # a pod's own key → the pod
    url: str = ""  # of the simulator, for pods

    def new_id(self, length: int = 14) -> str:
        """An id of RunPod's looks."""
        return "".join(self.world.rng.choices(LETTERS, k=length))

    def stamp(self, at: int | None) -> str | None:
        """RFC 3339 with Z, whole seconds."""
        return None if at is None else self.world.stamp(at).strftime("%Y-%m-%dT%H:%M:%SZ")

    def newer(self) -> bool:
        """Whether the fields that are newer than the saved specification are known (1.2)."""
        return self.world.faults.take("drift_fields_off") is None

    def template(self, template_id: str) -> dict[str, Any]:
        """Raises Refused (404)."""
        if template_id not in self.templates:
            raise not_found()
        return self.templates[template_id]

    def volume(self, volume_id: str) -> Volume:
        """Raises Refused (404)."""
        if volume_id not in self.volumes:
            raise not_found()
        return self.volumes[volume_id]

    def own_keys(self) -> str:
        """What PUBLIC_KEY is set to in a pod with startSsh."""
        return "\n".join(self.ssh_keys)

    def using_volume(self, volume_id: str) -> bool:
        mounts = (machine.facts["mounts"].get("network", []) for machine in self.world.living.values())
        return any(mount["volumeId"] == volume_id for each in mounts for mount in each)

    def using(self, name: str, value: str) -> bool:
        """Whether a living pod's `name` is `value`."""
        return any(machine.facts[name] == value for machine in self.world.living.values())
