"""What the proofs of bench/resume.py have in common: tiny runs, and when two of them are one and the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest, verify
from trainer.errors import TrainerError
from trainer.metrics import log
from trainer.run.folder import CHECKPOINTS, losses

BATCH = 6  # windows of a step: 1, 2, 3 and 6 ranks share it
CONTEXT = 32
EPOCH = 6  # steps that read all windows of `text` once
SMALL = {
    "model.layers": 1,
    "model.width": 32,
    "model.heads": 2,
    "model.context": CONTEXT,
    "model.dropout": 0.1,
    "train.batch": BATCH,
    "train.device": "cpu",
    "metrics.gpu_seconds": 0,
}


class Broken(AssertionError):
    """A promise that was not kept; says which."""


@dataclass(frozen=True)
class Layout:
    """How many ranks, and what shares the state among them. zero None: ddp."""

    ranks: int = 1
    zero: int | None = None

    @property
    def name(self) -> str:
        kind = "ddp" if self.zero is None else f"ZeRO {self.zero}"
        return f"{kind} on {self.ranks} rank{'s' if self.ranks > 1 else ''}"

    @property
    def flags(self) -> list[str]:
        zero = [] if self.zero is None else sets({"parallel.zero": self.zero})
        return ["--ranks", str(self.ranks), *zero]


def sets(values: Mapping[str, Any]) -> list[str]:
    """As --set flags."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def train(run: Path, steps: int, every: int, layout: Layout = Layout(), /, **more: Any) -> list[str]:
    """The arguments of a `train`. more: dots are two underscores; they win over SMALL."""
    values = {**SMALL, **{name.replace("__", "."): value for name, value in more.items()}}
    shape = ["--steps", str(steps), "--save-every", str(every)]
    return ["train", "--run", str(run), *shape, *layout.flags, *sets(values)]


def text(path: Path, steps: int = EPOCH) -> Path:
    """A text whose training split holds exactly `steps` steps of windows: an epoch ends where a step does."""
    windows = steps * BATCH
    # one of 20 parts is held out (trainer/data/tokens.py), and a window needs one token more
    size = next(size for size in range(windows * CONTEXT, 9**9) if (size - held(size) - 1) // CONTEXT == windows)
    words = (f"{number} bottles of {hashlib.sha256(bytes([number % 256])).hexdigest()[:7]}. " for number in range(9**9))
    content = ""
    while len(content) < size:
        content += next(words)
    path.write_text(content[:size], encoding="utf-8")
    return path


def held(size: int) -> int:
    """Bytes of a text that are for validation."""
    return max(size // 20, CONTEXT + 1)


def checkpoints(run: Path) -> Path:
    return run / CHECKPOINTS


def newest_good(run: Path) -> int:
    """The step of the newest checkpoint whose every byte is right; 0 without one."""
    found = verify.newest_good(checkpoints(run), lambda _: None)
    return folder.step_of(found.name) or 0 if found else 0


def last_step(run: Path) -> int:
    """The last step that was logged by any attempt."""
    return max(steps_logged(run), default=0)


def steps_logged(run: Path) -> list[int]:
    return [line["step"] for line in log.read(run / log.TRAINING) if line["event"] == "step"]


def differences(one: Path, other: Path, step: int, lineage: bool = False) -> list[str]:
    """What differs between two runs that should be the same to the last bit, as sentences; [] when nothing does.

    Losses of all steps; sha256 of every file of the checkpoint of `step` (weights, optimizer, generators); progress
    and best.
    """
    found = []
    try:
        first, second = losses(one), losses(other)
    except TrainerError as error:
        return [error.what]
    if first != second:
        odd = [number for number in sorted(first.keys() | second.keys()) if first.get(number) != second.get(number)]
        found.append(f"losses of steps {odd[:5]}")
    a, b = (manifest.read(checkpoints(run) / folder.name_of(step)) for run in (one, other))
    for run in (one, other):
        reason = verify.fault(checkpoints(run) / folder.name_of(step))
        if reason:
            found.append(f"{run.name}: {reason}")
    names = sorted(a["files"].keys() | b["files"].keys())
    found += [f"file {name}" for name in names if a["files"].get(name) != b["files"].get(name)]
    kinds = {name.split("-")[0] for name in names}
    if kinds != {"weights", "optimizer", "random"}:
        found.append(f"kinds of files {sorted(kinds)}")
    found += [f"manifest {name}" for name in ("samples", "tokens", "best", "engine", "stage") if a[name] != b[name]]
    found += _pointers(one, other)
    return found


def _pointers(one: Path, other: Path) -> list[str]:
    told = [
        [(found := folder.pointed(checkpoints(run), name)) and found.name for name in folder.POINTERS]
        for run in (one, other)
    ]
    return [] if told[0] == told[1] else [f"pointers {told[0]} and {told[1]}"]


def insist(true: object, what: str) -> None:
    """Raises Broken."""
    if not true:
        raise Broken(what)


def order_hash(rows: Sequence[str]) -> str:
    """Of the hashes of all windows in the order they are read in."""
    return hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest()[:16]
