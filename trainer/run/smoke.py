"""A smoke test inside the container: train, train again with a SIGKILL in the middle, resume, compare every loss.

The outer `inv smoke` does the same with whole containers; this one also runs where there is no engine (a rented pod).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.errors import CHECK_FAILED, TrainerError
from trainer.metrics import log
from trainer.run.folder import losses

# A model this small fits everywhere, whatever the profile's own size; precision and device stay the profile's.
SMALL = {
    "model.layers": 2,
    "model.heads": 4,
    "model.width": 64,
    "model.context": 64,
    "model.vocab": 256,
    "train.batch": 8,
    "precision.min_dim": 16,  # so that a profile with FP8 really computes in it
}
SECONDS = 600.0  # for one training process


def smoke(arguments: Sequence[str], steps: int) -> dict[str, Any]:
    """The result as JSON: steps, the step of the kill, first and last loss, tokens/s of the whole run.

    arguments: passed on to `train` after SMALL, so they win.
    Raises TrainerError when a part fails or the losses differ.
    """
    with tempfile.TemporaryDirectory(prefix="stoker-smoke-") as scratch:
        whole, broken = Path(scratch) / "whole", Path(scratch) / "broken"
        shape = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
        common = [*shape, *arguments, "--steps", str(steps), "--save-every", str(max(1, steps // 4))]
        _finish(_start(whole, common))
        killed_at = _kill_midway(_start(broken, common), broken, steps)
        _finish(_start(broken, common))
        before, after = losses(whole), losses(broken)
        different = [step for step in before if before[step] != after.get(step)]
        if different or len(after) != steps:
            what = f"after SIGKILL and resume the loss of step {different[0] if different else len(after)} differs"
            raise TrainerError(what, f"{before} != {after}", CHECK_FAILED)
        speeds = [line["tokens_per_s"] for line in log.read(whole / log.TRAINING) if line["event"] == "step"]
    return {
        "ok": True,
        "steps": steps,
        "killed_after_step": killed_at,
        "first_loss": before[1],
        "last_loss": before[steps],
        "tokens_per_s": sorted(speeds)[len(speeds) // 2],
    }


def _start(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "trainer", "train", "--run", str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(process: subprocess.Popen[bytes]) -> None:
    try:
        _, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise TrainerError(f"training took longer than {SECONDS:.0f} s", "fewer --steps", CHECK_FAILED) from None
    if process.returncode:
        tail = errors.decode(errors="replace").strip().splitlines()[-3:]
        raise TrainerError(f"training ended with exit code {process.returncode}", " | ".join(tail), CHECK_FAILED)


def _kill_midway(process: subprocess.Popen[bytes], folder: Path, steps: int) -> int:
    """Kills once more than half of the steps are done; gives back the last step seen."""
    deadline = time.monotonic() + SECONDS
    step = 0
    while step <= steps // 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
        step = max((line.get("step", 0) for line in log.read(folder / log.TRAINING)), default=0)
    if process.poll() is not None:
        _finish(process)
        raise TrainerError("training ended before it could be killed", "more --steps", CHECK_FAILED)
    process.kill()
    process.communicate()
    return step
