"""A folder that looks like the inside of an image, with the real run scripts in it, and a volume beside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trainer.metrics import log

SCRIPTS = Path(__file__).resolve().parents[2] / "templates" / "run"
PROGRAMS = ("setup", "run", "resume", "train", "healthcheck", "smoke", "env-report", "keep-log")
SOURCED = ("settings", "variables", "children", "steps", "sending")
PYTHON = ("facts", "torchrun", "keeper", "watching", "traces", "end-instance")
SECONDS = 180.0  # a bound for what waits, not a measure
TRAINER = {
    "model": {"layers": 1, "heads": 2, "width": 32, "context": 32},
    "train": {"steps": 6, "micro_batch": 2, "device": "cpu"},
    "checkpoint": {"every": 2},
}
# In the trainer's place, for what `run` does with its answers: one line of shell per attempt, from the file `attempts`.
STAND_IN = """#!/bin/sh
real={real}
case "$*" in
*--show*) exec "$real" "$@" ;;
"-m trainer train "* | "-m trainer sft "* | "-m trainer pull "* | "-m trainer sync "*) ;;
*) exec "$real" "$@" ;;
esac
echo "$*" >>{told}
line=$(head -n 1 {attempts})
sed -i 1d {attempts}
eval "${{line:-exit 0}}"
"""


def rendered_entrypoint(base: list[str]) -> str:
    import jinja2

    loader = jinja2.FileSystemLoader(SCRIPTS)
    template = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return template.get_template("entrypoint.sh.j2").render(base_entrypoint=base)


class Image:
    """A folder that looks like the image's /opt/stoker, with a volume beside it. shell: runs the scripts, if given."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root, self.home, self.volume, self.state = root, root / "opt stoker", root / "workspace", root / "state"
        self.bin, self.shell = self.home / "bin", list[str]()
        for folder in (self.bin, self.volume, root / "home", root / "profile.d", root / "ssh", root / "tmp"):
            folder.mkdir(parents=True)
        for name in (*PROGRAMS, *SOURCED):
            shutil.copy(SCRIPTS / name, self.bin / name)
        for name in PYTHON:
            shutil.copy(SCRIPTS / f"{name}.py", self.bin / name)
        self.environment = {
            **{name: value for name, value in environment.items() if not name.startswith(("HF_", "WANDB_", "AWS_"))},
            "STOKER_HOME_DIR": str(self.home),
            "STOKER_STATE_DIR": str(self.state),
            "STOKER_PROFILE_D": str(root / "profile.d"),
            "STOKER_SSHD_DIR": str(root / "ssh"),
            "STOKER_LIBCUDA": "/nonexistent",
            "STOKER_DRIVER_VERSION_FILE": "/nonexistent",
            "STOKER_INIT_ENVIRON": "/nonexistent",
            "TMPDIR": str(root / "tmp"),
        }
        self.entrypoint([])
        self.profile()

    def entrypoint(self, base: list[str]) -> None:
        (self.bin / "entrypoint").write_text(rendered_entrypoint(base))
        (self.bin / "entrypoint").chmod(0o755)

    def profile(self, **values) -> None:
        content = {"profile": "cpu", "version": "0.1.0", "gpu": None, "precision": "fp32", "driver_floor": None}
        content |= {"volume": str(self.volume), "trainer": TRAINER, **values}
        (self.home / "profile.json").write_text(json.dumps(content))

    @property
    def real(self) -> str:
        """The Python behind the stand-in."""
        return sys.executable

    def attempts(self, *lines: str) -> None:
        """From now on train, sft, pull and sync are a line of shell each, in this order; then `exit 0`."""
        folder = self.root / "stand-in"
        folder.mkdir(exist_ok=True)
        (folder / "attempts").write_text("".join(f"{line}\n" for line in lines))
        (folder / "told").write_text("")
        text = STAND_IN.format(real=self.real, told=folder / "told", attempts=folder / "attempts")
        (folder / "python3").write_text(text)
        (folder / "python3").chmod(0o755)
        self.environment["PATH"] = f"{folder}:{self.environment['PATH'].removeprefix(f'{folder}:')}"

    def told(self) -> list[str]:
        """What the stand-in was called with, without `-m trainer`."""
        lines = (self.root / "stand-in" / "told").read_text().splitlines()
        return [line.removeprefix("-m trainer ") for line in lines]

    def start(self, script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.shell, str(self.bin / script), *arguments],
            env={**self.environment, **variables},
            cwd=self.volume,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        process = self.start(script, *arguments, **variables)
        out, errors = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, errors)

    @property
    def run_folder(self) -> Path:
        return self.volume / "runs" / "cpu"

    def log(self, folder: Path | None = None) -> str:
        """RUN/run.log, empty without one."""
        file = (folder or self.run_folder) / "run.log"
        return file.read_text() if file.exists() else ""

    def last_step(self, folder: Path | None = None) -> int:
        lines = log.read((folder or self.run_folder) / log.TRAINING)
        return max((line.get("step", 0) for line in lines), default=0)

    def steps_here(self, folder: Path | None = None) -> list[int]:
        """Steps of the checkpoints, oldest first."""
        found = (folder or self.run_folder).glob("checkpoints/step-*/manifest.json")
        return sorted(int(path.parent.name.removeprefix("step-")) for path in found)

    def trainer_process(self) -> int:
        """The process that trains."""
        return int((self.run_folder / "trainer.lock").read_text())


def until(true: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Waits for it; the process must live as long."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(process: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    """Signals it; its exit code and all that it said."""
    process.send_signal(number)
    out, errors = process.communicate(timeout=SECONDS)
    return process.returncode, out + errors


def checkpoint(folder: Path, step: int) -> str:
    """A line of shell that makes what looks like a checkpoint."""
    path = folder / "checkpoints" / f"step-{step:08d}"
    return f"mkdir -p '{path}' && echo '{{}}' >'{path}/manifest.json'"


def environment_of(process: int) -> dict[str, str]:
    """The variables a process was started with."""
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


assert os.access(SCRIPTS / "run", os.X_OK)
