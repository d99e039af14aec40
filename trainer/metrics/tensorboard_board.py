"""TensorBoard's event files, by tensorboard's own writer: `tensorboard --logdir RUN/tensorboard`."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

from trainer.errors import OUTSIDE_FAILED, TrainerError


class TensorBoard:
    """Scalars under RUN/tensorboard. Points of steps after first_step that an earlier attempt left are hidden.

    Raises TrainerError when the package is missing or the folder cannot be written.
    """

    name = "TensorBoard"

    def __init__(self, folder: Path, first_step: int) -> None:
        try:
            self._event = importlib.import_module("tensorboard.compat.proto.event_pb2")
            self._summary = importlib.import_module("tensorboard.compat.proto.summary_pb2")
            writer = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        except ImportError as error:
            hint = "pip install tensorboard, or metrics.tensorboard=false"
            raise TrainerError(
                f"metrics.tensorboard is on, but {error.name} is missing", hint, OUTSIDE_FAILED
            ) from None
        try:
            self._writer: Any = writer.EventFileWriter(str(folder), flush_secs=10)
        except OSError as error:
            hint = "free the disk, or metrics.tensorboard=false"
            raise TrainerError(f"cannot write {folder}: {error.strerror}", hint, OUTSIDE_FAILED) from None
        if first_step:  # a session that starts at a step hides the points from there on (event.proto, SessionLog)
            start = self._event.SessionLog(status=self._event.SessionLog.START)
            self._put(first_step + 1, session_log=start)

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """One event with all of them."""
        values = [self._summary.Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
        self._put(step, summary=self._summary.Summary(value=values))

    def close(self) -> None:
        """Writes out and closes."""
        self._writer.close()

    def _put(self, step: int, **content: Any) -> None:
        self._writer.add_event(self._event.Event(wall_time=time.time(), step=step, **content))
