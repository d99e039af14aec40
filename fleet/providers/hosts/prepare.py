"""A machine as it was delivered, made ready for a container: checked first, then given what it lacks."""

from __future__ import annotations

from fleet.providers.hosts.expect import Check, Wanted, judged, missing
from fleet.providers.hosts.host import Host, script
from fleet.providers.hosts.jobs import SLICE, finish
from profiles.errors import CheckFailed, OutsideFailed

PULL = "pull"
PROBING = 150.0  # seconds: a driver in trouble lets nvidia-smi hang, and each question has a limit of its own


def probed(host: Host, wanted: Wanted) -> dict[str, str]:
    """What the machine says of itself. Raises what Shell.run raises."""
    return host.shell.run(script("probe"), wanted.image, wanted.mount, patience=PROBING).facts()


def prepare(host: Host, folder: str, wanted: Wanted, slice: float = SLICE) -> list[Check]:
    """Checks, installs what is missing, checks again; the rows of the last look. Idempotent, and cheap when all is
    there.

    Raises CheckFailed when this machine will never do, OutsideFailed for what may be better at the next call.
    """
    facts = probed(host, wanted)
    rows = settled(host, judged(facts, wanted))
    parts = missing(facts)
    if not parts:
        return rows
    done = finish(host, folder, "install", script("install"), *parts, slice=slice)
    if done.code:
        raise OutsideFailed(f"{host.name}: {' and '.join(parts)} could not be installed ({done.words})", "again")
    facts = probed(host, wanted)
    if missing(facts):
        raise OutsideFailed(f"{host.name}: {' and '.join(missing(facts))} missing after the install", "again")
    return settled(host, judged(facts, wanted))


def settled(host: Host, rows: list[Check]) -> list[Check]:
    """The rows, when none of them speaks against the machine."""
    wrong = [row.words for row in rows if row.ok is False]
    if wrong:
        raise CheckFailed(f"{host.name}: {'; '.join(wrong)}", "end it, and take another offer")
    unread = [row.words for row in rows if row.ok is None]
    if unread:
        raise OutsideFailed(f"{host.name}: {'; '.join(unread)}", "it is looked at again")
    return rows
