"""A training run that is preempted again and again, over simulated providers, and comes back by itself every time.

    python -m bench.rows.fleet_preemptions --preemptions 100            # about an hour
    python -m bench.rows.fleet_preemptions --preemptions 2 --provider vast

The simulators, our clients, the ledger, the watcher and its policy, the run scripts and the trainer are the real ones;
what a machine runs is a process (bench/rows/fleet_machine.py). A machine is taken away when a new checkpoint is at the
store, and the next one is to be had at another provider (bench/rows/fleet_storm.py). At the end the run's last
checkpoint is held against that of a run that was never lost. Prints a row as JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.rows.fleet_machine import ROOT, flags, machine
from bench.rows.fleet_storm import Storm, asked, missed
from bench.rows.row import Row
from fleet.clock import Clock, SimulatedClock
from fleet.deploy.container import stored as kept
from fleet.launch.patience import Patience as LaunchPatience
from fleet.ledger.opening import open_ledger
from fleet.ledger.values import DONE, OPEN, Limits, Run
from fleet.life.verdict import Patience
from fleet.providers.catalogue import open_provider
from fleet.providers.provider import Provider
from fleet.providers.values import Container
from fleet.resume.policy import Policy
from fleet.resume.resume import Comeback, Terms, resume
from fleet.resume.saved import Saved, last_step, newest
from fleet.simulators.bodies.open import open_bodies
from fleet.simulators.bodies.state import State
from fleet.simulators.clock import VirtualClock
from fleet.simulators.server import running
from fleet.watch.beside import Beside
from fleet.watch.watch import Watch, watch
from fleet.watch.watched import Eyes, Watched
from fleet.wire.failed import KEY_NAMES

IMAGE = "registry.example/team/train@sha256:" + "a" * 64
SPEED = 60.0  # virtual seconds per second: boots and pulls pass quickly, the training does not
BUDGET = Decimal(900)
RUN = "storm"
DAY = 24 * 3600.0
SLOW = LaunchPatience(pending=DAY, starting=DAY, running=DAY)  # this machine may be slow, and a second is a minute


class Said(list[str]):
    """What was told on the way, also as it comes."""

    def append(self, words: str) -> None:
        super().append(words)
        print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


@contextmanager
def markets(names: Sequence[str], folder: Path, command: str, seed: int) -> Iterator[dict[str, str]]:
    """The simulators, whose machines run `command`. Yields their URLs and the clock's."""
    clock = VirtualClock(SPEED, datetime.now(UTC))
    held = open_bodies("process", State(folder), command)
    opened = [importlib.import_module(f"fleet.simulators.{name}.site").open_site for name in names]
    with running([make(clock, held, seed, Decimal(100_000)) for make in opened]) as urls:
        yield dict(urls)


def shell_key(folder: Path, url: str) -> str:
    """A private key's path; its public half is in the web settings, which let it in on every machine."""
    path = folder / "shell-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    asked(f"{url}/_sim/authorized_keys", {"key": path.with_suffix(".pub").read_text("utf-8")})
    return str(path)


@contextmanager
def rehearsing(environ: Mapping[str, str]) -> Iterator[None]:
    """This process's environment as a user's who rehearses: containers are told where their provider is, and when."""
    before = dict(os.environ)
    os.environ.update({name: value for name, value in environ.items() if name.startswith("STOKER_")})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_row(remote: str, steps: int) -> Run:
    """The run as `deploy` would have kept it."""
    env = {
        "STOKER_RUN": RUN,
        "MODEL_TAG": RUN,
        "STOKER_REMOTE": remote,
        "STOKER_END_INSTANCE": "1",
        "STOKER_KEEP_MINUTES": "15",
    }
    box = Container(RUN, IMAGE, ("/opt/stoker/bin/run", "--steps", str(steps)), env)
    plan = {
        "container": kept(box),
        "machine": {"gpu": "rtx4090", "count": 1},
        "needs": {"gpus": ["rtx4090", "h100-sxm", "a100-80-sxm"], "count": 1, "disk_gb": 50},
    }
    return Run(RUN, "", IMAGE, plan, Limits(BUDGET, Decimal(12), 400.0, None), "any", remote)


def at_store(url: str) -> list[Saved]:
    """The whole checkpoints at a store, by the trainer."""
    from trainer.commands.checkpoint_rows import WHOLE, at_store

    return [Saved(row["step"], row["path"], row["state"] == WHOLE) for row in at_store(url) if row["step"] is not None]


def survive(folder: Path, names: Sequence[str], preemptions: int, steps: int, every: int, seed: int) -> dict[str, Any]:
    """Trains to the end through all preemptions. What happened, with the final checkpoint's folder."""
    remote = f"file://{folder}/store/{RUN}"
    (folder / "store").mkdir()
    python = f"env PYTHONPATH={ROOT} {sys.executable}"
    command = f"{python} -m bench.rows.fleet_machine {{workspace}} {steps} {every}"
    said = Said()
    with markets(names, folder / "simulated", command, seed) as urls:
        clock = SimulatedClock(urls["clock"])
        environ = {f"STOKER_{name.upper()}_URL": urls[name] for name in names}
        environ |= {KEY_NAMES[name]: f"key-of-{name}-{'0123456789abcdef' * 2}" for name in names}
        environ |= {"STOKER_CLOCK": urls["clock"], "HOME": str(folder)}
        if "hyperbolic" in names:
            environ["STOKER_SSH_KEY"] = shell_key(folder, urls["hyperbolic"])
        providers = {name: open_provider(name, folder / "state", environ, clock) for name in names}
        shown = store_steps(folder / "store" / RUN)
        storm = Storm({name: urls[name] for name in names}, shown, preemptions, seed)
        thread = threading.Thread(target=storm.blow, daemon=True)
        with rehearsing(environ), open_ledger(folder / "state", clock) as ledger:
            ledger.add_run(run_row(remote, steps))
            thread.start()
            try:
                weather(folder, ledger, providers, clock, said)
            finally:
                storm.over.set()
                thread.join(10)
            run, machines = ledger.run(RUN), ledger.known(RUN)
            books = {name: asked(f"{urls[name]}/_sim/rentals")["rentals"] for name in names}
            tags = {one.tag for one in ledger.attempts(RUN)}
            mine = [row for rows in books.values() for row in rows if row["tag"] in tags]
            return {
                "state": run.state,
                "words": run.words,
                "lost": storm.lost,
                "counts": storm.counts,
                "broken": storm.broken,
                "machines": len(machines),
                "alive": sum(row["alive"] for rows in books.values() for row in rows),
                "unknown": sum(len(rows) for rows in books.values()) - len(mine),
                "billed_usd": float(sum(Decimal(row["billed_usd"]) for row in mine)),
                "counted_usd": float(ledger.cost(RUN)),
                "store": str(folder / "store" / RUN),
                "said": said,
                "story": [f"{event.kind}: {event.words}" for event in ledger.events(RUN)],
            }


def weather(folder: Path, ledger: Any, providers: Mapping[str, Provider], clock: Clock, said: list[str]) -> None:
    """Rents the first machine and watches until the run is closed."""

    def back(run: str) -> None:
        with open_ledger(folder / "state", clock) as own:
            # Losses in a row without a new checkpoint are what the policy counts: none, since each machine saves.
            terms = Terms(Policy(losses=6), unattended=True)
            resume(Comeback(own, providers, clock, said.append, at_store, terms=terms, patience=SLOW), run, wait=False)

    first = Terms(Policy(), from_start=True)
    resume(Comeback(ledger, providers, clock, said.append, at_store, terms=first, patience=SLOW), RUN, wait=False)
    beside = Beside(back, said.append, clock)
    patient = Patience(timedelta(hours=24), timedelta(hours=24))  # an hour of the providers is a minute of the trainer
    watching = Watch(
        Eyes(ledger, providers, clock, patience=patient),
        told(said),
        said.append,
        beside,
        lambda run: last_step(run, at_store(run.remote)),
        saved=lambda run: store_steps(folder / "store" / RUN)() or None,
    )
    watch(watching, [RUN])
    if watching.left:
        said.append(f"left: {watching.left}")
    assert ledger.run(RUN).state in (OPEN, DONE) or said


def told(said: list[str]) -> Callable[[Watched], None]:
    """A report that says what has changed."""
    before: list[str] = []

    def report(found: Watched) -> None:
        words = " ".join(filter(None, (str(found.verdict.life), found.trouble)))
        if before[-1:] != [words]:
            before.append(words)
            said.append(f"{found.run.name}: {words}")

    return report


def store_steps(store: Path) -> Any:
    """A function that tells the newest step at a store on this machine."""
    url = f"file://{store}"

    def tell() -> int:
        from trainer.errors import TrainerError

        try:
            there = newest(at_store(url)) if store.is_dir() else None
        except TrainerError:
            return 0
        return there.step if there else 0

    return tell


def unbroken(folder: Path, steps: int, every: int) -> Path:
    """The checkpoints of a run that was never lost, by the same scripts."""
    folder.mkdir()
    image = machine(folder)
    done = subprocess.run(
        [str(image.bin / "run"), *flags(steps, every)],
        env={**image.environment, "STOKER_RUN_DIR": str(folder / RUN)},
        cwd=image.volume,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the unbroken run ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return folder / RUN / "checkpoints"


def differences(lost: Path, whole: Path, step: int) -> list[str]:
    """What differs between two checkpoints of `step`: weights, optimizer and generators by sha256, and progress."""
    from trainer.checkpoint import folder, manifest, verify

    places = [next(root.rglob(folder.name_of(step)), root / folder.name_of(step)) for root in (lost, whole)]
    broken = [f"{place}: {why}" for place in places if (why := verify.fault(place))]
    if broken:
        return broken
    one, other = (manifest.read(place) for place in places)
    names = sorted(one["files"].keys() | other["files"].keys())
    found = [f"file {name}" for name in names if one["files"].get(name) != other["files"].get(name)]
    return found + [f"manifest {name}" for name in ("samples", "tokens") if one[name] != other[name]]


def proof(names: Sequence[str], preemptions: int, steps: int, every: int, seed: int, folder: Path) -> Row:
    """The row of the results."""
    begin = time.monotonic()
    found = survive(folder, names, preemptions, steps, every, seed)
    odd = differences(Path(found["store"]), unbroken(folder / "unbroken", steps, every), steps)
    within = found["billed_usd"] <= float(BUDGET)
    met = (
        found["state"] == DONE and not odd and within and not found["alive"] and not found["unknown"]
        and len(found["lost"]) >= preemptions and not missed(found["lost"], names)
    )  # fmt: skip
    notes = [f"{found['state']}: {found['words']}", *odd[:5]]
    if not met:
        notes += [found["broken"], *found["said"][-8:]]
    return Row(
        f"{preemptions} preemptions of a training run over {', '.join(names)}",
        "it finishes, its last checkpoint equal to that of the unbroken run, spend within budget, no machine left",
        met,
        f"{len(found['lost'])} machines lost ({found['counts']}), {found['machines']} rented, "
        f"{found['billed_usd']:.2f} USD billed, {found['counted_usd']:.2f} counted, of {BUDGET}",
        samples={"minutes": [(time.monotonic() - begin) / 60], "billed_usd": [found["billed_usd"]]},
        notes=notes,
    )


def main(words: Sequence[str]) -> int:
    """0 when the reach was met."""
    parser = argparse.ArgumentParser("bench.rows.fleet_preemptions")
    parser.add_argument("--preemptions", type=int, default=100)
    parser.add_argument("--provider", action="append", choices=("runpod", "vast", "hyperbolic"))
    parser.add_argument("--steps", type=int, default=0, help="none: enough for that many preemptions")
    parser.add_argument("--every", type=int, default=50, help="steps between two checkpoints")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the machines are processes, and go with us
    steps = told.steps or told.every * 2 * (told.preemptions + 1)  # a machine makes one checkpoint, some of them two
    names = tuple(told.provider or ("runpod", "vast", "hyperbolic"))
    with TemporaryDirectory(prefix="stoker-storm-") as folder:
        row = proof(names, told.preemptions, steps, told.every, told.seed, Path(folder))
    print(json.dumps(row.to_json(), indent=1))
    return 0 if row.met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
