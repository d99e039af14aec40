"""What belongs to the account: credit, volumes, SSH keys (providers.md 2.8, 2.10, 2.11)."""

from __future__ import annotations

import math

from fleet.offers import vast as search
from fleet.providers.values import Balance, Volume
from fleet.providers.vast.answers import PROVIDER, agreed
from fleet.providers.vast.rows import MONTH_HOURS, signed, storage, usd
from fleet.wire import fields
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Line


def balance(line: Line) -> Balance:
    """`credit` only: `balance` is another figure, and no field is neither enough nor nothing (2.11)."""
    answer = agreed(line.get("/api/v0/users/current"), "the account")
    credit = signed(answer, "credit")
    return Balance(PROVIDER, credit, words="" if credit is not None else "vast did not tell the credit")


def volumes(line: Line) -> list[Volume]:
    """Each stands on one machine and cannot leave it (2.10)."""
    answer = agreed(line.get("/api/v0/volumes/"), "the list of volumes")
    if not isinstance(answer.get("volumes"), list):
        raise ProviderFailed(PROVIDER, "an answer without the list of volumes", "ask again later")
    found = []
    for row in fields.rows(answer["volumes"]):
        id, size = fields.text(row, "id"), fields.number(row, "disk_space")
        if not id:
            raise ProviderFailed(PROVIDER, "a volume without an id in the list", "ask again later")
        month = usd(row, "storage_total_cost") or storage(row)  # per hour
        found.append(
            Volume(
                PROVIDER,
                id,
                fields.text(row, "label") or f"V.{id}",
                math.ceil(size or 0),
                search.region(fields.text(row, "geolocation")),
                fields.text(row, "machine_id"),
                None if month is None else month * MONTH_HOURS,
            )
        )
    return found


def keys(line: Line) -> list[str]:
    """The account's public SSH keys, without comments; deleted ones are listed too, and left out."""
    answer = line.get("/api/v0/ssh/")
    if not isinstance(answer, list):
        raise ProviderFailed(PROVIDER, "an answer without the list of SSH keys", "ask again later")
    words = [str(row.get("key") or "").split() for row in fields.rows(answer) if not row.get("deleted_at")]
    return [" ".join(each[:2]) for each in words if len(each) >= 2]
