"""How long a save holds the training up, and how fast checkpoints are written and read, beside torch.save, dd and cp.

Run as a module it is the process that trains: python -m bench.rows.resume_speed FOLDER SAVES prints JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench import measure
from bench.rows.row import Row

STALL, THROUGHPUT = 0.05, 0.8
MODEL = {"layers": 6, "heads": 8, "width": 512, "context": 128, "vocab": 4096}  # 21M parameters, 254 MB of state
EVERY = 6  # steps between saves
KINDS = ("weight", "exp_avg", "exp_avg_sq")
NUMBERS = 64 << 20  # of the state that is written and read: three times as many, 805 MB


def stalls(scratch: Path, saves: int) -> Row:
    """Seconds the step loop stands still for a save, in a real training, beside torch.save of the same state."""
    told = json.loads(measure.measure([sys.executable, "-m", __name__, scratch / "stall", str(saves)], env=_env()).out)
    ours, theirs = told["stall_s"], told["torch_save_s"]
    ratio = median(ours) / median(theirs)
    return Row(
        f"stall per save, {told['bytes'] / 1e6:.0f} MB of state",
        "at most 5% of a synchronous torch.save of the same state",
        ratio <= STALL,
        f"{1000 * median(ours):.1f} ms",
        f"{1000 * median(theirs):.0f} ms",
        ratio,
        {name: values for name, values in told.items() if name != "bytes"},
        (
            "torch.save without fsync, into the page cache; ours is on the disk, hashed and read back when it counts",
            "with_save_s and step_s: whole steps in which a save was copied and written, and all others",
        ),
    )


def train(folder: Path, saves: int) -> dict[str, Any]:
    """Trains with a save every few steps, then saves the same state with torch.save as often."""
    import torch

    from trainer.checkpoint.tensors import Checkpoint
    from trainer.config import Checkpoint as Saving
    from trainer.config import Config, Model, Train
    from trainer.metrics import log
    from trainer.run.loop import train as run
    from trainer.run.stop import StopRequest

    config = Config(
        model=Model(**MODEL),  # type: ignore[arg-type]
        train=Train(steps=EVERY * (saves + 1), batch=2, device="cpu", deterministic=False),
        checkpoint=Saving(every=EVERY, keep=1),
    )
    config.optim.decay_steps = 0
    config.metrics.gpu_seconds = 0
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        out, sys.stdout = sys.stdout, nothing
        run(config, folder, StopRequest())
        sys.stdout = out
    lines = log.read(folder / log.TRAINING)
    done = [line for line in lines if line["event"] == "save"][1:-1]  # the first takes the memory, the last ends
    steps = {line["step"]: line["step_seconds"] for line in lines if line["event"] == "step" and line["step"] > 1}
    behind = {line["step"] + 1 for line in done}
    newest = Checkpoint(max((folder / "checkpoints").glob("step-*")))
    state = {
        f"{kind}/{name}": newest.whole(kind, name).clone() for kind in newest.kinds() for name in newest.names(kind)
    }
    taken = [_timed(lambda: torch.save(state, folder / "state.pt")) for _ in done]
    return {
        "stall_s": [line["stall"] for line in done],
        "torch_save_s": taken,
        "bytes": done[0]["bytes"],
        "publish_s": [line["seconds"] for line in done],
        "with_save_s": [steps[step] for step in sorted(behind & steps.keys())],
        "step_s": [taken for step, taken in sorted(steps.items()) if step not in behind],
    }


def throughput(scratch: Path, rounds: int) -> list[Row]:
    """A save from memory to a published checkpoint beside dd with fsync; verifying and reading it beside dd and cp."""
    import torch

    from trainer.checkpoint.piece import Piece
    from trainer.checkpoint.publish import Rules
    from trainer.checkpoint.saver import Saver, Wish

    root = scratch / "throughput"
    root.mkdir()
    pieces = [Piece(kind, "w", (NUMBERS,), 0, torch.randn(NUMBERS)) for kind in KINDS]
    room = torch.zeros(NUMBERS)
    saver, size = Saver(0, 1, asynchronous=False), 12 * NUMBERS
    source = Path("/dev/shm" if Path("/dev/shm").is_dir() else root) / f"stoker-bench-{os.getpid()}"
    with source.open("wb") as stream:  # numbers, not zeros, which some disks are quicker with
        for piece in pieces:
            stream.write(memoryview(piece.tensor.numpy()).cast("B"))
    taken: dict[str, list[float]] = {name: [] for name in ("dd_write", "save", "dd_read", "load", "cp")}
    for number in range(1, rounds + 2):
        writing = ["dd", f"if={source}", f"of={root}/dd", "bs=4M", "conv=fsync"]
        taken["dd_write"].append(_timed(_run, *writing))
        saver.begin(Wish(number, root / f".staging-{number}", pieces, b"{}", {}, (), Rules(1)))
        outcome = saver.outcome()
        if outcome is None or outcome.published is None:
            raise measure.Failed(f"the save failed: {outcome and outcome.error}")
        taken["save"].append(outcome.seconds)
        made = outcome.published.folder
        for name, act in (("dd_read", _read), ("load", _load), ("cp", _copy)):
            _cold(made)
            taken[name].append(_timed(act, made, room))
    source.unlink()
    shutil.rmtree(root)
    rates = {name: [size / one / 1e6 for one in values[1:]] for name, values in taken.items()}
    disk = "on the same disk"
    return [
        _rate_row("save throughput, from memory to published", f"dd with fsync {disk}", rates, "save", "dd_write"),
        _rate_row("load throughput, verified and in memory, nothing cached", f"cp {disk}", rates, "load", "cp"),
        _rate_row(
            "load throughput, verified and in memory, nothing cached",
            f"dd to /dev/null {disk}",
            rates,
            "load",
            "dd_read",
        ),
    ]


def _read(made: Path, _: Any) -> None:
    for path in sorted(made.iterdir()):
        _run("dd", f"if={path}", "of=/dev/null", "bs=4M")


def _load(made: Path, room: Any) -> None:
    from trainer.checkpoint import verify
    from trainer.checkpoint.tensors import Checkpoint

    if verify.fault(made) is not None:
        raise measure.Failed("the checkpoint does not verify")
    stored = Checkpoint(made)
    for kind in KINDS:
        room.copy_(stored.read(kind, "w"))


def _copy(made: Path, _: Any) -> None:
    copy = made.with_name("copy")
    _run("cp", "-r", str(made), str(copy))
    shutil.rmtree(copy)


def _rate_row(what: str, against: str, rates: dict[str, list[float]], ours: str, theirs: str) -> Row:
    ratio = median(one / other for one, other in zip(rates[ours], rates[theirs], strict=True))
    return Row(
        what,
        f"at least 80% of {against}",
        ratio >= THROUGHPUT,
        f"{median(rates[ours]):.0f} MB/s",
        f"{median(rates[theirs]):.0f} MB/s",
        ratio,
        {f"{name}_mb_per_s": values for name, values in rates.items()},
        (f"{12 * NUMBERS / 1e6:.0f} MB, taken in turn; the ratio is the median of pairs",),
    )


def _cold(folder: Path) -> None:
    """The kernel forgets the files, so that reading them asks the disk (posix_fadvise(2); they are flushed)."""
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _timed(act: Callable[..., object], *arguments: Any) -> float:
    began = time.monotonic()
    act(*arguments)
    return time.monotonic() - began


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONWARNINGS": "ignore"}


if __name__ == "__main__":
    print(json.dumps(train(Path(sys.argv[1]), int(sys.argv[2]))))
