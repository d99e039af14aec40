"""SIGKILL at random moments to a random process of one run: run script, launcher, ranks, sync process, its transfer."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from bench.rows.resume_runs import (
    BATCH,
    Broken,
    Layout,
    checkpoints,
    differences,
    insist,
    last_step,
    newest_good,
    sets,
    text,
    train,
)
from bench.rows.resume_warm import ROOT, Attempt, Warm
from bench.rows.row import Row
from tests.trainer.baked import Image
from trainer.checkpoint import folder, verify
from trainer.run.folder import is_owned

EVERY = 5  # steps between saves
END = 1_000_000
LAYOUT = Layout(2)
PATIENCE = 60.0
SCRIPT, LAUNCHER, RANK, SYNC, TRANSFER = "run script", "launcher", "one rank", "sync process", "its transfer"
ENDS_TRAINING = (LAUNCHER, RANK)


class Started(Protocol):
    """A run that was started: what ends with it is ours to kill. pid: its first process."""

    pid: int

    def over(self) -> bool:
        """Whether it has ended."""
        ...


class Kind(Protocol):
    """How the run of a lottery is started and finished."""

    run: Path
    remote: Path

    def start(self) -> Started:
        """Starts it, or starts it again: the same command."""
        ...

    def finish(self, steps: int) -> None:
        """Runs it to that step with the same command. Raises Broken."""
        ...


class Lottery:
    """Kills until enough were killed. seed: of the draws; longest: seconds between two of them."""

    def __init__(self, kind: Kind, seed: int, longest: float) -> None:
        self.kind, self.draw, self.longest = kind, random.Random(seed), longest
        self.killed: Counter[str] = Counter()
        self.most_lost = 0

    def play(self, kills: int) -> None:
        """Raises Broken when a promise is not kept after one of them; nothing runs any more then."""
        started = self.kind.start()
        try:
            started = self._play(kills, started)
        finally:
            self._end(started)

    def _play(self, kills: int, started: Started) -> Started:
        while self.killed.total() < kills:
            time.sleep(self.draw.uniform(0.01, self.longest))
            if started.over():  # `run` hands on the end of a child that it lost before it trained
                insist(isinstance(self.kind, Baked) and self.killed.total(), "it ended without a kill")
                self._judge("a child of the run script", 0)
                started = self.kind.start()
            there = processes(started.pid)
            if not there:
                continue
            title = self.draw.choice(sorted({name for name, _ in there}))
            target = self.draw.choice([pid for name, pid in there if name == title])
            before = self._pointed()
            try:
                os.kill(target, signal.SIGKILL)
            except ProcessLookupError:  # a transfer that was just done
                continue
            self.killed[title] += 1
            if title == SCRIPT or (title in ENDS_TRAINING and not isinstance(self.kind, Baked)):
                wait(started.over, f"{started.pid}, after a kill of {target}, the {title}; there were {there}")
                wait(lambda: not is_owned(self.kind.run), f"the trainer of {self.kind.run} after a kill of its {title}")
                self._judge(title, before)
                started = self.kind.start()
        return started

    def _pointed(self) -> int:
        latest = folder.pointed(checkpoints(self.kind.run), folder.LATEST)
        return folder.step_of(latest.name) or 0 if latest else 0

    def _judge(self, title: str, before: int) -> None:
        good = newest_good(self.kind.run)
        insist(good >= before, f"a kill of the {title} lost a checkpoint: {before} was there, now {good}")
        lost = last_step(self.kind.run) - good
        self.most_lost = max(lost, self.most_lost)
        insist(lost <= 2 * EVERY, f"a kill of the {title} lost {lost} steps")

    def _end(self, started: Started) -> None:
        """Kills what still trains, so that the last attempt begins like all others."""
        for pid in {
            *([] if started.over() else [started.pid]),
            *(pid for _, pid in processes(started.pid)),
        }:  # a fresh one has no name yet
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait(started.over)
        wait(lambda: not is_owned(self.kind.run))

    def result(self, reference: Callable[[Path, int], None]) -> list[str]:
        """Runs it to an end; what differs from the undisturbed run that `reference` makes."""
        steps = newest_good(self.kind.run) + 2 * EVERY + 2
        self.kind.finish(steps)
        whole = self.kind.run.with_name("whole")
        reference(whole, steps)
        return differences(self.kind.run, whole, steps) + at_remote(self.kind.remote, steps)


def at_remote(remote: Path, last: int) -> list[str]:
    """What is wrong with the checkpoints that a remote store shows."""
    shown = folder.found(remote / "checkpoints")
    with_manifest = [path for path in shown if (path / "manifest.json").exists()]
    wrong = [f"remote {path.name}: {reason}" for path in with_manifest if (reason := verify.fault(path))]
    newest = max((folder.step_of(path.name) or 0 for path in with_manifest), default=0)
    return wrong + ([] if newest == last else [f"the newest at the remote is {newest}, not {last}"])


def processes(first: int) -> list[tuple[str, int]]:
    """(what it is, process) of a running attempt and all that it started."""
    found = []
    waiting = [(first, "")]
    while waiting:
        pid, parent = waiting.pop()
        title = _title(pid, parent)
        if title:
            found.append((title, pid))
        waiting += [(child, title or parent) for child in _children(pid)]
    return found


def _title(pid: int, parent: str) -> str:
    """By command line, and by what started it: a fork has its parent's command line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    if any(word.endswith(b"bin/run") for word in words) and b"sh" in words[0]:
        return SCRIPT if not parent else ""  # what a script forks for a moment is no process of its own
    if b"sync" in words:
        return TRANSFER if parent in (SYNC, TRANSFER) else SYNC
    if b"train" in words or b"bench.rows.resume_warm" in words:
        return RANK if parent in ENDS_TRAINING else LAUNCHER
    return ""


def _children(pid: int) -> list[int]:
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(word) for words in lists for word in words.split()]


def wait(true: Callable[[], bool], what: str = "what was killed at the end") -> None:
    """Raises Broken when it does not become true. what: has to end."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        insist(time.monotonic() < deadline, f"it does not end: {what}")
        time.sleep(0.005)


class Plain:
    """`python -m trainer train --ranks 2 --remote ...`, its start warm."""

    def __init__(self, warm: Warm, scratch: Path) -> None:
        scratch.mkdir(parents=True)
        self.warm, self.run, self.remote = warm, scratch / "run", scratch / "remote"
        self.text = text(scratch / "text.txt")

    def command(self, run: Path, steps: int) -> list[str]:
        return train(run, steps, EVERY, LAYOUT, **{"data.path": self.text, "checkpoint.keep": 2})

    def start(self) -> Warmed:
        """See Kind."""
        return Warmed(self.warm.start([*self.command(self.run, END), *self._sending()]))

    def finish(self, steps: int) -> None:
        """See Kind."""
        done = self.warm.run([*self.command(self.run, steps), *self._sending()])
        insist(done.code == 0, f"the same command ended with {done.code}: {done.err[-3000:]}")

    def _sending(self) -> list[str]:
        return ["--remote", self.remote.as_uri(), "--sync-every", "0.3"]

    def reference(self, whole: Path, steps: int) -> None:
        """The undisturbed run."""
        done = self.warm.run(self.command(whole, steps))
        insist(done.code == 0, done.err[-2000:])


class Warmed:
    """An attempt of the warm process."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt, self.pid = attempt, attempt.pid

    def over(self) -> bool:
        """See Started."""
        return self.attempt.poll() is not None


class Baked:
    """`/opt/stoker/bin/run` as it is baked, with everything it starts; nothing is warm. It restarts by itself."""

    def __init__(self, warm: Warm, scratch: Path) -> None:
        scratch.mkdir(parents=True)
        self.warm, self.text = warm, text(scratch / "text.txt")
        paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
        own = {"PYTHONPATH": str(ROOT), "PATH": os.pathsep.join(paths), "HOME": str(scratch), "OMP_NUM_THREADS": "1"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
        self.image = Image(scratch / "image", {**kept, **own})
        self.run, self.remote = scratch / "run", scratch / "remote"
        self.words = scratch / "words"

    def _command(self, steps: int) -> list[str]:
        """What `run` is given: the flags of the trainer that `command` of Plain has."""
        told = self.command(self.run, steps)
        ranks = told.index("--ranks")
        flags = told[3:ranks] + told[ranks + 2 :]  # without `train --run RUN`, and --ranks as a variable
        return [str(self.image.bin / "run"), *flags]

    def _environment(self) -> Mapping[str, str]:
        wishes = {
            "STOKER_RUN_DIR": str(self.run),
            "STOKER_REMOTE": self.remote.as_uri(),
            "STOKER_SYNC_EVERY": "1",
            "STOKER_BACKOFF": "0",
            "STOKER_RESTARTS": "100000",
            "NPROC_PER_NODE": str(LAYOUT.ranks),
        }
        return {**self.image.environment, **wishes}

    def command(self, run: Path, steps: int) -> list[str]:
        """The trainer's own."""
        return train(
            run,
            steps,
            EVERY,
            LAYOUT,
            **{"data.path": self.text, "checkpoint.keep": 2, "train.micro_batch": BATCH // LAYOUT.ranks},
        )

    def start(self) -> Process:
        """See Kind."""
        with self.words.open("ab") as words:
            process = subprocess.Popen(
                ["sh", *self._command(END)],
                env=self._environment(),
                cwd=self.image.volume,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,
            )
        return Process(process)

    def finish(self, steps: int) -> None:
        """See Kind."""
        self._to_the_end(steps, self._environment())

    def reference(self, whole: Path, steps: int) -> None:
        """The undisturbed run, by the same script: its environment is part of what decides the last bit."""
        self._to_the_end(steps, {**self._environment(), "STOKER_RUN_DIR": str(whole), "STOKER_REMOTE": ""})

    def _to_the_end(self, steps: int, environment: Mapping[str, str]) -> None:
        done = subprocess.run(
            ["sh", *self._command(steps)],
            env=environment,
            cwd=self.image.volume,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        insist(done.returncode == 0, f"`run` ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}")


class Process:
    """A real process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.pid = process, process.pid

    def over(self) -> bool:
        """See Started."""
        return self.process.poll() is not None


def rows(warm: Warm, scratch: Path, kills: int, quick: bool, seed: int) -> list[Row]:
    """One row: most kills with a warm start, a tenth of them under the run script as it is baked."""
    scripted = 3 if quick else kills // 10
    found, titles, lost = [], Counter[str](), 0
    kinds: list[tuple[Plain | Baked, int, float]] = [
        (Plain(warm, scratch / "plain"), kills - scripted, 0.8),
        (Baked(warm, scratch / "baked"), scripted, 6.0),
    ]
    for kind, count, longest in kinds:
        lottery = Lottery(kind, seed, longest)
        lottery.play(count)
        found += lottery.result(kind.reference)
        titles += lottery.killed
        lost = max(lost, lottery.most_lost)
    named = ", ".join(f"{count} {name}" for name, count in sorted(titles.items()))
    return [
        Row(
            f"{titles.total()} random SIGKILLs over one run",
            "final weights bit-equal; no step lost beyond the last completed save; no manual help",
            not found and titles.total() >= kills,
            f"{titles.total()} kills, {'bit-equal' if not found else f'{len(found)} differences'}",
            samples={"kills": [titles.total()], "most_steps_lost": [lost]},
            notes=[
                f"killed: {named}; seed {seed}; {scripted} of them under the baked run script",
                f"a save every {EVERY} steps; at most one is in flight, so {2 * EVERY} steps can be beyond it",
                *found,
            ],
        )
    ]


__all__ = ["Baked", "Broken", "Lottery", "Plain", "rows", "sets"]
