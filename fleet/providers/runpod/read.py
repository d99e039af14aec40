"""A pod as RunPod lists it, as an Instance. Fields come and go; what cannot be read is unknown, never free or gone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from fleet.offers.offer import ON_DEMAND
from fleet.offers.runpod import PROVIDER, key_of
from fleet.providers.values import TOLD_ENV, Instance, Ssh, State
from fleet.wire import fields

# The states of providers.md 1.10. EXITED: somebody stopped it, it ended, or the credit did; RunPod does not say which,
# and v2 rents nothing that can be outbid (1.14), so it is never told as interrupted.
STATES = {
    "PROVISIONING": State.PENDING,
    "STARTING": State.STARTING,
    "RUNNING": State.RUNNING,
    "EXITED": State.STOPPED,
    "ERROR": State.FAILED,
}
DELETED = "TERMINATED"  # in practice it vanishes from the list instead (1.10)
VOLUME_MONTH = Decimal("0.20")  # USD per GB and month of a stopped pod's volume disk (1.12)
MONTH = 720  # hours: the shortest reading, so the dearest


def instance(pod: Mapping[str, Any]) -> Instance:
    """One pod. Never raises: whatever is missing or odd is None, "" or UNKNOWN."""
    status = fields.text(pod, "status")
    state = STATES.get(status.upper(), State.UNKNOWN)
    gpu = fields.inner(pod, "gpu")
    return Instance(
        provider=PROVIDER,
        id=fields.text(pod, "id"),
        tag=fields.text(pod, "name"),
        state=state,
        status=status,
        usd_hour=usd_hour(pod, state),
        kind=ON_DEMAND,
        gpu=key_of(fields.text(gpu, "id")) or "",
        gpus=fields.whole(gpu, "count"),
        region=fields.text(pod, "dataCenterId"),
        image=fields.text(pod, "image"),
        ssh=ssh(pod),
        created=moment(pod, "createdAt"),
        started=moment(pod, "startedAt"),
        words=words(pod, state),
        gpu_busy=gpu_busy(pod),
        env={name: value for name in TOLD_ENV if (value := long_text(fields.inner(pod, "env").get(name)))},
    )


def deleted(pod: Mapping[str, Any]) -> bool:
    """Whether the provider says that it is no more."""
    return fields.text(pod, "status").upper() == DELETED


def usd_hour(pod: Mapping[str, Any], state: State) -> Decimal | None:
    """What it costs now. `cost` is 0 when EXITED, yet a volume disk bills on, at twice its price (1.8, 1.12); 0 for
    anything that is not stopped is no price but a misreading of ours or theirs: unknown."""
    cost = money(pod.get("cost"))
    if cost is None or cost < 0:
        return None
    if state is State.STOPPED:
        size = fields.whole(fields.inner(fields.inner(pod, "mounts"), "persistent"), "size") or 0
        return cost + VOLUME_MONTH * size / MONTH
    return cost or None


def money(value: object) -> Decimal | None:
    """An amount as a decimal, also from a string, also below zero; None when there is none to read."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and abs(amount) < 1 << 40 else None


def ssh(pod: Mapping[str, Any]) -> Ssh | None:
    """The full SSH, by its own block or by the mapping of port 22; the proxy is a bare shell without scp or forwarding
    (1.12), so it does not count."""
    direct = fields.inner(fields.inner(pod, "ssh"), "direct")
    host, port = fields.text(direct, "host"), port_of(direct, "port")
    if host and port:
        return Ssh(host, port, fields.text(direct, "username") or "root")
    for row in fields.rows(fields.inner(pod, "runtime").get("ports")):
        host, port = fields.text(row, "ip"), port_of(row, "public")
        if host and port and fields.whole(row, "private") == 22 and fields.text(row, "type").lower() == "tcp":
            return Ssh(host, port)
    return None


def port_of(row: Mapping[str, Any], name: str) -> int | None:
    port = fields.whole(row, name)
    return port if port is not None and 0 < port < 65536 else None


def words(pod: Mapping[str, Any], state: State) -> str:
    """What else it says of itself that a user can use."""
    if state is State.STOPPED:
        return "stopped; RunPod does not tell by whom: a user, its own end, or the credit's"
    if state is State.UNKNOWN:
        return f"a state that is not known: {fields.text(pod, 'status') or 'none'}"
    if state is State.RUNNING:
        uptime = fields.whole(fields.inner(pod, "runtime"), "uptime")
        return "says RUNNING, tells no uptime yet" if not uptime else ""
    return ""


def gpu_busy(pod: Mapping[str, Any]) -> float | None:
    """The busiest GPU, of percents (1.8); None before they are told, and when one is none."""
    told = [fields.number(row, "util") for row in fields.rows(fields.inner(pod, "runtime").get("gpus"))]
    known = [percent for percent in told if percent is not None and percent <= 100]
    return max(known) / 100 if known and len(known) == len(told) else None


def moment(pod: Mapping[str, Any], name: str) -> datetime | None:
    """An RFC 3339 time, with its zone; None for anything else."""
    written = fields.text(pod, name)
    if not re.match(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}", written):
        return None
    try:
        found = datetime.fromisoformat(written)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def long_text(value: object) -> str:
    """A value of the environment: addresses of stores may be longer than what a provider's words may."""
    return value if isinstance(value, str) and len(value) <= 4096 and value.isprintable() else ""
