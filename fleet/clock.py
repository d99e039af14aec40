"""Time as a value that is passed in: the wall's, or a simulator's own, so that nights pass in seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

from fleet.loopback import LOOPBACK
from profiles.errors import OutsideFailed, WrongInput

VARIABLE = "STOKER_CLOCK"


class Clock(Protocol):
    """What the fleet knows of time."""

    def now(self) -> datetime:
        """This moment, with its zone (UTC)."""

    def sleep(self, seconds: float) -> None:
        """Comes back after `seconds`."""


class WallClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class SimulatedClock:
    """A simulator's time (fleet/simulators/server.py): `sleep` moves it forward for everybody who asks it.

    Raises OutsideFailed when the simulator does not answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def now(self) -> datetime:
        return datetime.fromisoformat(self._asked("GET", {})["now"])

    def sleep(self, seconds: float) -> None:
        self._asked("POST", {"sleep": max(0.0, seconds)})

    def _asked(self, method: str, body: dict[str, float]) -> dict[str, str]:
        import requests

        try:
            answer = requests.request(
                method, f"{self.url}/_sim/clock", json=body or None, timeout=60, proxies={"http": "", "https": ""}
            )
            answer.raise_for_status()
            found: dict[str, str] = answer.json()
        except (requests.RequestException, ValueError):
            raise OutsideFailed(
                f"the simulator's clock at {self.url} does not answer", f"start the simulator, or unset {VARIABLE}"
            ) from None
        return found


def open_clock(environ: Mapping[str, str] = os.environ) -> Clock:
    """The wall's clock, or the simulator's that STOKER_CLOCK names. Raises WrongInput for one that is not local."""
    url = environ.get(VARIABLE, "").strip()
    if not url:
        return WallClock()
    if urlsplit(url).hostname not in LOOPBACK:
        raise WrongInput(
            f"{VARIABLE} is not on this machine", f"unset {VARIABLE}: only a rehearsal has a clock of its own"
        )
    return SimulatedClock(url)
