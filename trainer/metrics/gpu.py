"""`gpu_metrics.jsonl`: what the GPUs and the host are at, sampled by a thread that training never waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from trainer.metrics.log import JsonLines
from trainer.metrics.nvml import Nvml
from trainer.metrics.smi import Smi
from trainer.metrics.system import System

JOIN = 2.0  # seconds to wait for the thread at close; a driver in trouble may never answer it


class Source(Protocol):
    """Where GPU samples come from."""

    name: str

    def read(self) -> list[dict[str, Any]]:
        """One entry per GPU."""

    def reopen(self) -> None:
        """After a failure."""

    def close(self) -> None:
        """At the end."""


class Sampler:
    """Writes one `sample` line at once and then every `seconds`: {"gpus": [...], "system": {...}}.

    Without a GPU the lines have the host alone, and why is said once. A source that fails is said once, reopened before
    each sample, and used again when it answers. Call on the first rank of a machine; 0 seconds: no thread, no lines.

    A thread of this kind costs the loop nothing but a few hundred microseconds of the interpreter lock per sample: NVML
    calls are made without it.
    """

    def __init__(
        self,
        lines: JsonLines,
        seconds: float,
        folder: Path,
        say: Callable[[str], None],
        source: Source | None = None,
        gpus: bool = True,
    ) -> None:
        self.latest: dict[str, Any] = {}
        self._lines, self._seconds, self._say = lines, seconds, say
        self._given, self._wanted = source, gpus
        self._source: Source | None = None
        self._failing = False
        self._system = System(folder)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu sampler", daemon=True)
        if seconds > 0:
            self._thread.start()

    def close(self) -> None:
        """One last sample, and the end of the thread; at most JOIN seconds. Twice is fine."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN)
        self._lines.close()

    def _run(self) -> None:
        if self._wanted:  # loading the driver's library can take seconds: not in the loop's thread
            self._source = self._given or find(self._say)
        while True:
            self._sample()
            if self._stop.is_set():
                break
            self._stop.wait(self._seconds)
        if self._source is not None:
            self._source.close()

    def _sample(self) -> None:
        values: dict[str, Any] = {}
        gpus = self._gpus()
        if gpus is not None:
            values["gpus"] = gpus
        try:
            values["system"] = self._system.read()
        except Exception as error:  # whatever /proc looks like on this kernel, training goes on
            values["error"] = str(error)
        self.latest = self._lines.add("sample", **values)

    def _gpus(self) -> list[dict[str, Any]] | None:
        if self._source is None:
            return None
        try:
            if self._failing:
                self._source.reopen()
            found = self._source.read()
        except Exception as error:  # NVML has an exception class per error code
            if not self._failing:
                self._say(f"{self._source.name} failed: {error}; GPU samples are missing until it answers again")
            self._failing = True
            return None
        if self._failing:
            self._say(f"{self._source.name} answers again")
        self._failing = False
        return found


def find(say: Callable[[str], None]) -> Source | None:
    """NVML, else nvidia-smi, else None; which and why is said."""
    why = []
    for kind in (Nvml, Smi):
        try:
            source: Source = kind()
        except Exception as error:  # ImportError, OSError, and NVML's own classes
            why.append(f"{kind.name}: {error}")
            continue
        return source
    say(f"no GPU samples ({'; '.join(why)}); gpu_metrics.jsonl has CPU, memory and disk")
    return None
