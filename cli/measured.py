"""What a run folder has measured: its speed and memory to correct plans by, and what remains of it. No torch."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.capacity.finish.remaining import Progress
from fleet.capacity.speed.measured import Measured
from profiles.errors import CheckFailed, WrongInput
from profiles.gpus import Gpu, table

WARM = 3  # first steps of an attempt: they compile, and the allocator still grows
LEAST = 5  # steps that a median needs
RECENT = 50  # newest steps that the pace of a running one is taken from
CPU = "cpu"
ENGINES = {"ddp": "ddp", "deepspeed": "zero"}  # the trainer's words for them and the planner's

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """The lines of a run that matter here. start: of the newest attempt, with its number; steps: of that attempt."""

    folder: Path
    config: dict[str, Any]
    first: Line
    start: Line
    steps: Sequence[Line]
    performance: Sequence[Line]
    lines: Sequence[Line]

    @property
    def attempt(self) -> int:
        """Number of the newest attempt that began."""
        return int(self.start["attempt"])

    @property
    def identity(self) -> str:
        """Names the run on any machine: its folder's name and when it first began."""
        return f"{self.folder.name}@{int(_number(self.first.get('time')))}"

    @property
    def step_tokens(self) -> int:
        """Of one optimizer step over all ranks."""
        return int(self.config["train"]["batch"]) * int(self.config["model"]["context"])


def story(run: Path) -> Story:
    """Reads a run folder. Raises WrongInput when it is none, CheckFailed when no attempt has begun training."""
    from trainer.metrics import log

    folder = run.absolute()
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        int(config["train"]["batch"]), int(config["model"]["context"]), int(config["train"]["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        raise WrongInput(f"no run at {run}: its config.json cannot be read", "give the folder of train --run") from None
    lines: Sequence[Line] = list(log.read(folder / log.TRAINING))
    starts = [line for line in lines if line.get("event") == "start" and isinstance(line.get("attempt"), int)]
    if not starts:
        raise CheckFailed(f"{run} has not begun to train: no start in {log.TRAINING}", "look again later")
    start = starts[-1]
    own = [line for line in lines if line.get("attempt") == start["attempt"]]
    told = [line for line in log.read(folder / log.PERFORMANCE) if line.get("attempt") == start["attempt"]]
    return Story(folder, config, starts[0], start, [line for line in own if _is_step(line)], told, lines)


def measured_run(run: Path) -> tuple[Measured, str, int]:
    """What a run has measured, its identity and the attempt: the newest one's median after the first steps, in steady
    state, over the newest stage of a curriculum. Peak memory is what torch's allocator reserved on rank 0.

    Raises WrongInput, and CheckFailed for too few steps or a GPU that is not in the table.
    """
    from trainer.config import Model
    from trainer.model.count import count

    told = story(run)
    model, train, parallel = told.config["model"], told.config["train"], told.config["parallel"]
    gpus = max(1, int(_number(told.start.get("gpus"))))
    length, since = _stage(told)
    rates = [told.step_tokens / _number(line["step_seconds"]) for line in told.steps[WARM:] if line["step"] > since]
    if len(rates) < LEAST:
        raise CheckFailed(f"{run} has {len(rates)} settled steps, {LEAST} are needed", "let it run on, then again")
    peaks = [_number((line.get("memory") or {}).get("max_reserved_bytes")) for line in told.performance]
    device = str(told.start.get("device"))
    found = Measured(
        gpu=CPU if device.startswith(CPU) else gpu_of(device, _memory(told)).key,
        gpus=gpus,
        precision=str((told.start.get("precision") or {}).get("name", told.config["precision"]["name"])),
        shape=f"{model['family']} d{model['layers']} h{model['width']}",
        parameters=int(_number(told.start.get("parameters"))) or count(Model(**model)).total,
        width=int(model["width"]),
        layers=int(model["layers"]),
        length=length,
        micro_batch=_micro(told, length, gpus),
        engine=ENGINES.get(str(told.start.get("engine")), "ddp"),
        zero=int(_number(told.start.get("zero"))),
        offload=str(parallel["offload"]),
        checkpointing=str(train["checkpointing"]),
        tokens_per_second_per_gpu=statistics.median(rates) / gpus,
        peak_bytes=int(max(peaks, default=0)) or None,
        source=f"run {told.folder.name}, {time.strftime('%Y-%m-%d', time.gmtime(_number(told.start.get('time'))))}",
    )
    return found, told.identity, told.attempt


def progress_of(run: Path) -> Progress:
    """Where a run stands, for what remains of it. Raises WrongInput and CheckFailed."""
    from trainer.metrics.goodput import Tally

    told = story(run)
    settled = told.steps[WARM:] if len(told.steps) >= WARM + LEAST else told.steps[1:] or told.steps
    recent = settled[-RECENT:]
    seconds = sorted(_number(line["step_seconds"]) for line in recent)
    gpus = max(1, int(_number(told.start.get("gpus"))))
    price = _number(told.start.get("price")) or _number((told.config.get("limits") or {}).get("price"))
    tally = Tally(price, gpus)
    for line in told.lines:
        tally.add(line)
    newest = told.lines[-1]
    done = told.steps[-1] if told.steps else told.start
    return Progress(
        run=told.folder.name,
        step=int(done["step"]),
        steps=int(_number(told.start.get("steps"))) or int(told.config["train"]["steps"]),
        tokens=int(_number(done.get("tokens"))),
        step_tokens=told.step_tokens,
        step_seconds=_quartiles(seconds),
        overhead=_between(recent),
        gpus=gpus,
        price=price,
        spent=tally.result().dollars,
        seen=_number(newest.get("time")),
        ended=str(newest.get("reason", "")) if newest.get("event") == "stop" else None,
    )


def gpu_of(name: str, memory: float = 0) -> Gpu:
    """The table's row for a GPU as torch.cuda.get_device_name() calls it; memory: bytes it says it has, 0: not known.

    Raises CheckFailed for a GPU that is not in the table, slices of one (MIG) among them.
    """
    words = _words(name)
    fitting = [row for row in table().values() if words in (_words(row.name), _words(row.providers.runpod or row.name))]
    if not fitting:
        raise CheckFailed(f"`{name}` is not in the table of GPUs", "its measurements cannot correct a plan")
    return min(fitting, key=lambda row: abs(row.memory_bytes - memory)) if memory else fitting[0]


def _stage(told: Story) -> tuple[int, int]:
    """(tokens of a sequence, the step after which it is so) of the newest stage."""
    stages = [line for line in told.lines if line.get("event") == "stage" and line.get("attempt") == told.attempt]
    if stages:
        return int(stages[-1]["length"]), int(_number(stages[-1].get("step")))
    return int(told.config["model"]["context"]), 0


def _micro(told: Story, length: int, gpus: int) -> int:
    """Sequences at once on a rank: as configured, as its newest checkpoint remembers it, else all of a rank's."""
    from trainer.checkpoint import folder, manifest

    train, context = told.config["train"], int(told.config["model"]["context"])
    windows = int(train["micro_batch"])
    if not windows:
        newest = folder.pointed(told.folder / "checkpoints", folder.LATEST)
        try:
            known = manifest.read(newest)["progress"]["micro"] if newest else {}
        except (manifest.Damaged, KeyError, TypeError):
            known = {}
        fitting = [size for name, size in known.items() if name.startswith(f"{length},")]
        windows = int(fitting[-1]) if fitting else max(1, int(train["batch"]) // gpus)
    return windows * (context // length)


def _memory(told: Story) -> float:
    return max((_number((line.get("memory") or {}).get("total_bytes")) for line in told.performance), default=0.0)


def _is_step(line: Line) -> bool:
    return line.get("event") == "step" and isinstance(line.get("step"), int) and _number(line.get("step_seconds")) > 0


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The fast quartile, the median and the slow one, of sorted values."""
    if len(values) < 2:
        return (values[0],) * 3 if values else (0.0,) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _between(steps: Sequence[Line]) -> float:
    """Seconds per step that are in no step: saves, evaluations."""
    if len(steps) < 2:
        return 0.0
    whole = _number(steps[-1].get("up")) - _number(steps[0].get("up"))
    inside = sum(_number(line["step_seconds"]) for line in steps[1:])
    return max(0.0, whole - inside) / (len(steps) - 1)


def _words(name: str) -> frozenset[str]:
    return frozenset(re.split(r"[^A-Z0-9]+", name.upper())) - {""}


def _number(value: Any) -> float:
    """A finite number of at least 0, else 0."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e18
    return float(value) if good else 0.0
