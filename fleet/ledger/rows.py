"""Rows of the ledger as values, and the other way round."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from fleet.ledger.book import maybe, when
from fleet.ledger.money import usd
from fleet.ledger.values import Attempt, Known, Limits, Run, Wish
from fleet.offers.offer import from_json
from fleet.providers.values import TOLD_ENV, Instance, Ssh, State


def run_of(row: sqlite3.Row) -> Run:
    """A run."""
    limits = Limits(
        None if row["usd"] is None else usd(row["usd"]),
        None if row["usd_hour"] is None else usd(row["usd_hour"]),
        row["hours"],
        row["idle_minutes"],
    )
    return Run(
        row["name"],
        row["profile"],
        row["image"],
        json.loads(row["plan"]),
        limits,
        row["policy"],
        row["remote"],
        row["parent"],
        row["state"],
        when(row["made"]),
        row["words"],
    )


def wish_of(row: sqlite3.Row) -> Wish:
    """A wish."""
    return Wish(row["id"], row["run"], row["why"], when(row["made"]), row["state"], row["outcome"])


def attempt_of(row: sqlite3.Row) -> Attempt:
    """An attempt."""
    return Attempt(
        row["tag"],
        row["wish"],
        row["run"],
        row["provider"],
        from_json(json.loads(row["offer"])),
        usd(row["usd_hour"]),
        usd(row["most_usd_hour"]),
        row["digest"],
        row["state"],
        when(row["made"]),
        maybe(row["sent"]),
        row["instance"],
        row["because"],
        row["words"],
    )


def known_of(row: sqlite3.Row) -> Known:
    """A machine; the row holds its last price too."""
    return Known(
        instance_of(json.loads(row["body"])),
        row["run"],
        when(row["first"]),
        when(row["seen"]),
        usd(row["usd_hour"] or 0),
        bool(row["assumed"] or row["unpriced"]),
        row["missed"],
        maybe(row["missed_since"]),
        row["ending"],
        maybe(row["ended"]),
        row["why"],
        bool(row["adopted"]),
    )


def body_of(instance: Instance) -> dict[str, Any]:
    """An instance as plain JSON."""
    return {
        "provider": instance.provider,
        "id": instance.id,
        "tag": instance.tag,
        "state": str(instance.state),
        "status": instance.status,
        "usd_hour": None if instance.usd_hour is None else str(instance.usd_hour),
        "kind": instance.kind,
        "gpu": instance.gpu,
        "gpus": instance.gpus,
        "region": instance.region,
        "machine": instance.machine,
        "image": instance.image,
        "ssh": [instance.ssh.host, instance.ssh.port, instance.ssh.user] if instance.ssh else None,
        "created": instance.created.isoformat() if instance.created else None,
        "started": instance.started.isoformat() if instance.started else None,
        "words": instance.words,
        "gpu_busy": instance.gpu_busy,
        "env": {name: instance.env[name] for name in TOLD_ENV if name in instance.env},
    }


def instance_of(body: dict[str, Any]) -> Instance:
    """The instance that `body_of` wrote; what cannot be read of it is not told."""
    state = body.get("state")
    ssh = body.get("ssh")
    return Instance(
        provider=body["provider"],
        id=body["id"],
        tag=body.get("tag", ""),
        state=State(state) if state in set(State) else State.UNKNOWN,
        status=body.get("status", ""),
        usd_hour=amount(body.get("usd_hour")),
        kind=body.get("kind", ""),
        gpu=body.get("gpu", ""),
        gpus=body.get("gpus"),
        region=body.get("region", ""),
        machine=body.get("machine", ""),
        image=body.get("image", ""),
        ssh=Ssh(*ssh) if ssh else None,
        created=moment(body.get("created")),
        started=moment(body.get("started")),
        words=body.get("words", ""),
        gpu_busy=body.get("gpu_busy"),
        env=dict(body.get("env") or {}),
    )


def amount(text: str | None) -> Decimal | None:
    """A price as it was told."""
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return None


def moment(text: str | None) -> datetime | None:
    """A provider's time."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
