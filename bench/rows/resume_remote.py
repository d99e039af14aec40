"""Training beside a store that fails, and a machine that begins with nothing but a store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from bench import measure
from bench.rows.row import Row
from tests.sim.hub import hub
from tests.sim.hub_faults import Faults
from tests.trainer.baked import Image
from tests.trainer.stores.conftest import Sshd, start_sshd
from trainer.metrics import log

ROOT = Path(__file__).resolve().parents[2]
STEP, RESTORE_S = 1.02, 10.0
STEPS, EVERY = 300, 30
SMALL = {
    "model.layers": 4,
    "model.width": 256,
    "model.heads": 4,
    "model.context": 128,
    "train.batch": 4,
    "train.device": "cpu",
    "metrics.gpu_seconds": 0,
}
# 85 million parameters: 1.02 GB of state
LARGE = {"model.layers": 12, "model.width": 768, "model.heads": 12, "model.context": 32}
GIGABYTE = {**SMALL, **LARGE, "train.batch": 1, "train.micro_batch": 1}


def beside_a_failing_store(scratch: Path, rounds: int) -> Row:
    """Step times with --remote at a Hub that stalls, answers 429, 500 and 503, cuts, loses writes and is full at
    times, beside those without; taken in turn."""
    alone: list[float] = []
    beside: list[float] = []
    shown: list[str] = []
    with failing_hub(scratch / "hub") as (told, trouble):
        environ = {**told["variables"], "HF_HOME": str(scratch / "hf")}
        for number in range(rounds):
            url = f"hf://{told['user']}/run{number}/night"
            for steps, remote in ((alone, ""), (beside, url)):
                run = scratch / f"run-{number}-{bool(remote)}"
                trouble(bool(remote))
                steps += _train(run, remote, environ)
                trouble(False)
                shutil.rmtree(run)
            shown += incomplete(url, environ)
    ratio = median(beside) / median(alone)
    return Row(
        "step time beside a store that fails in every way",
        "at most 1.02 of the step time without a store; the store never shows a checkpoint that does not verify",
        ratio <= STEP and not shown,
        f"{1000 * median(beside):.1f} ms",
        f"{1000 * median(alone):.1f} ms",
        ratio,
        {"beside_s": beside, "alone_s": alone},
        (f"checkpoints at the store that do not verify: {shown or 'none'}", f"a save every {EVERY} steps"),
    )


def _train(run: Path, remote: str, environ: dict[str, str]) -> list[float]:
    flags = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    flags += ["--steps", str(STEPS), "--save-every", str(EVERY), *(["--remote", remote] if remote else [])]
    env = {**os.environ, **environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "STOKER_GRACE": "0"}
    command = [sys.executable, "-m", "trainer", "train", "--run", str(run), *flags]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not _ended(run):
        time.sleep(0.1)
    if process.poll() is None:
        process.terminate()  # the last pass may wait for the store as long as it likes
    _, errors = process.communicate(timeout=120)
    if not _ended(run):
        raise measure.Failed(f"training ended early:\n{errors[-2000:]}")
    lines = log.read(run / log.TRAINING)
    return [
        line["step_seconds"] for line in lines if line["event"] == "step" and line["step"] > 20
    ]  # both have started by then


def _ended(run: Path) -> bool:
    lines = log.read(run / log.TRAINING, tail_bytes=4096)
    return bool(lines) and lines[-1]["event"] == "stop"


@contextmanager
def failing_hub(folder: Path) -> Iterator[tuple[dict[str, Any], Callable[[bool], None]]]:
    """A Hub in a process of its own, which gets only the time that the training leaves: it stands for another machine.

    Yields what it says of itself and a switch for its troubles.
    """
    folder.mkdir()
    command = ["nice", "-n", "19", sys.executable, "-m", __name__, str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    told = json.loads(process.stdout.readline())

    def trouble(on: bool) -> None:
        print("on" if on else "off", file=process.stdin, flush=True)
        process.stdout.readline()  # type: ignore[union-attr]

    try:
        yield told, trouble
    finally:
        process.stdin.close()
        process.wait(30)


def serve(folder: Path) -> None:
    """The Hub's process: a line `on` or `off` on standard input is answered by one when it is done."""
    with hub(folder) as server:
        print(json.dumps({"user": server.user, "variables": server.variables(folder / "hf")}), flush=True)
        on = threading.Event()
        threading.Thread(target=_make_trouble, args=(server.faults, on), daemon=True).start()
        for line in sys.stdin:
            (on.set if line.strip() == "on" else on.clear)()
            if not on.is_set():
                time.sleep(1.0)  # the one that is being planned
                server.faults.clear()
            print("done", flush=True)


def _make_trouble(faults: Faults, on: threading.Event) -> None:
    for kind in cycle(_troubles(faults)):
        on.wait()
        kind()
        time.sleep(0.7)


def _troubles(faults: Faults) -> list[Callable[[], object]]:
    return [
        lambda: faults.stall("", seconds=3.0),
        lambda: faults.answer("", 503, times=2),
        lambda: faults.answer("", 429, headers={"Retry-After": "1"}),
        lambda: faults.cut("PUT /lfs", after=100_000),
        lambda: faults.answer("", 500, times=2),
        lambda: faults.lose(),
        lambda: setattr(faults, "quota", 1_000),
        lambda: setattr(faults, "quota", None),
    ]


def incomplete(url: str, environ: dict[str, str]) -> list[str]:
    """Checkpoints that the store shows (with a manifest) and that do not verify, hashed byte by byte."""
    env = {**os.environ, **environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "trainer", "checkpoints", "verify", "--remote", url, "--all", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == 0 or "no checkpoint" in done.stderr:
        return []
    return [done.stdout or done.stderr]


def from_nothing(scratch: Path, rounds: int) -> Row:
    """Seconds from `run` on a machine with an empty volume to the first step, with 1 GB at a store over ssh, beside the
    plain transfer of the same files over the same ssh."""
    (scratch / "sshd").mkdir()
    process, server = start_sshd(scratch / "sshd", "/usr/local/bin:/usr/bin:/bin")
    try:
        far = scratch / "far"
        size = _made(scratch, far)
        plain, ours = [], []
        for number in range(rounds):
            plain.append(_copied(server, far, scratch / f"plain-{number}"))
            own = Path(shutil.copytree(far, scratch / f"far-{number}"))  # what this machine trains is sent there
            ours.append(_first_step(server, own, scratch / f"machine-{number}"))
            shutil.rmtree(own)
    finally:
        process.terminate()
        process.wait(10)
    beyond = median(one - other for one, other in zip(ours, plain, strict=True))
    return Row(
        f"`run` on an empty machine, {size / 1e9:.2f} GB at a store over ssh, to the first step",
        "the transfer's own time + at most 10 s",
        beyond <= RESTORE_S,
        f"{median(ours):.1f} s",
        f"{median(plain):.1f} s",
        None,
        {"run_s": ours, "transfer_s": plain, "beyond_s": [one - two for one, two in zip(ours, plain, strict=True)]},
        ("loopback; the transfer is `ssh cat` of every file in turn, flushed to the disk",),
    )


def _made(scratch: Path, far: Path) -> int:
    """One checkpoint of 1 GB at `far`; its bytes."""
    flags = [word for name, value in GIGABYTE.items() for word in ("--set", f"{name}={value}")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "trainer", "train", "--run", scratch / "origin", *flags, "--steps", "1"]
    measure.measure([*command, "--remote", f"file://{far}"], env=env)
    shutil.rmtree(scratch / "origin")
    return sum(path.stat().st_size for path in far.rglob("*") if path.is_file())


def _copied(server: Sshd, far: Path, here: Path) -> float:
    here.mkdir()
    line = ["ssh", *server.options().split(), "-p", str(server.port), "-o", "StrictHostKeyChecking=accept-new"]
    began = time.monotonic()
    for path in sorted(far.rglob("*.safetensors")):
        with (here / path.name).open("wb") as stream:
            subprocess.run([*line, f"{server.user}@127.0.0.1", "cat", str(path)], stdout=stream, check=True)
            os.fsync(stream.fileno())
    taken = time.monotonic() - began
    shutil.rmtree(here)
    return taken


def _first_step(server: Sshd, far: Path, machine: Path) -> float:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # `python3` of the run script is this one
    environ = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "STOKER_REMOTE": server.url(far)}
    image = Image(machine, {**environ, "STOKER_SSH_OPTIONS": server.options()})
    run = image.volume / "runs" / "night"
    config: dict[str, Any] = {}
    for name, value in {**GIGABYTE, "train.steps": 2, "checkpoint.every": 0}.items():
        section, key = name.split(".")
        config.setdefault(section, {})[key] = value
    (machine / "config.json").write_text(json.dumps(config))
    began = time.time()
    process = image.start("run", "--config", str(machine / "config.json"), STOKER_RUN_DIR=str(run))
    try:
        while not (
            first := [line for line in log.read(run / log.TRAINING) if line["event"] == "step" and line["time"] > began]
        ):
            if process.poll() is not None:
                raise measure.Failed(
                    f"`run` ended with {process.returncode} before its first step:\n{image.log(run)[-2000:]}"
                )
            time.sleep(0.05)
        return float(first[0]["time"]) - began
    finally:
        process.terminate()
        process.wait(120)
        shutil.rmtree(machine, ignore_errors=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
