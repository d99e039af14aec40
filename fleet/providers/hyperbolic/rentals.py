"""A row of Hyperbolic's list, in the fleet's words. What a row does not tell stays unknown (providers.md 3.5)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from fleet.offers.hyperbolic import PROVIDER
from fleet.offers.offer import ON_DEMAND
from fleet.providers.values import Instance, Ssh, State
from fleet.wire import fields
from fleet.wire.failed import ProviderFailed
from profiles import gpus

# Capitalised in live runs, `failed` only in another client's list (3.7). Anything else is unknown, never dead.
STATES = {"pending": State.PENDING, "running": State.RUNNING, "failed": State.FAILED}
# Ended ones were gone from the list (3.5); scripts of others filter them out, so that some may be there.
GONE = frozenset({"terminated", "deleted"})
USER = "ubuntu"  # seen; a row may name another (3.8)
# "2026-09-12 13:59:00.123+00": a space, a fraction or none, an offset of hours (0.4); the usual forms too.
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))? ?(?:Z|([+-]\d\d)(?::?(\d\d))?)", re.ASCII | re.IGNORECASE
)


def instances(answer: Any) -> list[Instance]:
    """The rentals in a bare array. Raises ProviderFailed when it is none, or holds a row that cannot be told from
    others: a list with a hole is never shown as whole."""
    if not isinstance(answer, list):
        raise ProviderFailed(PROVIDER, "a list of rentals that is no list", "ask again; if it stays, report it")
    found: dict[str, Instance] = {}
    for row in answer:
        if not isinstance(row, dict) or not fields.text(row, "id"):
            raise ProviderFailed(PROVIDER, "a list of rentals with one that has no id", "look in its web console")
        if gone(row):
            continue
        one = instance(row)
        found.setdefault(one.id, one)
    return list(found.values())


def gone(row: dict[str, Any]) -> bool:
    """Whether the row says in so many words that the rental is over."""
    return fields.text(row, "status").lower() in GONE


def instance(row: dict[str, Any]) -> Instance:
    """One rental."""
    status, kind = fields.text(row, "status"), fields.text(row, "gpuType")
    keys = keys_of(kind)
    return Instance(
        PROVIDER,
        fields.text(row, "id"),
        fields.text(row, "label") or fields.text(row, "name"),
        STATES.get(status.lower(), State.UNKNOWN),
        status,
        usd_hour=price(row),
        kind=ON_DEMAND,
        gpu=keys[0] if len(keys) == 1 else "",
        gpus=fields.whole(row, "gpuCount"),
        region=fields.text(row, "region"),
        ssh=ssh(row),
        created=moment(fields.text(row, "createdAt")),
        started=moment(fields.text(row, "startedAt")),
    )


def keys_of(kind: str) -> tuple[str, ...]:
    """Keys of the table's GPUs with this `gpuType`: several when they differ in form (SXM and PCIe)."""
    rows = gpus.table().items()
    return tuple(
        key for key, gpu in rows if gpu.providers.hyperbolic and gpu.providers.hyperbolic.gpu_type == kind.lower()
    )


def price(row: dict[str, Any]) -> Decimal | None:
    """USD per hour of the whole rental. Nothing and zero are unknown, never free (0.2)."""
    cents = exact(fields.inner(row, "currentTerm").get("costPerHourCents"))
    return cents / 100 if cents is not None and cents > 0 else None


def exact(value: object) -> Decimal | None:
    """A number of cents as it was sent, also as text or below zero; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > 40:
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() and abs(found) < 10**12 else None


def ssh(row: dict[str, Any]) -> Ssh | None:
    """Where its shell is. What is no plain host or user could be an option of the `ssh` program: then none."""
    for each in fields.rows(fields.inner(row, "providerData").get("sshNetworking")):
        host, user = fields.text(each, "host"), fields.text(each, "user") or USER
        port = 22 if each.get("port") is None else fields.whole(each, "port")
        plain = re.fullmatch(r"[A-Za-z0-9:][A-Za-z0-9.:-]*", host) and re.fullmatch(r"[A-Za-z_][\w.-]*", user, re.ASCII)
        if plain and port and port < 1 << 16:
            return Ssh(host, port, user)
    return None


def moment(text: str) -> datetime | None:
    """A time of Hyperbolic's, None when it cannot be read; one without an offset is not a moment."""
    match = TIME.fullmatch(text.strip())
    if not match:
        return None
    day, time, fraction, hours, minutes = match.groups()
    offset = f"{hours or '+00'}:{minutes or '00'}"
    try:
        return datetime.fromisoformat(f"{day}T{time}.{(fraction or '')[:6]:0<6}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def unlabelled(answer: Any) -> set[str]:
    """Ids of the rows in which no label is echoed; their name is the server's own (3.5)."""
    return {fields.text(row, "id") for row in fields.rows(answer) if not fields.text(row, "label")}
