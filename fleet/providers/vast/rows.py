"""A row of Vast's lists as an Instance. Unreadable is None, never a price of 0 or another state (providers.md 0.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fleet.offers import vast as search
from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND
from fleet.providers.masked import PIECE, masked
from fleet.providers.values import TOLD_ENV, Instance, Order, Ssh, State
from fleet.providers.vast import refusals, states
from fleet.wire import fields

PLAIN = ("STOKER_", "PUBLIC_KEY", "NCCL_", "-p ")
MONTH_HOURS = 720  # of a storage price (2.4)


def instance_of(row: Mapping[str, Any], ours: Iterable[str] = (), hidden: Iterable[str] = ()) -> Instance | None:
    """The row, None when it has no id. ours: ids that we stopped ourselves; hidden: what may never be told."""
    id = fields.text(row, "id")
    if not id.isdigit():
        return None
    state = states.state(row, id in ours)
    env = environment(row.get("extra_env"))
    name = fields.text(row, "gpu_name").replace("_", " ")
    bid = fields.flag(row, "is_bid")
    return Instance(
        provider=search.PROVIDER,
        id=id,
        tag=fields.text(row, "label") or env.get("STOKER_TAG", ""),
        state=state,
        status=states.told(row),
        usd_hour=price(row, state),
        kind="" if bid is None else INTERRUPTIBLE if bid else ON_DEMAND,
        gpu=search.key_of(name, fields.number(row, "gpu_ram"))[0] or "",
        gpus=fields.whole(row, "num_gpus") or None,
        region=search.region(fields.text(row, "geolocation")),
        machine=fields.text(row, "machine_id"),
        image=fields.text(row, "image_uuid"),
        ssh=shell(row),
        created=moment(row, "start_date"),
        words=refusals.said(masked(fields.text(row, "status_msg"), values(env)), hidden),
        gpu_busy=busy(row),
        env={key: env[key] for key in TOLD_ENV if key in env},
    )


def ordered(order: Order, id: str, words: str) -> Instance:
    """What was rented just now, as far as the order tells."""
    offer, image = order.offer, order.container.image
    return Instance(
        search.PROVIDER,
        id,
        order.tag,
        State.PENDING,
        kind=offer.kind,
        gpu=offer.gpu,
        gpus=offer.count,
        region=offer.region,
        machine=offer.machine,
        image=image,
        words=words,
    )


def price(row: Mapping[str, Any], state: State) -> Decimal | None:
    """USD per hour of the whole slice with its disk; of a stopped one what its disk costs (2.6, 2.11).

    `dph_total` is told from the first row on, before the GPU bills: it is what the cap is held against.
    """
    disk = storage(row)
    if state in (State.STOPPED, State.INTERRUPTED):
        return usd(fields.inner(dict(row), "instance"), "totalHour") or disk
    base = usd(row, "dph_base")
    both = None if base is None or disk is None else base + disk
    return usd(row, "dph_total") or both or usd(fields.inner(dict(row), "instance"), "totalHour")


def storage(row: Mapping[str, Any]) -> Decimal | None:
    """USD per hour of the disk: `storage_cost` is per GB and month, whatever the OpenAPI file says (2.1, 2.4)."""
    month, size = usd(row, "storage_cost"), usd(row, "disk_space")
    return None if month is None or size is None else month * size / MONTH_HOURS


def usd(row: Mapping[str, Any], name: str) -> Decimal | None:
    """A number above 0; 0 is no price."""
    found = fields.number(row, name)
    return Decimal(str(found)) if found else None


def signed(row: Mapping[str, Any], name: str) -> Decimal | None:
    """A number that may be negative (credit), None when there is none to read."""
    found = fields.signed(row, name)
    return None if found is None else Decimal(str(found))


def busy(row: Mapping[str, Any]) -> float | None:
    """`gpu_util` as 0..1. The CLI prints it as per cent; the file does not tell its unit, so a figure that would mean
    idle in one and busy in the other is unknown: a busy machine must not be ended as an idle one."""
    found = fields.number(row, "gpu_util")
    if found is None or 0 < found <= 1:
        return None
    return min(found / 100, 1.0)


def environment(value: object) -> dict[str, str]:
    """`extra_env`: pairs in the list of v1, text or an object elsewhere (2.1)."""
    pairs: list[tuple[object, object]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    for each in value if isinstance(value, list) else ():
        if isinstance(each, list) and len(each) == 2:
            pairs.append((each[0], each[1]))
        elif isinstance(each, str):
            name, _, content = each.partition("=")
            pairs.append((name, content))
    return {key: content for key, content in pairs if isinstance(key, str) and isinstance(content, str)}


def values(env: Mapping[str, str]) -> list[str]:
    """What of a machine's own variables its words may not repeat: another process does not know which are secret."""
    return [value for name, value in env.items() if not name.startswith(PLAIN) and len(value) >= PIECE]


def shell(row: Mapping[str, Any]) -> Ssh | None:
    """Directly, where the host maps port 22; else through Vast's proxy, which only an `ssh` runtype answers (2.8).

    `public_ipaddr` carries blanks, and is stripped.
    """
    address = fields.text(row, "public_ipaddr")
    mapped = fields.rows(fields.inner(dict(row), "ports").get("22/tcp"))
    port = next((found for each in mapped if (found := fields.whole(each, "HostPort"))), None)
    if address and port and port < 1 << 16:
        return Ssh(address, port)
    host, port = fields.text(row, "ssh_host"), fields.whole(row, "ssh_port")
    proxied = "ssh" in fields.text(row, "image_runtype")
    return Ssh(host, port) if proxied and host and port and port < 1 << 16 else None


def moment(row: Mapping[str, Any], name: str) -> datetime | None:
    """Seconds since 1970 as a time."""
    seconds = fields.number(row, name)
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None
