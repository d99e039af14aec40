"""What of a run ends with its machine: nothing where the run lies on a volume, or where a stop has wiped the disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.ledger.values import Run
from fleet.providers.provider import Provider
from fleet.providers.values import Instance, State

STANDING = (State.STOPPED, State.INTERRUPTED)


def bare(run: Run, instance: Instance, provider: Provider | None) -> str:
    """Why nothing of the run ends with its machine; "" when something may. provider None: it cannot be asked."""
    if volume := attached(run, instance):
        return f"it lies on volume {volume}"
    box: Mapping[str, Any] = run.plan.get("container") or {}
    wiped = provider is not None and "stopped disk" in provider.lacks and not box.get("volume_gb")
    return "its disk was wiped when it stopped" if wiped and instance.state in STANDING else ""


def attached(run: Run, instance: Instance) -> str:
    """The id of the volume that the run writes to on that machine; "" for none. One that is bound to a machine is no
    longer where the run is, once that has gone on from its remote elsewhere (fleet/resume/places.py)."""
    kept: Mapping[str, Any] = run.plan.get("volume") or {}
    box: Mapping[str, Any] = run.plan.get("container") or {}
    if not box.get("volume") or kept.get("provider") != instance.provider:
        return ""
    left = kept.get("machine") and run.remote and kept.get("machine") != instance.machine
    return "" if left else str(box["volume"])
