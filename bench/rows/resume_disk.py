"""A disk that fills up in the middle of a run, on a small tmpfs: mounting it needs root."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.rows.resume_runs import checkpoints, differences, insist, newest_good, text, train
from bench.rows.resume_warm import Attempt, Warm
from bench.rows.row import Row
from trainer.checkpoint import folder, verify

SIZE = 96 << 20  # bytes: more than save.RESERVE
LEFT = 60 << 20  # bytes that are free where an estimate says no: less than save.RESERVE
EVERY, END = 5, 1_000_000
PATIENCE = 60.0
EXPECTED = "no checkpoint of step"  # by the estimate before
SUDDEN = "cannot save the checkpoint of step"  # by the disk itself


class NoMount(RuntimeError):
    """A tmpfs cannot be mounted here."""


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A tmpfs of SIZE bytes. Raises NoMount."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoMount(done.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


class Full:
    """One run on the small disk. sudden: the estimate before a save is switched off, and the disk fills to the last
    byte: logs and metrics fail too."""

    def __init__(self, warm: Warm, disk: Path, scratch: Path, sudden: bool) -> None:
        self.warm, self.disk, self.sudden = warm, disk, sudden
        scratch.mkdir(parents=True, exist_ok=True)
        self.text = text(scratch / "text.txt")
        self.run, self.whole = disk / "run", scratch / f"whole-{sudden}"
        self.word = SUDDEN if sudden else EXPECTED

    def command(self, run: Path, steps: int) -> list[str]:
        return train(run, steps, EVERY, **{"data.path": self.text, "checkpoint.keep": 2})

    def start(self) -> Attempt:
        plan: dict[str, Any] = {"reserve": -SIZE} if self.sudden else {}
        return self.warm.start(self.command(self.run, END), plan)

    def fill(self) -> None:
        """Takes the room away."""
        with (self.disk / "filler").open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            if not self.sudden:
                told = os.statvfs(self.disk)
                os.posix_fallocate(stream.fileno(), 0, told.f_bavail * told.f_frsize - LEFT)
            while self.sudden:
                stream.write(bytes(1 << 12))

    def clear(self) -> None:
        """Gives it back."""
        (self.disk / "filler").unlink()

    def check(self) -> list[str]:
        """Fills, clears and fills again; what is not as promised."""
        running = self.start()
        try:
            wrong = self._filled(running)
        finally:
            if running.poll() is None:
                os.kill(running.pid, signal.SIGKILL)
        return wrong + self._finish()

    def _filled(self, running: Attempt) -> list[str]:
        self._until(running, lambda: newest_good(self.run) >= 2 * EVERY)
        self.fill()
        self._until(running, lambda: self._said(running) >= 3)
        insist(newest_good(self.run) > 0, "no good checkpoint is left on the full disk")
        full = newest_good(self.run)
        self.clear()
        self._until(running, lambda: newest_good(self.run) > full)
        self.fill()
        before = self._said(running)
        self._until(running, lambda: self._said(running) > before)
        os.kill(running.pid, signal.SIGTERM)
        ended = running.wait()
        wrong = [] if ended.code == 3 else [f"the end without room: exit {ended.code}: {ended.err[-1500:]}"]
        wrong += self._once(ended.err)
        good = verify.newest_good(checkpoints(self.run), lambda _: None)
        insist(good is not None, "no good checkpoint is left at the end")
        if f"{good.name if good else ''} is there" not in ended.err:
            wrong.append(f"the end does not name {good}: {ended.err[-400:]}")
        self.clear()
        return wrong

    def _once(self, said: str) -> list[str]:
        """Each step's failure is told once; but the last one, which is tried again at the end."""
        steps = [line.split(self.word)[1].split(":")[0] for line in said.splitlines() if self.word in line]
        often = {step for step in steps[:-4] if steps.count(step) > 1}
        return [f"told more than once: steps {often}"] if often else []

    def _finish(self) -> list[str]:
        steps = newest_good(self.run) + EVERY
        for run in (self.run, self.whole):
            done = self.warm.run(self.command(run, steps + self._beyond()))
            insist(done.code == 0, f"the same command ended with {done.code}: {done.err[-2000:]}")
        last = max(folder.step_of(path.name) or 0 for path in folder.found(checkpoints(self.whole)))
        return [
            one for one in differences(self.run, self.whole, last) if not (self.sudden and one.startswith("losses"))
        ]

    def _beyond(self) -> int:
        """Steps that were logged while nothing could be saved, so that the undisturbed run has them too."""
        if not hasattr(self, "_more"):
            from bench.rows.resume_runs import last_step

            self._more = max(0, last_step(self.run) - newest_good(self.run))
        return self._more

    def _said(self, running: Attempt) -> int:
        return running.words.with_suffix(".err").read_text(errors="replace").count(self.word)

    def _until(self, running: Attempt, true: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            ended = running.poll()
            insist(ended is None, f"training ended: {ended.code if ended else ''} {ended.err[-2000:] if ended else ''}")
            insist(time.monotonic() < deadline, "nothing happens")
            time.sleep(0.02)


def rows(warm: Warm, scratch: Path) -> list[Row]:
    """A row for a disk that is found too small, one for a disk that is suddenly full to the last byte."""
    found = []
    for number, (what, sudden) in enumerate((("less room than a save needs", False), ("no byte left", True))):
        wrong, met, shown = list[str](), None, "no tmpfs can be mounted here"
        try:
            with small_disk(scratch / f"disk-{number}") as disk:
                wrong = Full(warm, disk, scratch / "disk", sudden).check()
            met, shown = not wrong, "as promised" if not wrong else f"{len(wrong)} differences"
        except NoMount as error:
            wrong = [str(error)]
        reach = "training goes on and tells, the old checkpoint stays, it saves again; exit 3 at an end without room"
        found.append(Row(f"a disk that fills up in the middle: {what}", reach, met, shown, notes=wrong))
    return found
