"""`watch` and `report`: what runs do, line by line or as a table, and the story of one."""

from __future__ import annotations

import json as jsonlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cli import show
from cli.fleet_rehearsal import books
from cli.fleet_runs import clients, fleet, keyed
from cli.fleet_show import bills as show_bills
from cli.fleet_show import brief
from profiles.errors import CheckFailed, StokerError, StoppedEarly

if TYPE_CHECKING:
    from datetime import datetime

    from fleet.clock import Clock
    from fleet.ledger.ledger import Ledger
    from fleet.ledger.values import Run
    from fleet.watch.beside import Beside
    from fleet.watch.report import Report
    from fleet.watch.watched import Watched
    from images.workbench import Workbench


def watch(work: Workbench, names: Sequence[str], resume: bool, json: bool) -> None:
    """Until every run is closed or lost. Ctrl-C ends the watching alone (75). Raises CheckFailed for lost ones."""
    from fleet.deploy.ending import providers_of
    from fleet.watch.watch import Watch
    from fleet.watch.watch import watch as act
    from fleet.watch.watched import Eyes

    with fleet(work) as (ledger, clock):
        for name in names:
            ledger.run(name)
        lines = Lines(clock, json)
        providers = clients(work, clock, (*keyed(), *sorted(providers_of(ledger))))
        beside = resumes(work, clock, lines) if resume else None
        watching = Watch(Eyes(ledger, providers, clock), lines.found, lines.trouble, beside, finished, saved)
        try:
            act(watching, names)
        except KeyboardInterrupt:
            raise StoppedEarly(*left(ledger, names, resume)) from None
        lines.close()
        if watching.left:
            name, why = next(iter(watching.left.items()))
            raise CheckFailed(f"{len(watching.left)} lost and not brought back: {name}: {why}", f"./inv resume {name}")
        if not lines.known:
            print("no run is open: nothing to watch", file=sys.stderr)


def resumes(work: Workbench, clock: Clock, lines: Lines) -> Beside:
    """Who brings lost runs back, each with a ledger of its own."""
    from fleet.watch.beside import Beside

    def back(run: str) -> None:
        from dataclasses import replace

        from cli.fleet_back_flags import Back
        from cli.fleet_resume import prepared
        from fleet.ledger.opening import open_ledger
        from fleet.resume.resume import resume

        with open_ledger(books(work), clock) as ledger:
            comeback = prepared(Back(run, yes=True), work, ledger, clock)
            comeback.terms = replace(comeback.terms, unattended=True)
            comeback.say = lambda words: lines.trouble(f"{run}: {words}")
            lines.trouble(f"{run}: {resume(comeback, run, wait=False).words}")

    return Beside(back, lines.trouble, clock)


def finished(run: Run) -> int | None:
    """The last step when it is at the run's remote; None also when nobody can tell now."""
    from cli.fleet_resume import stored
    from fleet.resume.saved import last_step

    try:
        return last_step(run, stored(run.remote)) if run.remote else None
    except StokerError:
        return None


def saved(run: Run) -> int | None:
    """The newest whole step at the run's remote. Raises OutsideFailed, WrongInput when nobody can tell."""
    from cli.fleet_resume import stored
    from fleet.resume.saved import newest

    there = newest(stored(run.remote)) if run.remote else None
    return there.step if there else None


def left(ledger: Ledger, names: Sequence[str], resumed: bool) -> tuple[str, str]:
    """After Ctrl-C: what runs on without us."""
    live = [one for one in ledger.live() if not names or one.run in names]
    places = ", ".join(f"{one.provider} {brief(one.id)}" for one in live[:4]) + (", ..." if len(live) > 4 else "")
    lost = ", and nobody brings lost runs back" if resumed else ""
    if not live:
        return f"stopped watching{lost}", "./inv watch goes on"
    runs = "runs on, with the limits in its container" if len(live) == 1 else "run on, each with its container's limits"
    return f"stopped watching; {places} {runs}{lost}", "./inv watch goes on"


class Lines:
    """One line per change, as text or JSON; on a terminal the newest of every run stays below them as a table."""

    def __init__(self, clock: Clock, json: bool) -> None:
        self.clock, self.json = clock, json
        self.known: dict[str, dict[str, Any]] = {}
        self._said: dict[str, tuple[object, ...]] = {}
        self._drawn = 0
        self._terminal = sys.stdout.isatty() and not json

    def found(self, found: Watched) -> None:
        """What a look found, when it says something new."""
        row = plain(found)
        self.known[found.run.name] = row
        # A step is no change by itself on paper, and on a terminal it is in the table.
        mark = (row["state"], row["machine"], row["saved"], row["trouble"], row["limit"])
        changed = self._said.get(found.run.name) != mark
        self._said[found.run.name] = mark
        if self.json:
            if changed or row["step"] is not None:
                self._put(jsonlib.dumps({"at": self._at().isoformat(timespec="seconds"), **row}))
        elif changed:
            self._put(f"{self._at():%H:%M:%S}  {sentence(row)}")
        self._draw()

    def trouble(self, words: str) -> None:
        """A line for what was done, or failed."""
        with self._above():
            if self.json:
                print(jsonlib.dumps({"at": self._at().isoformat(timespec="seconds"), "words": words}), flush=True)
            else:
                print(f"{self._at():%H:%M:%S}  {words}", flush=True)

    def close(self) -> None:
        """Leaves what was drawn."""
        self._drawn = 0

    def _at(self) -> datetime:
        return self.clock.now()

    def _put(self, line: str) -> None:
        with self._above():
            print(line, flush=True)

    @contextmanager
    def _above(self) -> Iterator[None]:
        """Takes the table away for a line, and draws it again below."""
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0
        yield
        self._draw()

    def _draw(self) -> None:
        if not self._terminal:
            return
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}F\x1b[J")
        names = ("run", "state", "machine", "step", "saved", "spent_usd", "usd_hour")
        rows = [
            [brief(str(row[name])) if row[name] is not None else "-" for name in names] for row in self.known.values()
        ]
        widths = [max((len(row[place]) for row in [list(names), *rows]), default=0) for place in range(len(names))]
        width = os.get_terminal_size().columns if self._terminal else 80
        for row in [list(names), *rows]:
            line = "  ".join(value.ljust(wide) for value, wide in zip(row, widths, strict=True)).rstrip()
            print(line[: max(1, width - 1)])
        sys.stdout.flush()
        self._drawn = len(rows) + 1


def plain(found: Watched) -> dict[str, Any]:
    """A look as plain values; money as text."""
    signs, known = found.heard.signs, found.known
    return {
        "run": found.run.name,
        "state": str(found.verdict.life),
        "why": found.verdict.why or None,
        "machine": f"{known.provider} {known.id}" if known else None,
        "step": signs.step,
        "saved": signs.saved,
        "loss": signs.loss,
        "spent_usd": f"{found.spent.usd:.2f}",
        "usd_hour": None if found.spent.usd_hour is None else f"{found.spent.usd_hour:.2f}",
        "hours": round(found.spent.billed.total_seconds() / 3600, 3),
        "idle_minutes": round(found.spent.idle.total_seconds() / 60, 1),
        "limit": "; ".join(one.words for one in found.breaches) or None,
        "trouble": found.trouble or None,
    }


def sentence(row: dict[str, Any]) -> str:
    """A row as a line."""
    parts = [f"{row['run']}: {row['state']}"]
    if row["why"]:
        parts.append(str(row["why"]))
    if row["machine"]:
        parts.append(f"{brief(row['machine'])}, {row['spent_usd']} USD spent")
    if row["saved"] is not None:
        parts.append(f"saved step {row['saved']}")
    parts += [str(row[name]) for name in ("limit", "trouble") if row[name]]
    return "; ".join(parts)


def report(work: Workbench, run: str, json: bool) -> None:
    """The story of one run, by the ledger, and beside it what the providers billed, where there is a key."""
    from fleet.deploy.bills import bills
    from fleet.watch.report import report as made

    with fleet(work) as (ledger, clock):
        found = made(ledger, run, clock.now())
        where = {one.known.provider for one in found.machines}
        billed = bills(ledger, [run], clients(work, clock, [name for name in keyed() if name in where]), clock)
    if json:
        return show.document({"format": 1, **found.to_json(), "bills": [one.to_json() for one in billed]})
    printed(found)
    return show_bills(billed)


def printed(found: Report) -> None:
    """For people."""
    run = found.run
    show.pairs(
        {
            "run": run.name,
            "state": f"{run.state}: {run.words}" if run.words else run.state,
            "image": run.image or None,
            "checkpoints": run.remote or "on the machine alone",
            "spent": f"{found.usd:.2f} USD" + (f", {found.left:.2f} left" if found.left is not None else ""),
            "rented": f"{found.hours:.2f} h on {len(found.machines)} machine{'s' if len(found.machines) != 1 else ''}",
            "newest known": None
            if found.saved is None
            else f"step {found.saved}" + (f" of {found.goal}" if found.goal else ""),
        },
        False,
    )
    if found.machines:
        print()
        show.table([machine(one.to_json()) for one in found.machines], False)
    print()
    for event in found.events:
        # Of a run and of its machine the same may be told, in the same words.
        of = f"machine {event.instance}: " if event.instance and event.instance not in event.words else ""
        print(f"{event.at:%Y-%m-%d %H:%M:%S}  {event.kind:<10}  {brief(of + event.words)}".rstrip())


def machine(row: dict[str, Any]) -> dict[str, Any]:
    """A machine's row of the table."""
    return {
        "machine": f"{row['provider']} {brief(row['id'])}",
        "gpus": f"{row['gpus']} x {row['gpu']}" if row["gpu"] and row["gpus"] else row["gpu"],
        "from": row["from"][5:16].replace("T", " "),
        "hours": f"{row['hours']:.2f}",
        "usd/h": f"{float(row['usd_hour']):.2f}{'?' if row['price_assumed'] else ''}",
        "usd": f"{float(row['usd']):.2f}",
        "ended": row["ended_because"] or ("runs" if row["to"] is None else row["to"]),
    }
