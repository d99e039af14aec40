"""What the entrance costs: `./inv --list` against Invoke on a file with one task."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from bench.measure import measure
from bench.rows.row import Row
from bench.setting import Setting

TIMES = 4  # as many runs as other rows have, times this: it is over in a tenth of a second


def listing(setting: Setting) -> list[Row]:
    ours, theirs = [], []
    invoke = one_task(setting)
    for _ in range(setting.runs * TIMES):
        ours.append(setting.checkout.inv("--list").wall)
        theirs.append(measure([*invoke, "--list"], cwd=setting.folder / "one-task").wall)
    ratio = median(ours) / median(theirs)
    return [
        Row(
            what="./inv --list against invoke --list on a one-task file",
            reach="at most 1.5x as long",
            met=ratio <= 1.5,
            shown=f"{median(ours) * 1000:.0f} ms",
            against_shown=f"{median(theirs) * 1000:.0f} ms",
            ratio=ratio,
            samples={"wall": ours, "invoke_wall": theirs},
        )
    ]


def invoke_start(setting: Setting) -> list[float]:
    """Seconds Invoke takes to start and run a task that does nothing."""
    invoke = one_task(setting)
    runs = range(setting.runs * TIMES)
    return [measure([*invoke, "nothing"], cwd=setting.folder / "one-task").wall for _ in runs]


def one_task(setting: Setting) -> list[str]:
    """Invoke's command on a file with one task."""
    folder = setting.folder / "one-task"
    folder.mkdir(exist_ok=True)
    (folder / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n")
    return [str(Path(sys.executable).with_name("invoke"))]
