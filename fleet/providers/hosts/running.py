"""The running container, seen and stopped from here."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.providers.hosts.host import Host, script
from fleet.providers.hosts.ssh import Lost
from fleet.wire.fields import printable
from profiles.errors import OutsideFailed

AGAIN = 5  # lost connections in a row without a new line


def logs(host: Host, tag: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
    """Lines of the container's output, newest last. A lost connection is made again, and goes on after the last line.

    Raises OutsideFailed when there is no container, or no connection any more.
    """
    seen, lost = "", 0
    while True:
        try:
            more = ("all", seen) if seen else (str(tail), "")
            for row in host.shell.lines(script("logs"), tag, *more, "follow" if follow else ""):
                at, _, line = row.partition(" ")
                if not at[:4].isdigit():
                    raise OutsideFailed(f"{host.name}: no output of {tag} ({printable(row)})", "see `./inv status`")
                if at > seen:  # RFC 3339 with nine digits, UTC: in order as text
                    seen, lost = at, 0
                    yield line
            return
        except Lost:
            lost += 1
            if lost > AGAIN:
                raise


def stop(host: Host, tag: str, grace: int = 30) -> None:
    """Asks the container to end, and ends it after `grace` seconds; the machine bills on. None there is success."""
    said = host.shell.run(script("stop"), tag, str(grace), patience=grace + 60.0)
    if said.code:
        raise OutsideFailed(f"{host.name}: {tag} could not be stopped ({said.words})", "try again")
