"""Limits that hold without us: machines are launched as `deploy` does it, our process is killed, and the clock goes on.

What ends them is what the image has in it (templates/run/keeper.py), with the credentials that the provider put into
the machine. The simulators' bodies are the real keeper over a stand-in for the training; their clock runs faster.

    python -m bench.rows.fleet_limits [--short]
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.rows.fleet_sites import ROOT, Bare, Served, quiet, served
from bench.rows.row import Row

LATEST = 120.0  # seconds after the limit, virtual
PATIENCE = 240.0  # real seconds for one scene
IMAGE = "registry.example/team/train@sha256:" + "a" * 64
INSIDE = ("keeper", "watching", "traces", "end-instance")
# What the provider's own container would run, given what the provider puts into it. A rehearsal's addresses.
BODY = """#!/bin/sh
url=${{STOKER_RUNPOD_URL:-${{STOKER_VAST_URL:-}}}}
export STOKER_HOME_DIR={home} STOKER_INIT_ENVIRON=/nonexistent
export STOKER_PROVIDER_URL="${{STOKER_PROVIDER_URL:-$url}}" STOKER_CLOCK="${{STOKER_CLOCK:-$url}}"
exec {python} {home}/bin/keeper /bin/sh {home}/train {folder}
"""
# The training writes metrics, for so many steps; trap: what it does when it is told to stop.
TRAIN = """#!/bin/sh
mkdir -p $1/run && printf '%s\\n' $1/run >"$stoker_kept"
trap '{trap}' TERM
n=0
while :; do
    n=$((n + 1))
    if [ $n -lt {steps} ]; then echo '{{"event": "step"}}' >>$1/run/training_metrics.jsonl; date +%s.%N >$1/last; fi
    sleep 0.2
done
"""


@dataclass(frozen=True)
class Scene:
    """limit: hours, budget (with more hours than it pays for, or none) or idle; deaf: the training ignores SIGTERM;
    faults: the provider fails twice while it is being asked to end it."""

    provider: str
    limit: str
    deaf: bool = False
    faults: bool = False

    @property
    def speed(self) -> float:
        """Virtual seconds per real one: what waits in real time (the grace, pauses) must not look longer than it is."""
        return 3.0 if self.deaf or self.faults else 10.0

    @property
    def words(self) -> str:
        """For the row."""
        how = " of a run that ignores SIGTERM" if self.deaf else ""
        return f"{self.limit}{how}{', the provider failing twice' if self.faults else ''}"


FAILING: Mapping[str, Any] = {"destroy.5xx": {"count": 1}, "destroy.lost_answer": {"count": 1}}
SCENES = [
    scene
    for name in ("runpod", "vast")
    for scene in (
        Scene(name, "hours"),
        Scene(name, "budget"),
        Scene(name, "budget below the hours"),
        Scene(name, "idle"),
        Scene(name, "hours", deaf=True),
        Scene(name, "idle", deaf=True),
        Scene(name, "hours", faults=True),
    )
]
SHORT = [Scene("runpod", "budget"), Scene("vast", "idle")]


@dataclass
class Ended:
    """late: virtual seconds after the limit; over: USD beyond the budget; why: the provider's word."""

    late: float
    over: Decimal
    why: str


def rows(short: bool = False) -> list[Row]:
    """One row for each provider, over all its scenes; they are played side by side."""
    scenes = SHORT if short else SCENES
    found: dict[Scene, Ended | str] = {}

    def one(scene: Scene) -> None:
        try:
            found[scene] = play(scene)
        except Exception:
            found[scene] = traceback.format_exc()

    threads = [threading.Thread(target=one, args=(scene,)) for scene in scenes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [row(name, {scene: found[scene] for scene in scenes if scene.provider == name}) for name in names(scenes)]
    return made if short else [*made, without_credentials()]


def names(scenes: list[Scene]) -> list[str]:
    return list(dict.fromkeys(scene.provider for scene in scenes))


def row(name: str, found: Mapping[Scene, Ended | str]) -> Row:
    """How late the latest was."""
    ended = {scene: one for scene, one in found.items() if isinstance(one, Ended)}
    late = max((one.late for one in ended.values()), default=float("inf"))
    right = len(ended) == len(found) and all(-60 <= one.late <= LATEST for one in ended.values())
    told = [f"{scene.words}: {one.late:+.0f} s ({one.why})" for scene, one in ended.items()]
    return Row(
        f"{name}: our process killed after the launch; {len(found)} limits of hours, dollars and idleness",
        f"the machine ended within {LATEST:.0f} s of the limit, virtual time",
        right,
        f"{late:.0f} s after it at the latest",
        samples={"seconds_late": [one.late for one in ended.values()]},
        notes=[*told, *(one for one in found.values() if isinstance(one, str))],
    )


def play(scene: Scene) -> Ended:
    """Launches, kills who launched, waits until the provider has ended the machine."""
    with TemporaryDirectory(prefix="stoker-limits-") as scratch:
        folder = Path(scratch)
        body = planted(folder, scene)
        with served(
            (scene.provider,), speed=scene.speed, bodies="process", command=f"/bin/sh {body}", state=folder / "sim"
        ) as market:
            told = launched(folder, scene, market)
            market.faults(scene.provider, FAILING if scene.faults else {})
            machine = ended(market, scene)
            return judged(scene, told, machine, folder, market)


def planted(folder: Path, scene: Scene) -> Path:
    """What the image has at /opt/stoker, as far as the keeper goes, and the body's first program."""
    home = folder / "opt"
    (home / "bin").mkdir(parents=True)
    for name in INSIDE:
        shutil.copy(ROOT / "templates" / "run" / f"{name}.py", home / "bin" / name)
    steps = 10**9 if scene.limit != "idle" else 15
    (home / "train").write_text(TRAIN.format(trap="" if scene.deaf else "exit 75", steps=steps))
    body = folder / "body"
    body.write_text(BODY.format(home=home, python=sys.executable, folder=folder))
    return body


def launched(folder: Path, scene: Scene, market: Served) -> dict[str, Any]:
    """A process that launches, and is then killed. What it said: the machine's id and price, and its environment."""
    (folder / "state").mkdir()
    command = [sys.executable, "-m", "bench.rows.fleet_limits", "launch", scene.provider, scene.limit, str(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=market.environ(folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the launch ended with {process.wait(30)}")
        told: dict[str, Any] = json.loads(line)
        return told
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)


def ended(market: Served, scene: Scene) -> dict[str, Any]:
    """The provider's row of the machine, once it has ended. Raises RuntimeError when it never does."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        [machine] = market.books(scene.provider)["rentals"]
        if machine["ended"] is not None:
            found: dict[str, Any] = machine
            return found
        time.sleep(0.1)
    raise RuntimeError(f"{scene.words}: the machine still bills")


def judged(scene: Scene, told: dict[str, Any], machine: dict[str, Any], folder: Path, market: Served) -> Ended:
    """How long after its limit it ended."""
    end = datetime.fromisoformat(machine["ended"])
    begun = datetime.fromisoformat(machine["made"])
    over = Decimal(0)
    if scene.limit == "hours":
        limit = begun + timedelta(hours=told["hours"])
    elif scene.limit.startswith("budget"):
        limit = begun + timedelta(hours=float(Decimal(told["usd"]) / Decimal(told["usd_hour"])))
        over = Decimal(machine["billed_usd"]) - Decimal(told["usd"])
    else:
        silent = time.time() - float((folder / "last").read_text())  # real seconds since the last sign
        limit = market.clock.now() - timedelta(seconds=silent * scene.speed) + timedelta(minutes=told["idle_minutes"])
    return Ended((end - limit).total_seconds(), over, str(machine["why"]))


HOURS, IDLE = 0.1, 2.0  # of the scenes; minutes


def launch(provider: str, limit: str, folder: Path) -> None:
    """In a process of its own: what `deploy` does, up to a machine that is there; then waits to be killed."""
    from fleet.clock import open_clock
    from fleet.deploy.candidates import Priced
    from fleet.deploy.container import Recipe
    from fleet.deploy.image import Chosen
    from fleet.deploy.limits import bounded
    from fleet.deploy.wishes import Wishes
    from fleet.launch.candidate import Candidate
    from fleet.launch.launch import launch as rent
    from fleet.launch.patience import Patience
    from fleet.ledger.opening import open_ledger
    from fleet.ledger.values import Run
    from fleet.offers.offer import Question
    from fleet.providers.catalogue import open_provider

    clock = open_clock()
    client = Bare(open_provider(provider, folder / "state", os.environ, clock))
    found = client.offers(Question(counts=(1,), disk_gb=20, min_reliability=0.0), clock.now().isoformat()).offers
    offer = min(found, key=lambda each: each.per_hour(20))
    first = Priced(offer, Decimal(str(round(offer.per_hour(20), 6))), 20)
    usd = first.usd_hour * Decimal(str(HOURS)) if limit.startswith("budget") else None
    hours = {"hours": HOURS, "budget": None}.get(limit, 1.0)
    wishes = Wishes(usd=usd, hours=hours, idle_minutes=IDLE if limit == "idle" else 30.0)
    limits = bounded(wishes, first, first.usd_hour * 2).limits
    recipe = Recipe("limited", Chosen(IMAGE, "x", "h100", 10**9), limits, remote="s3://bucket/run")
    container = recipe.on(first, clock.now())
    with open_ledger(folder / "state", clock) as ledger:
        ledger.add_run(Run("limited", "h100", IMAGE, limits=limits, remote=recipe.remote))
        wish = ledger.wish("limited", "deploy")
        candidates = [Candidate(client, offer, container)]
        most = limits.usd_hour or first.usd_hour
        made = rent(ledger, wish, candidates, most, clock, quiet, Patience(reserve=60.0), lambda *_: "")
        told = {"id": made.id, "usd": str(limits.usd), "hours": limits.hours, "idle_minutes": limits.idle_minutes}
        print(json.dumps({**told, "usd_hour": str(made.usd_hour or first.usd_hour)}), flush=True)
        time.sleep(PATIENCE)


def without_credentials() -> Row:
    """Hyperbolic puts no credentials into a machine. A key that is lent for it is kept by another script there, whose
    own time is the machine's; it waits for longer than the run's limit."""
    from fleet.providers.hosts import keeper

    grace = (keeper.hours({"TRAINING_HOURS": "1"}, 1) - 1) * 3600
    return Row(
        "hyperbolic: our process killed; the machine has no credentials but the account's key, lent to it",
        f"the machine ended within {LATEST:.0f} s of the limit",
        grace <= LATEST,
        f"{grace:.0f} s after it",
        notes=["as it is set (fleet/providers/hosts/keeper.py), not played: it goes by the machine's real time",
               "without a lent key nothing in the machine can end it: `watch` has to"],
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["launch"]:
        launch(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        for one in rows("--short" in sys.argv):
            print(one.met, one.what, one.shown, *one.notes, sep="\n   ")
