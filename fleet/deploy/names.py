"""Which run a deploy is: a new one, or one that was begun and never got its machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fleet.deploy.wishes import checked_name
from fleet.ledger.values import OPEN
from profiles.errors import Refused

if TYPE_CHECKING:
    from fleet.ledger.ledger import Ledger


def run_name(ledger: Ledger, named: str, base: str) -> str:
    """The run's name: as named, else `base`, or `base-2` and on when such runs have ended.

    Raises Refused while a run of that name is open: a second `deploy` must not become a second machine by itself. One
    that was begun and has no machine yet, or whose deploy died half way (again.py), is taken up again.
    """
    known = {run.name: run for run in ledger.runs()}
    first = checked_name(named) if named else re.sub(r"[^A-Za-z0-9._-]+", "-", base).strip("._-")[:58] or "run"
    name, number = first, 1
    while (run := known.get(name)) is not None:
        if run.state == OPEN:
            refuse_open(ledger, name)
            return name
        if named:
            why = "" if run.words in ("", run.state) else f", {run.words}"
            raise Refused(
                f"there was a run `{name}` already: it is {run.state}{why}",
                f"./inv resume {name}, or another name: --name {first}-2",
            )
        number += 1
        name = f"{first}-{number}"
    return name


def refuse_open(ledger: Ledger, name: str) -> None:
    """Raises Refused when an open run has or had a machine, or is being launched now."""
    if holder := ledger.held_by(name):
        raise Refused(f"`{name}` is being launched by {holder}", "wait for it; for another run beside it: --name OTHER")
    if ledger.open_wish(name) is not None:
        return
    other = f"for another run beside it: --name {name}-2"
    if live := ledger.live(name):
        one = live[0]
        raise Refused(f"`{name}` runs already: {one.provider} {one.id}", f"./inv status, ./inv logs {name}; {other}")
    if ledger.known(name):
        raise Refused(f"`{name}` is open and has lost its machine", f"./inv resume {name}; {other}")
