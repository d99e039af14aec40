"""Launches against a simulated provider under random faults and real SIGKILLs of our own process, then one reconcile.

    python -m bench.rows.fleet_launches --provider vast --launches 1000 --seed 1

Each launch is a process of its own, forked from a warm one, with its own ledger connection, over HTTP; some are killed
at a random moment. After each round of launches one `reconcile`, under the same faults; then the simulator's own books
are read, and each of them is one account with a clock that jumps over all pauses. Prints a row as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.rows.row import Row
from fleet.clock import SimulatedClock
from fleet.launch.candidate import Candidate
from fleet.launch.launch import launch
from fleet.launch.patience import Patience
from fleet.launch.reconcile import reconcile
from fleet.ledger.opening import open_ledger
from fleet.ledger.values import CREATED, Run
from fleet.offers.offer import Question
from fleet.providers.catalogue import open_provider
from fleet.providers.values import Container, Instance
from fleet.wire.failed import KEY_NAMES
from profiles.errors import StokerError

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "registry.example/team/train@sha256:" + "a" * 64
PER_ROUND = 20
KILLED = 0.5  # of the launches
PATIENCE = Patience(poll=20.0)
# providers.md 4: lost answers, 5xx on both sides of the commit, 429, cut answers, reads that fail, lists that lag.
FAULTS: dict[str, dict[str, float]] = {
    "create.drop_after_commit": {"chance": 0.10},
    "create.5xx_after_commit": {"chance": 0.10},
    "create.5xx_before_commit": {"chance": 0.08},
    "create.bad_2xx": {"chance": 0.05},
    "create.429_before": {"chance": 0.08},
    "create.slow": {"chance": 0.10, "seconds": 0.2},
    "list.lag": {"chance": 0.4, "seconds": 90},
    "read.5xx": {"chance": 0.04},
    "read.429": {"chance": 0.02},
    "read.drop": {"chance": 0.04},
    "status.unknown_value": {"chance": 0.05},
    "price.missing": {"chance": 0.05},
    "destroy.5xx": {"chance": 0.15},
    "destroy.429": {"chance": 0.10},
    "destroy.lost_answer": {"chance": 0.15},
}


@dataclass
class Tally:
    """What was counted over all rounds."""

    launches: int = 0
    killed: int = 0
    creates: int = 0
    unanswered: int = 0
    machines: int = 0
    duplicates: int = 0  # wishes that had two machines at one moment
    twice: int = 0  # tags that were committed twice
    in_turn: int = 0  # wishes that had more than one machine, one after the other
    orphans: int = 0  # machines that live and that the ledger does not know
    ghosts: int = 0  # machines that the ledger takes for living and that do not
    lost: int = 0  # wishes of which nobody knows what came of them
    again: int = 0  # rows of the one reconcile that want another
    cheap: int = 0  # rounds in which the ledger counted less than was billed
    crashes: list[str] = field(default_factory=list)
    slowest: float = 0.0

    @property
    def right(self) -> bool:
        """Whether nothing went wrong."""
        counts = (self.duplicates, self.twice, self.orphans, self.ghosts, self.lost, self.again, self.cheap)
        return not any(counts) and not self.crashes


class Market:
    """One simulated provider in a process of its own."""

    def __init__(self, name: str, urls: dict[str, str]) -> None:
        self.name, self.url = name, urls[name]
        self.environ = {
            f"STOKER_{name.upper()}_URL": self.url,
            "STOKER_CLOCK": urls["clock"],
            KEY_NAMES[name]: "rehearsal-key",
        }

    def ask(self, path: str, body: object = None) -> Any:
        """The admin channel."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_sim/{path}", data, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)

    def known_faults(self) -> Mapping[str, Mapping[str, float]]:
        """Those that this provider has."""
        names = set(self.ask("faults")["names"])
        return {name: table for name, table in FAULTS.items() if name in names}


@contextmanager
def market(name: str, seed: int, state: Path) -> Iterator[Market]:
    """Serves it until the block ends."""
    command = [sys.executable, "-m", "fleet.simulators", f"--{name}", "--speed", "inf", "--seed", str(seed)]
    process = subprocess.Popen(
        [*command, "--credit", "100000000", "--state", str(state)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield Market(name, json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(timeout=60)


class Bare:
    """A provider whose machines need nothing done over SSH: there is no shell in a simulator without bodies."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def settle_in(self, instance: Instance, container: Container, tag: str) -> None:
        """See Provider."""


class Round:
    """Some launches into one ledger at one market."""

    def __init__(self, market: Market, folder: Path, draw: random.Random, tally: Tally) -> None:
        self.market, self.folder, self.draw, self.tally = market, folder, draw, tally
        self.typical = 1.0  # seconds that a launch takes

    def _provider(self) -> Any:
        clock = SimulatedClock(self.market.environ["STOKER_CLOCK"])
        return Bare(open_provider(self.market.name, self.folder, self.market.environ, clock))

    def _launch(self, run: str) -> None:
        clock = SimulatedClock(self.market.environ["STOKER_CLOCK"])
        provider = self._provider()
        with open_ledger(self.folder, clock) as ledger:
            ledger.add_run(Run(run, "h100", IMAGE))
            wish = ledger.wish(run, "deploy")
            question = Question(counts=(1,), disk_gb=20, min_reliability=0.0)
            offers = sorted(
                provider.offers(question, clock.now().isoformat()).offers, key=lambda each: each.per_hour(20)
            )
            env = {"STOKER_RUN": run, "STOKER_REMOTE": "s3://bucket/runs"}
            container = Container(run, IMAGE, env=env, disk_gb=20)
            candidates = [Candidate(provider, each, container) for each in offers]
            launch(ledger, wish, candidates, Decimal(100), clock, quiet, PATIENCE, lambda *_: "")

    def play(self, launches: int) -> None:
        """Launches, kills, reconciles once, and reads the books."""
        for number in range(launches):
            seconds = self.draw.uniform(0.02, 1.3 * self.typical) if self.draw.random() < KILLED else None
            began = time.monotonic()
            if self._child(lambda number=number: self._launch(f"run-{number:03}"), seconds):  # type: ignore[misc]
                self.tally.killed += 1
            else:
                self.typical += 0.3 * (time.monotonic() - began - self.typical)
        self.tally.launches += launches
        self._child(self._reconcile, None)
        self._judge()

    def _child(self, work: Callable[[], None], kill: float | None) -> bool:
        """Runs `work` in a process of its own; whether it was killed. What else it dies of is kept."""
        words = self.folder / "words.txt"
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                work()
            except StokerError:
                pass  # a launch may fail; what it leaves is judged
            except BaseException:
                words.write_text(traceback.format_exc())
                code = 1
            finally:
                os._exit(code)
        deadline = time.monotonic() + (600.0 if kill is None else kill)
        status = 0
        while time.monotonic() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            time.sleep(0.002)
        else:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if kill is None:
                self.tally.crashes.append("a process without end")
            return True
        if os.waitstatus_to_exitcode(status):
            self.tally.crashes.append(words.read_text() if words.exists() else f"status {status}")
        return False

    def _reconcile(self) -> None:
        clock = SimulatedClock(self.market.environ["STOKER_CLOCK"])
        with open_ledger(self.folder, clock) as ledger:
            began = time.monotonic()
            found = reconcile(ledger, {self.market.name: self._provider()}, clock)
            undone = [str(row) for row in found if not row.done]
            (self.folder / "reconciled.json").write_text(json.dumps([undone, time.monotonic() - began]))

    def _judge(self) -> None:
        tally, books = self.tally, self.market.ask("rentals")
        undone, seconds = json.loads((self.folder / "reconciled.json").read_text())
        tally.again += len(undone)
        tally.crashes += undone
        tally.slowest = max(tally.slowest, seconds)
        with open_ledger(self.folder, SimulatedClock(self.market.environ["STOKER_CLOCK"])) as ledger:
            alive = {each["id"] for each in books["rentals"] if each["alive"]}
            known = {each.id for each in ledger.live()}
            attempts = {each.tag: each for each in ledger.attempts()}
            tally.orphans += len(alive - known)
            tally.ghosts += len(known - alive)
            tally.creates += len(attempts)
            tally.unanswered += sum(event.kind == "unclear" for event in ledger.events())
            tally.machines += len(books["rentals"])
            tally.twice += sum(row["commits"] > 1 for row in books["per_tag"].values())
            times: dict[str, list[tuple[datetime, datetime | None]]] = {}
            for each in books["rentals"]:
                run = attempts[each["tag"]].run if each["tag"] in attempts else f"? {each['id']}"
                end = datetime.fromisoformat(each["ended"]) if each["ended"] else None
                times.setdefault(run, []).append((datetime.fromisoformat(each["made"]), end))
            tally.duplicates += sum(overlap(spans) for spans in times.values())
            tally.in_turn += sum(len(spans) > 1 for spans in times.values())
            tally.lost += len(ledger.unsettled()) + sum(wish.state == "open" for wish in ledger.wishes())
            with_machine = {each.run for each in attempts.values() if each.state == CREATED}
            tally.lost += len(with_machine - {each.run for each in ledger.live()})
            billed = sum((Decimal(each["billed_usd"]) for each in books["rentals"]), Decimal(0))
            counted = sum(ledger.costs().values(), Decimal(0))
            tally.cheap += counted < billed * Decimal("0.98") - Decimal("0.05")


def quiet(line: str) -> None:
    """Progress that nobody reads."""


def overlap(spans: list[tuple[datetime, datetime | None]]) -> bool:
    """Whether two machines existed at one moment."""
    ordered = sorted(spans, key=lambda span: span[0])
    return any(end is None or end > after[0] for (_, end), after in pairwise(ordered))


def row(provider: str, launches: int, seed: int = 1, per_round: int = PER_ROUND) -> Row:
    """`launches` at one provider."""
    tally, draw = Tally(), random.Random(f"{provider} {seed}")
    while tally.launches < launches:
        with TemporaryDirectory(prefix="stoker-launches-") as scratch:
            folder = Path(scratch) / "state"
            folder.mkdir()
            with market(provider, draw.randrange(1 << 30), Path(scratch) / "market") as served:
                served.ask("faults", served.known_faults())
                Round(served, folder, draw, tally).play(min(per_round, launches - tally.launches))
    return Row(
        f"{provider}: {tally.launches} launches under random faults and SIGKILLs, then one reconcile",
        "0 duplicates, 0 orphans, 0 wishes lost; no more than one machine per wish is billed at a time",
        tally.right,
        f"{tally.duplicates + tally.twice} duplicates, {tally.orphans} orphans, {tally.lost} wishes lost",
        samples={
            "killed": [tally.killed],
            "creates": [tally.creates],
            "creates_without_answer": [tally.unanswered],
            "machines": [tally.machines],
            "wishes_with_machines_in_turn": [tally.in_turn],
            "slowest_reconcile_s": [tally.slowest],
        },
        notes=[
            f"seed {seed}; a reconcile after every {per_round} launches, under the same faults",
            f"{tally.ghosts} ghosts, {tally.again} rows that wanted another reconcile, {tally.cheap} rounds too cheap",
            *tally.crashes[:20],
        ],
    )


def main() -> int:
    """One row on standard output. 1 when the reach was not met."""
    parser = argparse.ArgumentParser("bench.rows.fleet_launches", description=__doc__)
    parser.add_argument("--provider", choices=sorted(KEY_NAMES), required=True)
    parser.add_argument("--launches", type=int, default=1000)
    parser.add_argument("--per-round", type=int, default=PER_ROUND)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = row(given.provider, given.launches, given.seed, given.per_round)
    print(json.dumps(found.to_json(), indent=1))
    return 0 if found.met else 1


if __name__ == "__main__":
    sys.exit(main())
