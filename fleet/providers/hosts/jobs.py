"""Work that takes minutes on the machine and does not end with the connection: begun, then watched."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fleet.providers.hosts.host import Host, script
from fleet.wire.fields import printable
from profiles.errors import OutsideFailed

LOOK = 10  # seconds of one look
NEVER, RUNNING = "never", "running"
SLICE = 60.0  # seconds after which the caller has its turn again; the work goes on meanwhile


@dataclass(frozen=True, slots=True)
class Done:
    """code: of the script; log: its last lines."""

    code: int
    log: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The last line that says something, without the cursor's tricks."""
        return printable(next((line for line in reversed(self.log) if line.strip()), ""))


def finish(host: Host, folder: str, name: str, work: str, *arguments: str, slice: float = SLICE) -> Done:
    """Begins the work unless it runs already, and waits for its end. A begun one is never begun beside itself, and a
    lost connection costs nothing: call it again.

    Raises OutsideFailed after `slice` seconds, in words that tell how far it is.
    """
    until, look = time.monotonic() + slice, round(min(LOOK, slice))
    facts, log = _asked(host, folder, name, "begin", work, arguments, look)
    while facts.get("state") != "ended":
        if facts.get("state") == "none":
            raise OutsideFailed(f"{host.name}: {name} was cut off", "it is begun again")
        if time.monotonic() >= until:
            raise OutsideFailed(f"{host.name}: {name} goes on{_far(facts, log)}", "it is waited for")
        facts, log = _asked(host, folder, name, "watch", "", arguments, look)
    code = facts.get("code", "")
    if not code.isdigit():
        raise OutsideFailed(f"{host.name}: {name} ended, and nobody knows how", "it is begun again")
    return Done(int(code), tuple(log))


def state(host: Host, folder: str, name: str) -> str:
    """ "running", "ended", "none" when it was cut off, NEVER when nobody has begun it since the machine's boot."""
    said = host.shell.run(script("job"), folder, name, "watch", "0", "0")
    return said.facts().get("state", "")


def _asked(
    host: Host, folder: str, name: str, mode: str, work: str, arguments: tuple[str, ...], look: int
) -> tuple[dict[str, str], list[str]]:
    body = work.encode("ascii")
    said = host.shell.run(script("job"), folder, name, mode, str(len(body)), str(look), *arguments, given=body)
    if said.code:
        raise OutsideFailed(f"{host.name}: {name} could not be begun ({said.words})", "it is tried again")
    rows = said.out.splitlines()
    facts = dict(row.split("=", 1) for row in rows if "=" in row and not row.startswith("log "))
    return facts, [row[4:] for row in rows if row.startswith("log ")]


def _far(facts: dict[str, str], log: list[str]) -> str:
    layers, complete = facts.get("waiting", "0"), facts.get("complete", "0")
    if layers not in ("", "0"):
        return f": {complete} of {layers} layers"
    return f": {printable(log[-1])}" if log else ""
