"""A rented machine and the scripts that run on it (templates/providers/hyperbolic/host/)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleet.providers.hosts.ssh import Shell
from profiles.errors import CheckFailed

SCRIPTS = Path(__file__).parents[3] / "templates/providers/hyperbolic/host"
# Where nothing reaches a disk: the first that is there on a tmpfs. A container that stands for a machine has no such
# /run, but a /dev/shm.
MEMORY = ("/run/stoker", "/dev/shm/stoker")
NONE, UNKNOWN = "none", "unknown"


def script(name: str) -> str:
    """The text of one of the scripts."""
    return (SCRIPTS / f"{name}.sh").read_text(encoding="ascii")


@dataclass(frozen=True, slots=True)
class Host:
    """name: of the rental, for messages ("hyperbolic 48213"); folders: where secrets may lie for a moment."""

    name: str
    shell: Shell
    folders: tuple[str, ...] = MEMORY

    def look(self, tag: str) -> Stand:
        """What stands there. Raises what Shell.run raises, CheckFailed without a folder in memory."""
        said = self.shell.run(script("look"), tag, *self.folders)
        facts = said.facts()
        if not facts.get("folder"):
            raise CheckFailed(f"{self.name}: no folder in memory for secrets ({said.words})", "rent another machine")
        status, *rest = facts.get("container", UNKNOWN).split("|")
        code, started = [*rest, "", ""][:2]
        return Stand(facts["folder"], status, int(code) if code.isdigit() else None, started)


@dataclass(frozen=True, slots=True)
class Stand:
    """folder: in memory, for root only; container: Docker's word for its state, "none", or "unknown"."""

    folder: str
    container: str
    code: int | None = None
    started: str = ""

    @property
    def ran(self) -> bool:
        """Whether the container has been started, whatever became of it."""
        known = self.container not in (NONE, UNKNOWN, "created")
        return known and not self.started.startswith("0001-01-01")
