"""`status`, `balance`, `logs`, `ssh`, `stop`, `terminate`, `reconcile`, `ledger`: what is there, and ending it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import fleet_show, show
from cli.fleet_agree import agreed
from cli.fleet_rehearsal import books, tell_rehearsal
from profiles.errors import OutsideFailed, WrongInput

if TYPE_CHECKING:
    from fleet.clock import Clock
    from fleet.ledger.ledger import Ledger
    from fleet.providers.provider import Provider
    from images.workbench import Workbench

NO_RUN = "(none)"  # as `status` shows a machine of which no run is known


@contextmanager
def fleet(work: Workbench) -> Iterator[tuple[Ledger, Clock]]:
    """The ledger and the time. A ledger that had to be begun anew is told loudly."""
    from fleet.clock import open_clock
    from fleet.ledger.opening import open_ledger

    clock = open_clock()
    tell_rehearsal(work)
    with open_ledger(books(work), clock) as ledger:
        if ledger.moved:
            fleet_show.warn([f"{ledger.moved}; ./inv reconcile finds the machines again"], "warning")
        yield ledger, clock


def clients(work: Workbench, clock: Clock, names: Iterable[str]) -> dict[str, Provider]:
    """Clients of these providers, each once. Raises WrongInput, Refused for real ones in a rehearsal."""
    from fleet.deploy.opening import opened

    return opened(dict.fromkeys(names), work.store.root, os.environ, clock)


def keyed(texts: Iterable[str] = ()) -> tuple[str, ...]:
    """The named providers, else all there is a key for. Raises WrongInput for an unknown one, or one without a key."""
    from fleet.deploy.opening import chosen, named
    from fleet.wire.keys import keys

    names = named(texts)
    if names:
        return chosen(names, os.environ, Path.home())
    return tuple(keys(os.environ, Path.home()))


def status(work: Workbench, ended: bool, quick: bool, json: bool) -> None:
    """All providers at once. Raises OutsideFailed when one of them did not answer."""
    from fleet.deploy.ending import providers_of
    from fleet.deploy.status import status as look

    with fleet(work) as (ledger, clock):
        names = (*keyed(), *sorted(providers_of(ledger)))
        found = look(ledger, clients(work, clock, names), clock, ended=ended, output=not quick)
    if json:
        show.document({"format": 1, **found.to_json()})
    else:
        fleet_show.status(found)
    found.refuse_unknown()


def balance(work: Workbench, providers: list[str], json: bool) -> None:
    """What is left everywhere; exit 3 when nobody answers."""
    from fleet.clock import open_clock
    from fleet.deploy.balances import balances
    from fleet.deploy.opening import chosen, named

    tell_rehearsal(work)
    names = chosen(named(providers), os.environ, Path.home())
    rows = balances(clients(work, open_clock(), names))
    if json:
        show.document({"format": 1, "balances": rows})
    else:
        show.table([{**row, "usd": row["usd"] or "not told"} for row in rows], False)
    if all(row["failed"] for row in rows):
        raise OutsideFailed(rows[0]["words"].partition("; ")[0], rows[0]["words"].partition("; ")[2])


def logs(work: Workbench, run: str, tail: int, follow: bool) -> None:
    """Lines of a run's machine, as they come."""
    from fleet.deploy.ending import the_machine

    if tail < 1:
        raise WrongInput(f"--tail {tail} shows nothing", "--tail 100")
    with fleet(work) as (ledger, clock):
        one = the_machine(ledger, run)
        provider = clients(work, clock, [one.provider])[one.provider]
    refuse_lacking(provider, "logs", "output that can be read from here")
    for line in provider.logs(one.id, tail, follow):
        sys.stdout.write(printable(line) + "\n")
        sys.stdout.flush()


def refuse_lacking(provider: Provider, method: str, what: str) -> None:
    """Raises WrongInput for what a provider never has, with what to do instead: waiting would not help."""
    if method in provider.lacks:
        raise WrongInput(f"{provider.name} has no {what}", provider.lacks[method])


def printable(line: str) -> str:
    """A line of a container that cannot steer the terminal; tabs stay."""
    return "".join(letter for letter in line.rstrip("\r\n") if letter.isprintable() or letter == "\t")


def ssh(work: Workbench, run: str, words: str) -> None:
    """A shell on the machine of a run, by the ssh program; its host key is pinned at first use in .stoker."""
    import subprocess

    from fleet.deploy.ending import the_machine
    from fleet.deploy.shells import command, environment, own_key

    with fleet(work) as (ledger, clock):
        one = the_machine(ledger, run)
        provider = clients(work, clock, [one.provider])[one.provider]
    refuse_lacking(provider, "ssh", "shell")
    place = provider.ssh(one.id)
    if place is None:
        raise OutsideFailed(f"{one.provider} {one.id} has no shell yet", "try again in a minute")
    line = command(place, books(work), one.provider, one.id, words, own_key())
    code = subprocess.call(line, env=environment())
    if code == 255:
        raise OutsideFailed(f"no SSH connection to {place.host}:{place.port}", "is your key in ~/.ssh, or in an agent?")
    if code:
        from invoke.exceptions import Exit

        raise Exit("", code)


def stop(work: Workbench, run: str, yes: bool) -> None:
    """Stops a run's machine; the run saves and ends. Raises Refused where the stop would wipe the only copy."""
    from fleet.deploy.ending import the_machine
    from fleet.deploy.stopping import stop_of
    from fleet.life.told import STOPPED
    from fleet.watch.disk import attached

    with fleet(work) as (ledger, clock):
        one = the_machine(ledger, run)
        provider = clients(work, clock, [one.provider])[one.provider]
        refuse_lacking(provider, "stop", "stop")
        kept = ledger.run(one.run)
        words = stop_of(provider, kept, attached(kept, one.instance))
        agreed(f"stop {one.provider} {one.id}? {words.ahead}", yes)
        with ledger.hold(one.run):
            # Said before it is done: a stopped machine that nobody owns up to counts as lost, and its disk is ended.
            ledger.tell(one.run, STOPPED, f"stopped by the user; {words.after}", one.id)
            provider.stop(one.id)
    print(f"{one.run}: {one.provider} {one.id} is stopped; {words.after}")
    print(f"  end      ./inv terminate {one.run}")


def terminate(work: Workbench, run: str, every: bool, yes: bool, json: bool) -> None:
    """Ends the machines of a run or of all, and sees that nothing bills. Raises OutsideFailed when one is left."""
    from fleet.deploy import ending
    from fleet.deploy.bills import bills
    from fleet.deploy.storage import Storage, storage
    from fleet.deploy.volume import left_behind

    if bool(run) == every:
        raise WrongInput("which machines?", "./inv terminate RUN, or --all")
    with fleet(work) as (ledger, clock):
        if run:
            ledger.run(run)
        found = clients(work, clock, everywhere(ledger) if every else {*keyed(), *ending.providers_of(ledger, run)})
        unknown = ending.listed(ledger, found) if every else {}
        live = ledger.live(run)
        unsure = {one.run for one in ledger.unsettled(run)}
        runs = [run] if run else sorted({*(one.run for one in live if one.run), *unsure, *open_runs(ledger)})
        if live:
            told = ", ".join(f"{one.run or NO_RUN}: {one.provider} {one.id}" for one in live)
            agreed(f"end {told}? what is on it is lost", yes)
        rows = ending.terminate(ledger, runs, found, clock)
        rows += ending.strays(ledger, found, clock) if every else []
        rows += ending.silent(unknown, rows)
        notes = [*ending.kept_secrets(ledger, runs, found), *left_behind(ledger, runs)]
        billed = bills(ledger, tuple(dict.fromkeys(row.run for row in rows if row.run and row.id)), found, clock)
    kept = storage(found, unknown) if every else Storage()
    if json:
        more = {"storage": kept.to_json()} if every else {}
        more |= {"bills": [one.to_json() for one in billed]}
        show.document({"format": 1, "ended": [row.to_json() for row in rows], **more})
    elif not rows:
        print("nothing to end")
    for row in rows if not json else ():
        where = " ".join(filter(None, (row.provider, row.id)))
        print(f"{row.run or NO_RUN}: {f'{where}: ' if where else ''}{row.words}")
    fleet_show.bills([one for one in billed if one.billed is not None])
    fleet_show.warn(notes + kept.lines())
    if every and not rows:
        tell_unasked(found)
    ending.refuse_left(rows)


def open_runs(ledger: Ledger) -> list[str]:
    """Names of runs that may come back."""
    from fleet.ledger.values import OPEN

    return [run.name for run in ledger.runs() if run.state == OPEN]


def reconcile(work: Workbench, providers: list[str], adopt: list[str], dry_run: bool, json: bool) -> None:
    """Makes the ledger and the providers agree. Exit 3 when a provider did not answer or something is left."""
    from fleet.launch.reconcile import reconcile as act

    with fleet(work) as (ledger, clock):
        names = keyed(providers) or everywhere(ledger)
        found = clients(work, clock, names)
        if not providers:
            tell_unasked(names)
        rows = act(
            ledger, found, clock, adopt=tuple(adopt), dry_run=dry_run, say=lambda words: fleet_show.warn([words])
        )
    plain: list[dict[str, Any]] = [
        {"what": row.kind, "provider": row.provider, "id": row.id, "tag": row.tag, "run": row.run, "done": row.done,
         "words": row.words}
        for row in rows
    ]  # fmt: skip
    if json:
        show.document({"format": 1, "dry_run": dry_run, "rows": plain})
    elif not plain:
        print("the ledger and the providers agree")
    else:
        show.table(plain, False)
    left = [row for row in rows if not row.done]
    if left and not dry_run:
        raise OutsideFailed(
            f"{len(left)} of {len(rows)} are not settled: {left[0].words}", left[0].step or "./inv reconcile again"
        )


def everywhere(ledger: Ledger) -> tuple[str, ...]:
    """Where machines of ours may be: all there is a key for, those of the ledger, and this machine when it had one."""
    from fleet.deploy.ending import providers_of
    from fleet.deploy.opening import LOCAL

    names = {*keyed(), *providers_of(ledger)}
    here = not names or ledger.moved or any(one.provider == LOCAL for one in ledger.known())
    return tuple(sorted({*names, LOCAL} if here else names))


def tell_unasked(names: Iterable[str]) -> None:
    """Says of which providers nothing was learnt, because there is no key."""
    from fleet.wire.failed import KEY_NAMES

    if unasked := [name for name in KEY_NAMES if name not in names]:
        step = ", ".join(KEY_NAMES[name] for name in unasked)
        fleet_show.warn([f"not asked, without a key: {', '.join(unasked)}; set {step} if you rented there"])


def keyed_or_told() -> None:
    """Raises WrongInput: no key of any provider, with where to get one."""
    from fleet.deploy.opening import chosen

    chosen((), os.environ, Path.home())


def ledger(work: Workbench, export: str, what: str, out: str) -> None:
    """What the ledger holds, as JSON or CSV, on standard output or in a file."""
    if export not in ("json", "csv"):
        raise WrongInput(f"--export {export} is no form", "--export json, or --export csv")
    with fleet(work) as (book, _):
        text = book.export(what, export)
    if not out:
        return show.text(text)
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as failed:
        raise OutsideFailed(f"cannot write {out}: {failed.strerror}", "name another file") from None
    return print(f"wrote {out}", file=sys.stderr)
