"""Hyperbolic: the rental options of its third API (providers.md 3.1). Prices are cents per hour of the whole option
(3.3); an option is a fixed shape without an id, on demand, disk and traffic included."""

from __future__ import annotations

from typing import Any

from fleet.offers.offer import ON_DEMAND, Found, Offer, Question, sane
from fleet.wire import fields
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import Line
from profiles import gpus

PROVIDER = "hyperbolic"
LIST = "/v2/on-demand/rental-options"
LIST_WITHOUT_KEY = "/v2/alpha/on-demand/rental-options"  # the same list (providers.md 3.2)
# What a create names (3.4). There is no form factor in it: two options that differ only there cannot be told apart.
ORDERED_BY = ("gpuType", "region", "gpuCount", "machineType", "connectionType")


def offers(line: Line, question: Question, seen: str) -> Found:
    """The one request; it works without a key too. Raises ProviderFailed."""
    return parse(line.get(LIST if line.key else LIST_WITHOUT_KEY), question, seen)


def parse(answer: Any, question: Question, seen: str) -> Found:
    """The offers in a bare array (providers.md 3.3). Raises ProviderFailed when it is none."""
    if not isinstance(answer, list):
        raise ProviderFailed(PROVIDER, "an answer that is no list", "its API may have changed; look for a newer Stoker")
    found, listed = Found(), [row for row in fields.rows(answer) if fields.flag(row, "enabled") is not False]
    for row in listed:
        one(row, found, listed, question, seen)
    return found


def one(row: dict[str, Any], found: Found, listed: list[dict[str, Any]], question: Question, seen: str) -> None:
    """Adds the offer in one row, or the reason why it is none. `providerCostPerHourCents` is not for us (3.3)."""
    kind, form, machine = (fields.text(row, name) for name in ("gpuType", "gpuFormFactor", "machineType"))
    name = f"{kind} {form}".strip()
    key = key_of(kind, form)
    if key is None:
        found.skip(PROVIDER, name, "no GPU of Stoker's table")
        return
    count, stock = fields.whole(row, "gpuCount"), fields.whole(row, "totalAvailable")
    if key not in question.wanted or count not in question.counts or stock == 0:  # absent: unknown, not zero (3.3)
        return
    if machine == "bare-metal":
        found.skip(PROVIDER, name, "bare metal: no known way to rent it through the API")  # (3.8)
        return
    cents = fields.number(row, "costPerHourCents")
    if cents is None or not count or not sane(cents / 100 / count, count):
        found.skip(PROVIDER, name, "no readable price")
        return
    region, twins = fields.text(row, "region"), sum(same_order(row, other) for other in listed) - 1
    found.offers.append(
        Offer(
            PROVIDER,
            key,
            count,
            cents / 100 / count,
            ON_DEMAND,
            "/".join(fields.text(row, field) for field in (*ORDERED_BY, "gpuFormFactor", "ethernetVariant")),
            seen,
            region=region,
            name=name,
            tier=machine,
            stock="unknown" if stock is None else str(stock),
            disk_gb=of_all_nodes(row, "storageGb"),
            disk_price=0.0,
            up_price=0.0,
            down_price=0.0,
            ram_gb=of_all_nodes(row, "ramGb"),
            cpus=of_all_nodes(row, "vcpuCount"),
            network=" ".join(filter(None, (fields.text(row, "connectionType"), fields.text(row, "ethernetVariant")))),
            note="another option has the same order and another form factor: check the GPU you get" if twins else "",
        )
    )


def same_order(row: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a create could not tell two options apart."""
    return all(fields.text(row, field) == fields.text(other, field) for field in ORDERED_BY)


def of_all_nodes(row: dict[str, Any], name: str) -> float | None:
    """The sum over an option's nodes; None when one of them does not tell."""
    nodes = row.get("nodes")
    values = [fields.number(node, name) for node in (fields.rows(nodes) if isinstance(nodes, list) else [])]
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def key_of(kind: str, form: str) -> str | None:
    """The table's key for `gpuType` and `gpuFormFactor`: the same type in another form is another speed (3.3).

    A row of the table without a form factor (b200, known only from a client's list) takes any.
    """
    for key, gpu in gpus.table().items():
        name = gpu.providers.hyperbolic
        if name and kind.lower() == name.gpu_type and name.form_factor in (None, form.lower()):
            return key
    return None
