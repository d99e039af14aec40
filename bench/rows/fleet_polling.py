"""Ten runs at each provider, watched for an hour of virtual time: how many requests a minute each provider gets."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from bench.rows.fleet_sites import NAMES, Bare, Over, Served, Together, quiet, rent, served
from bench.rows.row import Row
from fleet.clock import Clock, SimulatedClock
from fleet.ledger.opening import open_ledger
from fleet.ledger.values import Limits, Run
from fleet.life.verdict import Patience
from fleet.providers.catalogue import open_provider
from fleet.providers.provider import Provider
from fleet.providers.runpod import logs
from fleet.watch.watch import Watch, watch
from fleet.watch.watched import Eyes

RUNS = 10
MOST = 20  # requests a minute
IMAGE = "registry.example/team/train@sha256:" + "a" * 64
MINUTE = 60_000_000  # microseconds
APART = 2.0  # seconds between the beginnings of two watchers: nobody starts ten at one moment
REAL = 0.2  # seconds of real time until a stream that never ends is taken to be silent: waiting longer asks no more
FILES = {"vast": "/vast-results/"}  # outputs lie in a store of files with a host of its own (providers.md 2.6)
BOOT = timedelta(hours=9)  # machines without a body never make a step, and are to be looked at for the whole time


def rows(short: bool = False) -> list[Row]:
    """One who watches all of it, and ten who watch one run at each provider. short: ten minutes, not by ten."""
    found = watched("one watcher of all runs", 1, 600 if short else 3600)
    return found if short else [*found, *watched(f"{RUNS} watchers, each of one run at each provider", RUNS, 1200)]


def watched(who: str, watchers: int, seconds: float) -> list[Row]:
    """A row for each provider."""
    with TemporaryDirectory(prefix="stoker-polling-") as folder, served() as market:
        state = Path(folder) / "state"
        state.mkdir()
        for site in market.sites.values():
            site.world.stock.clear()  # no limit
        environ = market.environ(Path(folder))
        # nothing listens where machines without a body have their shell; each try would cost seconds of real time
        market.faults("hyperbolic", {"ssh_refused": True})
        begin(market, state, environ)
        with patch.object(logs, "QUIET", REAL):
            broken = look_on(market, state, environ, watchers, seconds)
        return [judged(market, name, who, seconds, broken) for name in NAMES]


def begin(market: Served, state: Path, environ: dict[str, str]) -> None:
    """RUNS machines at each provider, all of them in the ledger; then the request logs begin anew."""
    clock = SimulatedClock(market.urls["clock"])
    with open_ledger(state, clock) as ledger:
        for name in NAMES:
            provider: Provider = Bare(open_provider(name, state, environ, clock))
            for number in range(RUNS):
                run = Run(f"{name}-{number}", "h100", IMAGE, limits=Limits(usd=Decimal(10_000)), remote="s3://b/r")
                rent(ledger, provider, run, {}, clock)
    for site in market.sites.values():
        site.log.clear()


def look_on(market: Served, state: Path, environ: dict[str, str], watchers: int, seconds: float) -> list[str]:
    """Watches for so long. Each watcher is a process of its own as far as ledger and clients go. What broke."""
    together = Together(SimulatedClock(market.urls["clock"]), watchers, seconds)
    broken: list[str] = []

    def one(number: int) -> None:
        names = [f"{name}-{number}" for name in NAMES] if watchers > 1 else []
        try:
            together.sleep(APART * number)
            look(state, environ, together, names)
        except Over:
            pass
        except BaseException:
            broken.append(traceback.format_exc())
        finally:
            together.leave()

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(watchers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return broken


def look(state: Path, environ: dict[str, str], clock: Clock, names: Sequence[str]) -> None:
    """One watcher until its clock says that it is Over."""
    with open_ledger(state, clock) as ledger:
        providers = {name: open_provider(name, state, environ, clock) for name in NAMES}
        eyes = Eyes(ledger, providers, clock, patience=Patience(boot=BOOT))
        watch(Watch(eyes, report=lambda _: None, trouble=quiet), names)


def judged(market: Served, name: str, who: str, seconds: float, broken: list[str]) -> Row:
    """The most requests in any 60 seconds, wherever they begin; and that nothing was ended meanwhile."""
    rows = market.sites[name].log.rows
    at = [row["at"] for row in rows if not row["path"].startswith(FILES.get(name, "//"))]
    most = busiest(at)
    books = market.books(name)
    alive = books["alive"] == RUNS
    notes = [] if alive and not broken else [f"{books['alive']} of {RUNS} machines live", *broken]
    return Row(
        f"{name}: {RUNS} runs watched for {seconds / 60:.0f} minutes by {who}: requests in the busiest minute",
        f"at most {MOST}",
        most <= MOST and alive and not broken and len(at) >= seconds / 60,
        str(most),
        f"{len(at) / (seconds / 60):.1f} a minute on average",
        samples={"requests": [len(at)], "busiest": [most]},
        notes=notes,
    )


def busiest(at: Sequence[int]) -> int:
    """The most of `at` (microseconds, ascending) within any minute."""
    most = begin = 0
    for end, moment in enumerate(at):
        while moment - at[begin] >= MINUTE:
            begin += 1
        most = max(most, end - begin + 1)
    return most


if __name__ == "__main__":
    for row in rows("--short" in sys.argv):
        print(row.met, row.what, row.shown, row.against_shown, *row.notes)
