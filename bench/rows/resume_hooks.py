"""What is done to a trainer process from within, so that it dies, waits or tells at an exact place.

Installed after the fork and before the trainer begins. Nothing of the trainer is replaced: its functions are wrapped,
and Python's own file objects are replaced by the same in Python (`_pyio`), so that each of their system calls is seen.
"""

from __future__ import annotations

import _pyio  # type: ignore[import-not-found]
import builtins
import hashlib
import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CALLS = ("open", "write", "pwrite", "fsync", "ftruncate", "mkdir", "rename", "replace", "unlink", "remove", "rmdir")
SAVING = ("save-", "ThreadPoolExecutor")  # threads of a save: checkpoint/saver.py and checkpoint/part.py


def install(plan: dict[str, Any], rank: int) -> None:
    """plan, each entry optional: `kill` {rank, call, half, scope, told}; `die` (a step); `windows` (a folder); `slow`
    (seconds per write of a save); `reserve` (bytes, in the place of save.RESERVE); `full_after` (bytes)."""
    kill = plan.get("kill")
    if kill and kill["rank"] == rank:
        Calls(kill["call"], kill["half"], kill["scope"], Path(kill["told"])).install()
    if "die" in plan:
        die_at(plan["die"])
    if "windows" in plan:
        tell_windows(Path(plan["windows"]))
    if "slow" in plan:
        slow_writes(plan["slow"])
    if "reserve" in plan:
        from trainer.run import save

        save.RESERVE = plan["reserve"]


def end() -> None:
    """SIGKILL to this process: no handler, no flush, no farewell."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Calls:
    """Counts the system calls that change a file system, and ends the process before the n-th, or in its middle.

    scope: "save": those of the first save of this process, on its threads, and the process ends with that save anyway;
    "all": those of all threads from now on. half: a write is done by half first. told: gets one JSON line at the end:
    {call, name, step, published} or {over: number of calls}.
    """

    def __init__(self, last: int, half: bool, scope: str, told: Path) -> None:
        self.last, self.half, self.scope, self.told = last, half, scope, told
        self.count, self.step, self.published = 0, None, False
        self.real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in CALLS}
        self.lock = threading.RLock()

    def install(self) -> None:
        """From now on they are counted."""
        for name in CALLS:
            setattr(os, name, self._counted(name))
        builtins.open = io.open = _pyio.open  # their writes are os.write, and so on
        from trainer.checkpoint.saver import Saver

        real = Saver._save

        def save(saver: Saver, wish: Any, *rest: Any) -> None:
            self.step = wish.step
            real(saver, wish, *rest)
            if self.scope == "save":
                self._tell({"over": self.count})
                end()

        Saver._save = save  # type: ignore[method-assign, assignment]

    def _counted(self, name: str) -> Callable[..., Any]:
        real = self.real[name]

        def call(*arguments: Any, **named: Any) -> Any:
            if (name == "open" and not arguments[1] & os.O_CREAT) or not self._ours():
                return real(*arguments, **named)
            with self.lock:  # the n-th call is one call, whatever the threads do
                self.count += 1
                if self.count == self.last:
                    if self.half and name == "write":
                        real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    self._tell({"call": self.count, "name": name, "step": self.step, "published": self.published})
                    end()
                result = real(*arguments, **named)
                if name == "rename" and Path(arguments[1]).name.startswith("step-"):
                    self.published = True
            return result

        return call

    def _ours(self) -> bool:
        return self.scope == "all" or threading.current_thread().name.startswith(SAVING)

    def _tell(self, content: dict[str, Any]) -> None:
        handle = self.real["open"](self.told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.real["write"](handle, (json.dumps(content) + "\n").encode())


def die_at(step: int) -> None:
    """SIGKILL as soon as so many steps are done and no save is in flight."""
    from trainer.run.loop import Loop

    real = Loop._step

    def stepping(loop: Loop) -> bool:
        if loop.job.state.progress.step >= step:
            loop.job.saver.wait()
            end()
        return real(loop)

    Loop._step = stepping  # type: ignore[method-assign, assignment]


def tell_windows(folder: Path) -> None:
    """Writes down the hash of every window of tokens that this process trains on: one file per process."""
    from trainer.run.corpus import Windows

    real, make = Windows.micro_batches, Windows.__init__

    def init(self: Windows, tokens: Any, config: Any, world: Any) -> None:
        make(self, tokens, config, world)
        self.seen = (config.model.context, world.rank, folder / f"{os.getpid()}-{world.rank}.jsonl")  # type: ignore[attr-defined]

    def micro_batches(self: Windows, sample: int, micro: int, length: int) -> Iterator[Any]:
        context, rank, file = self.seen  # type: ignore[attr-defined]
        for inputs, targets in real(self, sample, micro, length):
            rows = [hashlib.sha256(row.numpy().tobytes()).hexdigest() for row in inputs.reshape(-1, context)]
            with file.open("a") as stream:
                stream.write(json.dumps({"sample": sample, "rank": rank, "rows": rows}) + "\n")
            yield inputs, targets

    Windows.__init__, Windows.micro_batches = init, micro_batches  # type: ignore[method-assign]


def slow_writes(seconds: float) -> None:
    """Every write of a save takes so much longer."""
    real = os.write

    def write(handle: int, data: Any) -> int:
        if threading.current_thread().name.startswith(SAVING):
            time.sleep(seconds)
        return real(handle, data)

    os.write = write
