"""Saves beside the training on a slow disk, and going back to an older checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.rows.resume_runs import checkpoints, differences, insist, text, train
from bench.rows.resume_warm import Warm
from bench.rows.row import Row
from trainer.checkpoint import folder, manifest, thin
from trainer.metrics import log

EVERY, END = 4, 12
SLOW = 0.02  # seconds that every write of a save takes longer: some sixty of them in each


def beside(warm: Warm, scratch: Path) -> Row:
    """The steps go on while a save is in flight, and it holds the step that it was begun at."""
    scratch.mkdir(parents=True)
    source, counted = text(scratch / "text.txt"), {}
    for name in ("true", "false"):
        done = warm.run(
            train(scratch / name, END, EVERY, **{"data.path": source, "checkpoint.asynchronous": name}), {"slow": SLOW}
        )
        insist(done.code == 0, done.err[-2000:])
        counted[name] = _steps_beside(scratch / name)
    steps = (EVERY, 2 * EVERY, END)
    wrong = [text for step in steps for text in differences(scratch / "true", scratch / "false", step)]
    saves = [line for line in log.read(scratch / "true" / log.TRAINING) if line["event"] == "save"]
    return Row(
        "steps between the begin of a save and its checkpoint, on a slow disk",
        "all that there are until the next save; the files are those of a synchronous save, bit for bit",
        not wrong and counted["true"] == EVERY and counted["false"] == 0,
        f"{counted['true']} steps",
        f"{counted['false']} steps, synchronous",
        samples={"save_s": [line["seconds"] for line in saves if "seconds" in line]},
        notes=[f"a save every {EVERY} steps; every write of a save takes {1000 * SLOW:.0f} ms longer", *wrong],
    )


def _steps_beside(run: Path) -> int:
    """Steps that were logged while the first save was under way: the next one waits for it."""
    lines = log.read(run / log.TRAINING)
    begun = next(line["up"] for line in lines if line["event"] == "step" and line["step"] == EVERY)
    took = next(line["seconds"] for line in lines if line["event"] == "save" and line["step"] == EVERY)
    return sum(1 for line in lines if line["event"] == "step" and begun < line["up"] < begun + took)


def back(warm: Warm, scratch: Path) -> Row:
    """--resume-from-step, and checkpoints that hold weights only."""
    scratch.mkdir(parents=True)
    run, wrong = scratch / "run", list[str]()
    shape: dict[str, Any] = {"data.path": text(scratch / "text.txt"), "checkpoint.keep": 9}

    def go(steps: int, *flags: str, code: int = 0) -> str:
        done = warm.run([*train(run, steps, 5, **shape), *flags])
        insist(done.code == code, f"exit {done.code}, not {code}: {done.err[-2000:]}")
        return done.err

    go(20)
    said = go(20, "--resume-from-step", "10")
    if "resuming from step-00000010" not in said or "step-00000015, step-00000020 moved to" not in said:
        wrong.append(f"going back: {said[-500:]}")
    aside = sorted(path.name for path in run.glob("set-aside-*/*"))
    if aside != ["step-00000015", "step-00000020"]:
        wrong.append(f"set aside: {aside}")
    then, now = (manifest.read(path)["files"] for path in (next(run.glob("set-aside-*/step-00000020")), _at(run, 20)))
    if then != now:
        wrong.append("the second turn gave another checkpoint of step 20")
    thin.thin(_at(run, 20))
    if "weights only" not in go(20, "--resume-from-step", "20", code=3):
        wrong.append("weights alone were not refused")
    said = go(25)
    if "step-00000020 holds weights only" not in said or "resuming from step-00000015" not in said:
        wrong.append(f"weights only: {said[-500:]}")
    whole = scratch / "whole"
    done = warm.run(train(whole, 25, 5, **shape))
    insist(done.code == 0, done.err[-2000:])
    wrong += differences(run, whole, 25)
    return Row(
        "--resume-from-step, and checkpoints of weights only",
        "newer ones are set aside, not deleted; weights only are passed over; the end is bit-equal",
        not wrong,
        "as promised" if not wrong else f"{len(wrong)} differences",
        notes=wrong,
    )


def _at(run: Path, step: int) -> Path:
    return checkpoints(run) / folder.name_of(step)


def rows(warm: Warm, scratch: Path) -> list[Row]:
    return [beside(warm, scratch / "beside"), back(warm, scratch / "back")]
