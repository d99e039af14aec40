"""Trainer processes that start in milliseconds: one process imports torch once, and every attempt and rank is its fork.

    with Warm() as warm:
        ended = warm.run(["train", "--run", "x", "--ranks", "2"])

`python -m trainer ARGUMENTS` in all but the start of the interpreter: the real launcher sees its ranks as processes of
their own and may kill them or be killed, the sync process is a real one. Run as a module it is the warm process.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds for one attempt
GRACE = 0.3  # seconds, 5 in the launcher itself: a rank that waits for one that is gone does not hear of it


@dataclass(frozen=True)
class Ended:
    """code: the exit code, or minus the signal that ended it."""

    code: int
    out: str
    err: str


class Stuck(RuntimeError):
    """An attempt that did not end in time."""


class Attempt:
    """One `python -m trainer ...` that runs. pid: its process; with ranks it is the launcher."""

    def __init__(self, warm: Warm, pid: int, words: Path) -> None:
        self.warm, self.pid, self.words = warm, pid, words
        self.ended: Ended | None = None

    def poll(self) -> Ended | None:
        """How it ended; None while it runs."""
        if self.ended is None:
            code = self.warm.ask(poll=self.pid)
            if code is not None:
                out, err = (self.words.with_suffix(end).read_text(errors="replace") for end in (".out", ".err"))
                self.ended = Ended(code, out, err)
        return self.ended

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """How it ended. Raises Stuck, and ends it, when it takes too long."""
        deadline = time.monotonic() + seconds
        while (ended := self.poll()) is None:
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, 9)
                raise Stuck(self.words.with_suffix(".err").read_text(errors="replace")[-2000:])
            time.sleep(0.004)
        return ended


class Warm:
    """The warm process. zero: DeepSpeed is imported too."""

    def __init__(self, zero: bool = False) -> None:
        self.zero = zero
        self._number = 0

    def __enter__(self) -> Warm:
        self._folder = tempfile.TemporaryDirectory(prefix="stoker-warm-")
        self.folder = Path(self._folder.name)
        own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "HOME": str(self.folder)}
        foreign = ("STOKER_", "RANK", "WORLD_SIZE", "LOCAL_RANK")
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.rows.resume_warm", *(["zero"] if self.zero else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**env, **own},
            cwd=self.folder,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._folder.cleanup()

    def ask(self, **request: Any) -> Any:
        """The answer of the warm process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())["answer"]

    def start(self, arguments: Sequence[str], plan: Mapping[str, Any] | None = None, **variables: str) -> Attempt:
        """Starts one. plan: of resume_hooks.install; variables: more environment."""
        self._number += 1
        words = self.folder / f"attempt-{self._number}"
        for end in (".out", ".err"):  # it may be killed before it makes them
            words.with_suffix(end).touch()
        pid = self.ask(start=[str(one) for one in arguments], plan=dict(plan or {}), words=str(words), env=variables)
        return Attempt(self, pid, words)

    def run(self, arguments: Sequence[str], plan: Mapping[str, Any] | None = None, **variables: str) -> Ended:
        """Runs one to its end."""
        return self.start(arguments, plan, **variables).wait()


class Forked:
    """subprocess.Popen as the launcher uses it, for `python -m trainer ...` as a fork of this process."""

    plan: Mapping[str, Any] = {}

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], stdin: Any, stdout: Any, stderr: Any,
        start_new_session: bool, preexec_fn: Callable[[], None],
    ) -> None:  # fmt: skip
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        with _leaving():
            import signal

            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                signal.signal(number, signal.SIG_DFL)  # as exec does with handlers
            os.setsid()
            preexec_fn()
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 0)
            for handle, stream in ((1, stdout), (2, stderr)):
                if stream is not None:
                    os.dup2(nothing if stream == subprocess.DEVNULL else stream.fileno(), handle)
            _become(list(command)[3:], env, self.plan)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class _leaving:
    """What happens within is the last thing of this process."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None and not issubclass(kind, SystemExit):
            import traceback

            traceback.print_exception(kind, error, trace)
        code = error.code if isinstance(error, SystemExit) else 1
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code if isinstance(code, int) else 1)


def _become(arguments: list[str], environment: Mapping[str, str], plan: Mapping[str, Any]) -> None:
    """This process is `python -m trainer ARGUMENTS` from here on. Raises SystemExit."""
    from trainer.__main__ import main
    from trainer.run import interrupt

    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["trainer", *arguments]
    interrupt.install()
    if plan and not (
        "--ranks" in arguments and arguments[arguments.index("--ranks") + 1] != "1" and "RANK" not in environment
    ):
        from bench.rows import resume_hooks

        resume_hooks.install(dict(plan), int(environment.get("RANK", "0")))
    raise SystemExit(main(arguments))


def _started(request: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    with _leaving():
        import ctypes
        import types

        from trainer.parallel import launch

        ctypes.CDLL(None).prctl(launch.PR_SET_PDEATHSIG, 9, 0, 0, 0)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        for handle, end in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(request["words"] + end, os.O_WRONLY | os.O_CREAT, 0o644), handle)
        Forked.plan = request["plan"]
        launch.launch.__defaults__ = (None, GRACE, *launch.launch.__defaults__[2:])
        launch.subprocess = types.SimpleNamespace(Popen=Forked, DEVNULL=subprocess.DEVNULL)  # type: ignore[assignment, attr-defined]
        _become(request["start"], {**os.environ, **request["env"]}, request["plan"])
    raise AssertionError


def serve() -> None:
    """Answers until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _warm_up()
    children: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer: Any = _started(request)
            children.add(answer)
        else:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
            children -= {pid}
        answers.write(json.dumps({"answer": answer}) + "\n")
        answers.flush()
    for pid in children:
        os.kill(pid, 9)


def _warm_up() -> None:
    import torch
    import torch._inductor
    import torch.distributed.fsdp

    from trainer.after import sft  # noqa: F401
    from trainer.commands import COMMANDS  # noqa: F401
    from trainer.run import loop  # noqa: F401

    if "zero" in sys.argv:
        import deepspeed.runtime.zero.muon.original_muon
        import deepspeed.runtime.zero.stage3
        import deepspeed.runtime.zero.stage_1_and_2  # noqa: F401

        from trainer.parallel import zero  # noqa: F401
    torch.set_num_threads(1)
    gc.freeze()  # what is here stays: a fork need not look through it


if __name__ == "__main__":
    serve()
