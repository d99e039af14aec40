"""SIGKILL at every system call of a save that changes the disk, one after another, and the same command after each."""

from __future__ import annotations

import json
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.rows.resume_runs import (
    Broken,
    Layout,
    checkpoints,
    differences,
    insist,
    last_step,
    newest_good,
    steps_logged,
    text,
    train,
)
from bench.rows.resume_warm import Ended, Warm
from bench.rows.row import Row

EVERY = 3  # steps between saves
BEST = 6  # steps between evaluations, some of which save the best
END = 1_000_000


@dataclass
class Killed:
    """points: calls of the save at which it was killed, by name; attempts: processes that were started."""

    points: Counter[str] = field(default_factory=Counter)
    attempts: int = 0

    @property
    def kills(self) -> int:
        return self.points.total()


class Everywhere:
    """One run, each of whose attempts is killed one call later than the last."""

    def __init__(self, warm: Warm, scratch: Path, layout: Layout = Layout()) -> None:  # noqa: B008
        self.warm, self.scratch, self.layout = warm, scratch, layout
        scratch.mkdir(parents=True, exist_ok=True)
        self.text = text(scratch / "text.txt")
        self.run, self.whole = scratch / "run", scratch / "whole"
        self.told = scratch / "told"
        self.killed = Killed()

    def command(self, run: Path, steps: int) -> list[str]:
        more: dict[str, Any] = {"data.path": self.text, "evaluate.every": BEST, "checkpoint.keep": 2}
        return train(run, steps, EVERY, self.layout, **more)

    def save(self, rank: int = 0, stride: int = 1, half: bool = False) -> None:
        """Kills a rank at every `stride`-th call of its part of a save. half: in the middle of writes, too."""
        call = 1
        while True:
            ended, word = self._attempt({"rank": rank, "call": call, "half": False, "scope": "save"})
            if "over" in word:
                return
            self._judge(ended, word)
            if half and word["name"] == "write":
                self._judge(*self._attempt({"rank": rank, "call": call, "half": True, "scope": "save"}))
            call += stride

    def _attempt(self, kill: dict[str, Any]) -> tuple[Ended, dict[str, Any]]:
        self.told.unlink(missing_ok=True)
        ended = self.warm.run(self.command(self.run, END), {"kill": {**kill, "told": str(self.told)}})
        self.killed.attempts += 1
        insist(self.told.exists(), f"it ended before its kill, with {ended.code}: {ended.err[-3000:]}")
        word: dict[str, Any] = json.loads(self.told.read_text().splitlines()[0])
        return ended, word

    def _judge(self, ended: Ended, word: dict[str, Any]) -> None:
        """What has to be true after a kill during the save of step `word[step]`."""
        self.killed.points[word["name"]] += 1
        died = ended.code == -signal.SIGKILL if self.layout.ranks == 1 else ended.code == 3
        insist(died, f"the kill ended it with {ended.code}: {ended.err[-2000:]}")
        step, good = word["step"], newest_good(self.run)
        wanted = {step} if word["published"] else {step - EVERY, step}
        insist(good in wanted or good == 0 == step - EVERY, f"{word}: the newest good checkpoint is of step {good}")
        lost = last_step(self.run) - good
        insist(lost <= 2 * EVERY, f"{word}: {lost} steps are lost")

    def finish(self) -> list[str]:
        """Runs it to an end, and an undisturbed one to the same; what differs."""
        steps = newest_good(self.run) + 2 * EVERY + 1
        for run in (self.run, self.whole):
            done = self.warm.run(self.command(run, steps))
            insist(done.code == 0, f"the same command ended with {done.code}: {done.err[-2000:]}")
        found = differences(self.run, self.whole, steps)
        return found + left_over(self.run)


def left_over(run: Path) -> list[str]:
    """What killed processes left in the folder of checkpoints."""
    names = sorted(path.name for path in checkpoints(run).iterdir())
    return [f"left over: {name}" for name in names if name.startswith(".")]


class FirstSteps:
    """Runs that are killed at the n-th call of their whole first attempt, the start included, each a run of its own."""

    def __init__(self, warm: Warm, scratch: Path) -> None:
        self.warm, self.scratch = warm, scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self.text = text(scratch / "text.txt")
        self.killed = Killed()
        self.whole = self.finished(scratch / "whole")

    def command(self, run: Path) -> list[str]:
        return train(run, 4, 2, **{"data.path": self.text, "evaluate.every": 2})

    def finished(self, run: Path) -> Path:
        done = self.warm.run(self.command(run))
        insist(done.code == 0, f"the same command ended with {done.code}: {done.err[-2000:]}")
        return run

    def check(self, call: int, half: bool = False) -> tuple[bool, list[str]]:
        """Whether the attempt had so many calls, and what differs from the undisturbed run at the end."""
        run, told = self.scratch / f"run-{call}", self.scratch / f"told-{call}"
        kill = {"rank": 0, "call": call, "half": half, "scope": "all", "told": str(told)}
        ended = self.warm.run(self.command(run), {"kill": kill})
        self.killed.attempts += 1
        if not told.exists():
            insist(ended.code == 0, f"it ended with {ended.code}: {ended.err[-2000:]}")
            return False, []
        word = json.loads(told.read_text().splitlines()[0])
        self.killed.points[word["name"]] += 1
        self.finished(run)
        found = differences(run, self.whole, 4) + left_over(run) + self._other_files(run)
        return True, [f"killed at call {call} ({word['name']}): {text}" for text in found]

    def _other_files(self, run: Path) -> list[str]:
        """Files beside the checkpoints: the run has to have those of the undisturbed one, with the same content."""
        found = []
        for path in self.whole.rglob("*"):
            name = path.relative_to(self.whole)
            if path.is_dir() or name.parts[0] == "checkpoints" or path.suffix in (".jsonl", ".log", ".lock"):
                continue
            other = run / name
            if not other.exists() or other.read_bytes() != path.read_bytes():
                found.append(f"{name} is {'other' if other.exists() else 'missing'}")
        if len(steps_logged(run)) < 4:
            found.append("a step was never logged")
        return found


def rows(warm: Warm, scratch: Path, quick: bool) -> list[Row]:
    """A row for one rank, one for two, one for the start of a run."""
    stride = 12 if quick else 1
    found = []
    for layout, ranks in ((Layout(1), (0,)), (Layout(2), (0, 1))):
        proof = Everywhere(warm, scratch / f"everywhere-{layout.ranks}", layout)
        for rank in ranks:
            proof.save(rank, stride if layout.ranks == 1 else 3 * stride if quick else 1, half=not quick and rank == 0)
        found.append(_row(f"every file system call of a save, {layout.name}", proof.killed, proof.finish()))
    first = FirstSteps(warm, scratch / "first")
    call, more, wrong = 1, True, list[str]()
    while more:
        more, differing = first.check(call)
        wrong += differing
        call += 8 * stride if quick else 1
    found.append(_row("every file system call of a run of 4 steps, its start included", first.killed, wrong))
    return found


def _row(what: str, killed: Killed, found: list[str]) -> Row:
    points = ", ".join(f"{count} {name}" for name, count in sorted(killed.points.items()))
    return Row(
        f"SIGKILL at {what}",
        "the newest good checkpoint is at most one save older, the same command goes on, and the end is bit-equal",
        not found and killed.kills > 0,
        f"{killed.kills} kills, {'the end is bit-equal' if not found else f'{len(found)} differences'}",
        samples={"kills": [killed.kills]},
        notes=[f"killed before, or in the middle of: {points}", *found],
    )


__all__ = ["Broken", "Everywhere", "FirstSteps", "rows"]
