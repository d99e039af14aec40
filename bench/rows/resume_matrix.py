"""2N steps against N, kill -9, N: every layout, both precisions, wherever in the data the kill finds the run."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.rows.resume_runs import CONTEXT, EPOCH, Layout, differences, insist, sets, steps_logged, text, train
from bench.rows.resume_warm import Ended, Warm
from bench.rows.row import Row

LAYOUTS = (Layout(1), Layout(2), Layout(3), Layout(2, 1), Layout(2, 2), Layout(2, 3))
PRECISIONS = ("fp32", "bf16")
LOST = 2  # steps beyond the checkpoint that the kill takes
STAGE_TOKENS = 4 * 6 * CONTEXT


@dataclass(frozen=True)
class Place:
    """Where a run is when it is killed. step: N; sft: on conversations; more: values of the configuration."""

    name: str
    step: int
    more: dict[str, Any] = field(default_factory=dict)
    sft: bool = False
    only_ddp: bool = False


PLACES = (
    Place("inside an epoch", EPOCH - 2),
    Place("on an epoch's border", EPOCH),
    Place("on the border of two epochs and of an evaluation that saves", EPOCH, {"evaluate.every": 3}),
    Place("on a curriculum's border", 4, {"curriculum": f"{CONTEXT // 2}:{STAGE_TOKENS},{CONTEXT}"}),
    Place("between an evaluation that saves and a regular save", 5, {"evaluate.every": 2}),
    Place("with Muon", 4, {"optim.name": "muon"}, only_ddp=True),
    Place("inside an epoch of fine-tuning", EPOCH - 2, sft=True),
    Place("on an epoch's border of fine-tuning", EPOCH, sft=True),
)


@dataclass(frozen=True)
class Case:
    place: Place
    layout: Layout
    precision: str

    @property
    def name(self) -> str:
        return f"{self.place.name}, {self.layout.name}, {self.precision}"


def cases(quick: bool) -> list[Case]:
    """All that there are; or a few in which every place, layout and precision occurs."""
    every = [
        Case(place, layout, precision)
        for precision in PRECISIONS
        for layout in LAYOUTS
        for place in PLACES
        if layout.zero is None or not place.only_ddp
    ]
    if not quick:
        return every
    alone = [Case(place, LAYOUTS[0], PRECISIONS[number % 2]) for number, place in enumerate(PLACES)]
    others = [Case(PLACES[1], layout, PRECISIONS[number % 2]) for number, layout in enumerate(LAYOUTS[1:])]
    return [*alone, *others]


class Proof:
    """The cases, in a folder of their own."""

    def __init__(self, warm: Warm, scratch: Path) -> None:
        self.warm, self.scratch = warm, scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self.text = text(scratch / "text.txt")
        self.number = 0

    def check(self, case: Case) -> list[str]:
        """What differs between the two runs of a case; [] when nothing does. Raises Broken."""
        self.number += 1
        whole, parts = (self.scratch / f"{self.number}-{name}" for name in ("whole", "parts"))
        step = case.place.step
        done = self.warm.run(self._command(case, whole))
        insist(done.code == 0, f"the undisturbed run ended with {done.code}: {done.err[-2000:]}")
        died = self.warm.run(self._command(case, parts), {"die": step + LOST})
        insist(_killed(died, case), f"the kill did not come: {died.code} {died.err[-2000:]}")
        before = len(steps_logged(parts))
        done = self.warm.run(self._command(case, parts))
        insist(done.code == 0, f"the same command ended with {done.code}: {done.err[-2000:]}")
        resumed = f"resuming from step-{step:08d}"
        insist(resumed in done.err or case.place.more.get("evaluate.every"), f"not `{resumed}`: {done.err[-2000:]}")
        insist(len(steps_logged(parts)) > before, "the resumed attempt trained 0 steps")
        insist(max(steps_logged(parts)) == 2 * step, "the resumed attempt did not come to the end")
        found = differences(whole, parts, 2 * step)
        for run in (whole, parts):
            shutil.rmtree(run)
        return found

    def _command(self, case: Case, run: Path) -> list[str]:
        step, layout = case.place.step, case.layout
        more = {"data.path": self.text, "precision.name": case.precision, **case.place.more}
        if not case.place.sft:
            return train(run, 2 * step, step, layout, **more)
        values = {
            "model.dropout": 0.1,
            "precision.name": case.precision,
            "train.device": "cpu",
            "train.batch": 6,
            "train.steps": 2 * step,
            "checkpoint.every": step,
            "metrics.gpu_seconds": 0,
        }
        shape = ["--data", str(self._talks()), "--no-pack", *layout.flags, *sets(values)]
        return ["sft", str(self._base()), "--run", str(run), *shape]

    def _base(self) -> Path:
        """A trained run to fine-tune; made once."""
        run = self.scratch / "base"
        if not run.exists():
            done = self.warm.run(train(run, 3, 0, **{"data.path": self.text, "model.context": 2 * CONTEXT}))
            insist(done.code == 0, done.err[-2000:])
        return run

    def _talks(self) -> Path:
        """As many conversations as windows of an epoch."""
        path = self.scratch / "talks.jsonl"
        if not path.exists():
            with path.open("w", encoding="utf-8") as stream:
                for number in range(EPOCH * 6):
                    asked = {"role": "user", "content": f"{number} + 1?"}
                    answer = {"role": "assistant", "content": f"{number + 1}, of course."}
                    stream.write(json.dumps({"messages": [asked, answer]}) + "\n")
        return path


def _killed(ended: Ended, case: Case) -> bool:
    """The process itself, or a rank of which its launcher tells."""
    return ended.code == -signal.SIGKILL if case.layout.ranks == 1 else ended.code == 3 and "SIGKILL" in ended.err


def rows(warm: Warm, scratch: Path, quick: bool) -> list[Row]:
    """One row a precision; all differences that were found are in its notes."""
    proof = Proof(warm, scratch)
    found: dict[str, list[str]] = {precision: [] for precision in PRECISIONS}
    counted = dict.fromkeys(PRECISIONS, 0)
    for case in cases(quick):
        counted[case.precision] += 1
        found[case.precision] += [f"{case.name}: {text}" for text in proof.check(case)]
    return [_row(precision, counted[precision], found[precision]) for precision in PRECISIONS]


def _row(precision: str, count: int, found: Sequence[str]) -> Row:
    layouts = ", ".join(layout.name for layout in LAYOUTS)
    return Row(
        f"2N steps against N + kill -9 + N, {precision}",
        "losses of all steps and sha256 of weights, optimizer and generators equal, always",
        not found,
        f"{count - len({text.rpartition(':')[0] for text in found})} of {count} equal",
        notes=[f"each place ({'; '.join(place.name for place in PLACES)}) with each layout ({layouts})", *found],
    )
