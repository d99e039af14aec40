"""Runs and their machines, once they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.program import task
from tasks.words import DRY, JSON
from tasks.workbench import bench

if TYPE_CHECKING:
    from invoke.context import Context

PROVIDERS = "runpod, vast, hyperbolic, local; repeatable or a,b. None: all there is a key for."
NAMED = "Name of the run, as `status` lists it."
SURE = "Do not ask."


@task(
    "Fleet",
    help={"ended": "Also runs that are over.", "quick": "Do not ask the machines for their last step.", "json": JSON},
)
def status(c: Context, ended: bool = False, quick: bool = False, json: bool = False) -> None:
    """Every run at every provider: state, price, spent, left, step."""
    from cli.fleet_runs import status as look

    look(bench(json), ended, quick, json)


@task("Fleet", iterable=["provider"], help={"provider": PROVIDERS, "json": JSON})
def balance(c: Context, provider: list[str], json: bool = False) -> None:
    """What is left to spend at each provider, and for how long."""
    from cli.fleet_runs import balance as look

    look(bench(json), provider, json)


@task(
    "Fleet",
    positional=["run"],
    help={"run": NAMED, "tail": "Newest lines to begin with.", "follow": "Go on as lines come."},
)
def logs(c: Context, run: str, tail: int = 100, follow: bool = False) -> None:
    """What a run prints, from its machine."""
    from cli.fleet_runs import logs as show

    show(bench(False), run, tail, follow)


@task("Fleet", positional=["run"], help={"run": NAMED, "command": "Run this there instead of a shell."})
def ssh(c: Context, run: str, command: str = "") -> None:
    """A shell on a run's machine."""
    from cli.fleet_runs import ssh as connect

    connect(bench(False), run, command)


@task("Fleet", positional=["run"], help={"run": NAMED, "yes": SURE})
def stop(c: Context, run: str, yes: bool = False) -> None:
    """Stop a run's machine: it saves; its disk may bill on, or be wiped."""
    from cli.fleet_runs import stop as act

    act(bench(False), run, yes)


@task(
    "Fleet",
    positional=["run"],
    instead={"run": "all"},
    help={"run": NAMED, "all": "Every machine of every run.", "yes": SURE, "json": JSON},
)
def terminate(c: Context, run: str, all: bool = False, yes: bool = False, json: bool = False) -> None:
    """End machines for good, and see that nothing bills any more."""
    from cli.fleet_runs import terminate as act

    act(bench(json), run, all, yes, json)


@task(
    "Fleet",
    iterable=["provider", "adopt"],
    help={
        "provider": PROVIDERS,
        "adopt": "Id or tag of a machine to take over, or the four letters of its ledger. Repeatable.",
        "dry-run": DRY,
        "json": JSON,
    },
)
def reconcile(c: Context, provider: list[str], adopt: list[str], dry_run: bool = False, json: bool = False) -> None:
    """Make the ledger and the providers agree: orphans, ghosts, doubles."""
    from cli.fleet_runs import reconcile as act

    act(bench(json), provider, adopt, dry_run, json)


@task(
    "Fleet",
    help={
        "export": "json or csv.",
        "what": "all (json only), runs, wishes, attempts, instances, segments, events, checkpoints, costs.",
        "out": "File to write; none: standard output.",
    },
)
def ledger(c: Context, export: str = "json", what: str = "all", out: str = "") -> None:
    """What was asked for, what came, what it cost."""
    from cli.fleet_runs import ledger as show

    show(bench(True), export, what, out)


@task(
    "Fleet",
    iterable=["run"],
    words="run",
    help={
        "run": "Only these, also without the flag: watch night. None: every run that is open.",
        "resume": "Bring lost ones back, by their policy.",
        "json": "One line of JSON per look, on standard output.",
    },
)
def watch(c: Context, run: list[str], resume: bool = False, json: bool = False) -> None:
    """Look at runs again and again; end what is done or at a limit."""
    from cli.fleet_watch import watch as act

    act(bench(json), run, resume, json)


@task("Fleet", positional=["run"], help={"run": NAMED, "json": JSON})
def report(c: Context, run: str, json: bool = False) -> None:
    """The story of a run: machines, hours, dollars, checkpoints."""
    from cli.fleet_watch import report as tell

    tell(bench(json), run, json)
