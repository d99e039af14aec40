"""How offers, a deployment and the state of the fleet read on a terminal; JSON goes through cli/show.py."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.deploy.bills import Bill
    from fleet.deploy.candidates import Priced
    from fleet.deploy.deployment import Deployment
    from fleet.deploy.market import Market
    from fleet.deploy.status import Status
    from fleet.launch.outcomes import NoMachine

WIDEST = 48  # characters of what a machine says of itself
MOST = 25  # offers in a table; --json has them all
CONTAINER = re.compile(r"(?<![:\w])([0-9a-f]{12})[0-9a-f]{52}\b")  # not a digest, which follows a colon


def warn(lines: Iterable[str], mark: str = "note") -> None:
    """Lines beside the answer."""
    for line in lines:
        print(f"{mark}: {line}", file=sys.stderr)


def brief(text: str) -> str:
    """`text` with the ids of containers as Docker itself shows them."""
    return CONTAINER.sub(r"\1", text)


def shortened(words: str, most: int = WIDEST) -> str:
    """`words` in at most so many characters; what is left out is whole words, and three dots say so."""
    if len(words) <= most:
        return words
    room = words[: most - 2]  # one more than fits, so that a word that just fits stays
    return (room.rpartition(" ")[0] or room[:-1]).rstrip(" ,;:(") + "..."


def offer(one: Priced) -> dict[str, Any]:
    """A row of the table of offers."""
    from fleet.capacity.report.amounts import dollars, hours, span

    told, place = one.offer, one.offer.region
    finish = one.estimate if one.estimate and one.estimate.hours and one.estimate.dollars else None
    return {
        "provider": told.provider,
        "gpus": f"{told.count} x {told.gpu}",
        "kind": told.kind,
        "usd/h": f"{one.usd_hour:.2f}",
        "hours": hours(finish.hours.value) if finish and finish.hours else None,
        "to_finish": dollars(finish.dollars.value) if finish and finish.dollars else None,
        "range": span(finish.dollars) if finish and finish.dollars else None,
        "fits": one.estimate.verdict if one.estimate and one.estimate.verdict != "fits" else None,
        "region": place or None,
        "reliability": f"{told.reliability:.3f}" if told.reliability is not None else None,
        "stock": told.stock or None,
        "id": told.id,
    }


def offers(found: Market, with_dropped: bool) -> None:
    """The table of offers, best first; with_dropped: those that will not do, and why."""
    from cli.show import table

    table([offer(one) for one in found.ranked[:MOST]], False)
    if more := len(found.ranked) - MOST:
        warn([f"{more} more: --json"] if more > 0 else [])
    if with_dropped:
        print()
        rows = [
            {"provider": row.offer.provider, "gpus": f"{row.offer.count} x {row.offer.gpu}",
             "usd/h": f"{row.offer.price * row.offer.count:.2f}", "kind": row.offer.kind,
             "region": row.offer.region or None, "why_not": row.why}
            for row in found.sifted.dropped
        ]  # fmt: skip
        table(rows, False)
    warn(found.notes)
    warn(found.failures.values(), "warning")


def deployment(made: Deployment) -> dict[str, Any]:
    """What would be rented, for how much, and what ends it: name by name."""
    from fleet.capacity.report.amounts import dollars, hours, size, span
    from fleet.deploy.traffic import cents
    from fleet.deploy.traffic import what as traffic_words
    from fleet.deploy.volume import told as volume_told

    one, limits = made.first, made.recipe.limits
    told, place = one.offer, f", {one.offer.region}" if one.offer.region else ""
    found: dict[str, Any] = {
        "run": made.name,
        "image": f"{made.image.tag}, {size(made.image.size)} to pull" + (", private" if made.image.login else ""),
        "machine": f"{told.count} x {told.gpu} at {told.provider}{place}, {told.kind}" if told.count else told.provider,
        "price": f"{one.usd_hour:.2f} USD/h with {one.disk_gb:,} GB of disk",
    }
    estimate = one.estimate
    if estimate is not None and estimate.hours is not None and estimate.dollars is not None:
        found["trains"] = f"{estimate.steps:,} steps in {hours(estimate.hours.value)} ({span(estimate.hours)})"
        found["to finish"] = f"{dollars(estimate.dollars.value)} ({span(estimate.dollars)})"
    if cents(one.traffic_usd):
        found["traffic"] = f"{cents(one.traffic_usd):.2f} USD: {traffic_words(one)}"
    found["most"] = f"{made.usd_hour:.2f} USD/h; a dearer machine is not taken, nor kept"
    found["stops at"] = stops(limits.usd, limits.hours, limits.idle_minutes)
    found["checkpoints"] = made.recipe.remote or "on the machine alone"
    if made.needs.volume is not None:
        found["volume"] = f"{volume_told(made.needs.volume)}; mounted at {made.recipe.mount}"
    found["secrets"] = ", ".join(sorted(made.recipe.secrets)) or "none"
    if len(made.tried) > 1:
        dearest = max(other.usd_hour for other in made.tried)
        found["if it is gone"] = f"{len(made.tried) - 1} others, up to {dearest:.2f} USD/h"
    return found


def bills(found: Iterable[Bill]) -> None:
    """The providers' own bills beside ours; a warning where more was billed than counted."""
    for one in found:
        warn([one.words], "warning" if one.above else "note")


def tried(failed: NoMachine) -> None:
    """What was tried, beside the answer: offer, outcome, why, time, cost."""
    for row in failed.table():
        print("  " + "  ".join(str(part) for part in row if part), file=sys.stderr)


def stops(usd: Any, hours: float | None, idle: float | None) -> str:
    """'40.00 USD, 9.2 h, 30 min of idle GPUs, whatever comes first'."""
    told = [f"{usd:.2f} USD" if usd is not None else "", f"{hours:.1f} h" if hours is not None else ""]
    told.append(f"{idle:g} min of idle GPUs" if idle is not None else "")
    return f"{', '.join(part for part in told if part)}, whatever comes first"


def status(found: Status) -> None:
    """One row a machine; runs without one in their place."""
    from cli.show import table

    rows = [
        {
            "run": row.run or "(none)",
            "state": row.state,
            "machine": f"{row.provider} {brief(row.id)}".strip() or None,
            "gpus": row.gpu or None,
            "usd/h": None if row.usd_hour is None else f"{row.usd_hour:.2f}{'?' if row.assumed else ''}",
            "spent": f"{row.spent:.2f}",
            "left": None if row.left is None else f"{row.left:.2f}",
            "hours": None if row.since is None else f"{row.since.total_seconds() / 3600:.1f}",
            "step": row.signs.step,
            "saved": row.signs.saved,
            "loss": None if row.signs.loss is None else f"{row.signs.loss:.4f}",
            "": shortened(row.signs.stop or row.words) or None,
        }
        for row in found.rows
    ]
    if rows:
        table(rows, False)
        print(f"\n{found.spending:.2f} USD/h in all")
        for step in dict.fromkeys(row.next_step for row in found.rows if row.next_step):
            whose = dict.fromkeys(row.run for row in found.rows if row.next_step == step)
            print(f"  next     {step:<30} {', '.join(whose)}".rstrip())
    else:
        print(found.nothing)
    if found.foreign:
        names = ", ".join(f"{one.provider} {brief(one.id)} ({one.tag or 'no name'})" for one in found.foreign[:5])
        warn([f"{len(found.foreign)} more at these accounts, not of this ledger: {names}"])
    warn(found.failures.values(), "warning")
    warn(found.storage.lines() if found.storage is not None else ())


def requests(rows: Sequence[dict[str, Any]]) -> None:
    """The requests of a dry run, as they would be sent."""
    import json

    for row in rows:
        print(f"# {row['provider']}" + (f": {row['note']}" if row["note"] else ""))
        print(f"{row['method']} {row['path']}".strip())
        if row["body"] is not None:
            body = row["body"]
            print(body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False))
        print()
