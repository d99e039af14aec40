"""What every kind of body can do. A simulator starts one per machine, looks at it now and then, and ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

GRACE = 10.0  # real seconds from SIGTERM to SIGKILL: Docker's own default; no provider's is known (invented)


class BodyFailed(Exception):
    """The body did not start: image not found, no such command, engine away. The text is the engine's, bounded."""


@dataclass(frozen=True)
class Login:
    """A registry's credential; never shown."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Spec:
    """What to run. `entrypoint` None is the image's own; `command` empty is the image's own."""

    id: str  # the machine's
    image: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    entrypoint: Sequence[str] | None = None
    command: Sequence[str] = ()
    mounts: Mapping[str, Path] = field(default_factory=dict)  # path inside → folder of this machine
    ports: Sequence[int] = ()  # TCP ports to be reached from this machine
    login: Login | None = None
    privileged: bool = False  # a container that stands for a virtual machine


@dataclass(frozen=True)
class Line:
    """A line that the body wrote, and when (real time)."""

    at: datetime
    text: str


class Body(Protocol):
    """One body. Every method may be called from any thread and after the end; none but `start` and `end` waits."""

    def start(self) -> None:
        """Comes back when it runs (an image may be pulled first). Raises BodyFailed."""

    def alive(self) -> bool:
        """Whether it runs now."""

    def exit_code(self) -> int | None:
        """How it ended by itself; None while it runs or when it never did."""

    def lines(self, since: datetime | None = None) -> list[Line]:
        """What it wrote after `since`, both streams, at most the last 5000 lines; no two of one moment."""

    def port(self, inside: int) -> tuple[str, int] | None:
        """Where its TCP port `inside` is reached from this machine; None when nowhere."""

    def end(self, grace: float = GRACE) -> None:
        """SIGTERM, after `grace` real seconds SIGKILL, and nothing of it left, but for its mounts. May be repeated."""


class Bodies(Protocol):
    """Makes the bodies of one simulator run."""

    real: bool  # whether anything really runs

    def make(self, spec: Spec) -> Body:
        """A body that is not started yet."""

    def folder(self, name: str) -> Path:
        """A folder on this machine for a volume called `name`; made when it is missing."""

    def drop_folder(self, name: str) -> None:
        """The volume's folder and what is in it, gone."""

    def sweep(self) -> None:
        """Ends and removes every body that this run, or a killed one with the same state folder, has left."""
