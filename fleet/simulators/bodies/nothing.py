"""Bodies for bookkeeping: nothing runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from fleet.simulators.bodies.body import GRACE, Body, Line, Spec
from fleet.simulators.bodies.state import State


class NoBody:
    """Runs from `start` to `end` and does nothing."""

    def __init__(self) -> None:
        self._runs = False

    def start(self) -> None:
        self._runs = True

    def alive(self) -> bool:
        return self._runs

    def exit_code(self) -> int | None:
        return None

    def lines(self, since: datetime | None = None) -> list[Line]:
        return []

    def port(self, inside: int) -> tuple[str, int] | None:
        return None

    def end(self, grace: float = GRACE) -> None:
        self._runs = False


class NoBodies:
    """Bodies that are none."""

    real = False

    def __init__(self, state: State | None = None) -> None:
        self._state = state or State()

    def make(self, spec: Spec) -> Body:
        return NoBody()

    def folder(self, name: str) -> Path:
        return self._state.part("volumes", name)

    def drop_folder(self, name: str) -> None:
        self._state.drop("volumes", name)

    def sweep(self) -> None:
        self._state.close()
