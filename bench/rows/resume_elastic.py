"""One run on other ranks, other ZeRO stages, in another precision: the order of its tokens, and its losses."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from bench.rows.resume_runs import BATCH, Layout, insist, last_step, order_hash, text, train
from bench.rows.resume_warm import Warm
from bench.rows.row import Row
from trainer.run.folder import losses

EVERY = 5  # steps on each layout
WINDOWS = 8  # of a step: 1, 2 and 4 ranks share it; an epoch then ends within a step
CLOSE = 1e-5
WORLDS = (Layout(4), Layout(2), Layout(1), Layout(4))
STAGES = (Layout(2, 3), Layout(2, 1), Layout(2), Layout(2, 3))


class Elastic:
    """An undisturbed run, and others that go on elsewhere every few steps."""

    def __init__(self, warm: Warm, scratch: Path) -> None:
        scratch.mkdir(parents=True)
        self.warm, self.scratch = warm, scratch
        self.text = text(scratch / "text.txt")
        self.steps = EVERY * len(WORLDS)
        self.whole = self._trained("whole", (Layout(),))

    def _trained(self, name: str, layouts: Sequence[Layout]) -> tuple[dict[int, float], list[str]]:
        """Losses by step, and the hashes of all windows in the order they were read in."""
        run, read = self.scratch / name, list[str]()
        for number, layout in enumerate(layouts, 1):
            seen = self.scratch / f"{name}-windows-{number}"
            seen.mkdir()
            steps = self.steps * number // len(layouts)
            shape = {"data.path": self.text, "train.batch": WINDOWS, "model.dropout": 0.0}
            done = self.warm.run(train(run, steps, EVERY, layout, **shape), {"windows": str(seen)})
            insist(done.code == 0, f"{layout.name} ended with {done.code}: {done.err[-2000:]}")
            insist(last_step(run) == steps, f"{layout.name} came to step {last_step(run)}, not {steps}")
            read += windows_of(seen)
        return losses(run), read

    def check(self, name: str, layouts: Sequence[Layout]) -> tuple[bool, float]:
        """Whether the windows came in the same order, and the largest relative difference of a loss."""
        found, read = self._trained(name, layouts)
        wanted, order = self.whole
        insist(len(order) == self.steps * WINDOWS, f"{len(order)} windows in {self.steps} steps")
        insist(found.keys() == wanted.keys(), "not the same steps")
        apart = max(abs(found[step] - wanted[step]) / abs(wanted[step]) for step in wanted)
        return order_hash(read) == order_hash(order), apart

    @property
    def order(self) -> str:
        """The hash of the undisturbed order."""
        return order_hash(self.whole[1])


def windows_of(folder: Path) -> list[str]:
    """What the ranks of one attempt read, in the order of the global windows: rank r's part of a step after r - 1's."""
    rows: dict[tuple[int, int], list[str]] = {}
    for file in folder.iterdir():
        for line in map(json.loads, file.read_text().splitlines()):
            rows.setdefault((line["sample"], line["rank"]), []).extend(line["rows"])
    return [row for key in sorted(rows) for row in rows[key]]


class Changes:
    """A run whose configuration changes: never by accident, and on purpose where that is allowed."""

    def __init__(self, warm: Warm, scratch: Path) -> None:
        scratch.mkdir(parents=True)
        self.warm, self.text, self.other = warm, text(scratch / "text.txt"), scratch / "other.txt"
        self.other.write_text(self.text.read_text().replace("bottles", "BOTTLES"))
        self.run = scratch / "run"
        self.steps = 0
        self.values: dict[str, object] = {"data.path": self.text, "precision.name": "fp32"}
        self._go()

    def _go(self, *flags: str) -> tuple[int, str]:
        done = self.warm.run([*train(self.run, self.steps + 3, 0, **self.values), *flags])
        if done.code == 0:
            self.steps += 3
        return done.code, done.err

    def check(self, section: str, name: str, value: object, told: str) -> list[str]:
        """Changes one value; what is not as promised."""
        self.values[name] = value
        wrong, before = [], self.steps
        code, said = self._go()
        if code != 2 or told not in said or f"--allow-change {section}" not in said.replace("SECTION", section):
            wrong.append(f"{name} without --allow-change: {code}, {said[-300:]}")
        code, said = self._go("--allow-change", section)
        if code != 0 or last_step(self.run) != before + 3 or not all(map(math.isfinite, losses(self.run).values())):
            wrong.append(f"{name} with --allow-change {section}: {code}, {said[-300:]}")
        return wrong


CHANGED = (
    ("precision", "precision.name", "bf16", "fp32"),
    ("optim", "optim.lr", 0.001, "optim.lr was 0.003"),
    ("train", "train.batch", BATCH // 2, f"train.batch was {BATCH}"),
)


def rows(warm: Warm, scratch: Path) -> list[Row]:
    """A row for world sizes, one for ZeRO stages, one for what is changed on purpose."""
    proof, found = Elastic(warm, scratch / "elastic"), []
    told = {"world size 4 -> 2 -> 1 -> 4": ("worlds", WORLDS), "ZeRO 3 -> 1 -> ddp -> 3": ("zero", STAGES)}
    for what, (name, layouts) in told.items():
        same, apart = proof.check(name, layouts)
        found.append(
            Row(
                f"{what} within one run",
                "the same order of tokens (hash), losses within 1e-5 relative in fp32",
                same and apart <= CLOSE,
                f"order {proof.order if same else 'DIFFERS'}, losses within {apart:.1e}",
                f"order {proof.order}, undisturbed on one rank",
                samples={},
                notes=[", ".join(layout.name for layout in layouts) + f", {EVERY} steps each, plain train commands"],
            )
        )
    changes = Changes(warm, scratch / "changes")
    wrong = [text for one in CHANGED for text in changes.check(*one)]
    wrong += changes.check("data", "data.path", changes.other, "data.path was another text")
    found.append(
        Row(
            "precision, optim, train and data changed within one run",
            "exit 2 and what changed; with --allow-change it goes on",
            not wrong,
            f"{len(CHANGED) + 1 - len(wrong)} of {len(CHANGED) + 1}",
            notes=wrong,
        )
    )
    return found
