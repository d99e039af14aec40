"""Weights & Biases, offline or online, from a thread of its own: its network is never the training's business.

The run's id is made from the run folder's name, so that every attempt goes on in the same W&B run. The key comes from
WANDB_API_KEY alone. WANDB_MODE, where set, decides between offline, online and disabled.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.errors import OUTSIDE_FAILED, TrainerError

QUEUED = 10_000  # lines that may wait for a slow network; more are dropped
CLOSE_SECONDS = 60.0


class WandbBoard:
    """mode: offline or online. Files under RUN/wandb; `wandb sync` uploads an offline run later.

    Raises TrainerError without the package, and for an online run without a key.
    """

    name = "W&B"

    def __init__(
        self, mode: str, project: str, folder: Path, config: Mapping[str, Any], say: Callable[[str], None]
    ) -> None:
        self._mode = os.environ.get("WANDB_MODE") or mode
        self._check()
        self._say = say
        self._dropped = 0
        self._failed = False
        self._queue: queue.Queue[dict[str, float] | None] = queue.Queue(QUEUED)
        name = folder.resolve().name
        self._arguments = {
            "project": project,
            "id": run_id(name),
            "name": os.environ.get("WANDB_NAME") or name,
            "resume": "allow",
            "mode": self._mode,
            "dir": str(folder),
            "config": dict(config),
        }
        self._thread = threading.Thread(target=self._run, name="wandb", daemon=True)
        self._thread.start()

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """Queues them: microseconds, whatever the network does."""
        if self._failed:
            return
        try:
            self._queue.put_nowait({"step": step, **numbers})
        except queue.Full:
            self._dropped += 1

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Sends what is queued; gives up after so many seconds, so that a preempted machine is not kept waiting."""
        try:
            self._queue.put(None, timeout=1.0)
        except queue.Full:
            pass
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._say(f"W&B did not finish in {seconds:.0f} s; `wandb sync` sends the rest from RUN/wandb")
        if self._dropped:
            self._say(f"W&B was too slow: {self._dropped} lines are missing there (they are in the JSON lines)")

    def _check(self) -> None:
        if importlib.util.find_spec("wandb") is None:
            hint = "pip install wandb, or metrics.wandb=off"
            raise TrainerError(f"metrics.wandb is {self._mode}, but wandb is missing", hint, OUTSIDE_FAILED)
        if self._mode == "online" and not os.environ.get("WANDB_API_KEY"):
            hint = "export WANDB_API_KEY, or metrics.wandb=offline"
            raise TrainerError("metrics.wandb is online, but WANDB_API_KEY is not set", hint)

    def _run(self) -> None:
        try:
            os.environ.setdefault("WANDB_SILENT", "true")
            os.environ.setdefault("WANDB_INIT_TIMEOUT", f"{CLOSE_SECONDS:.0f}")
            wandb = importlib.import_module("wandb")
            run = wandb.init(**self._arguments, settings=wandb.Settings(console="off"))
            # steps that are done again after a resume would be dropped, were they W&B's own step, which only rises
            run.define_metric("*", step_metric="step")
            while (numbers := self._queue.get()) is not None:
                run.log(numbers)
            run.finish()
        except Exception as error:
            self._failed = True
            words = f"{type(error).__name__}: {error}".split("\n")[0]
            self._say(f"W&B failed, training goes on without it: {without_key(words)}")


def run_id(name: str) -> str:
    """The same for every attempt in a folder of this name: 16 hexadecimal digits."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def without_key(text: str) -> str:
    """The text, should it hold the key, without it."""
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "***") if key else text
