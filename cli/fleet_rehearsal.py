"""Where the fleet's tasks keep their books, and a word when that is a rehearsal's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cli import fleet_show

if TYPE_CHECKING:
    from images.workbench import Workbench


def books(work: Workbench) -> Path:
    """The folder of the ledger and of what belongs to it. Raises WrongInput for an address that is none."""
    from fleet.deploy.opening import books as found

    return found(work.store.root, os.environ)


def tell_rehearsal(work: Workbench) -> None:
    """Says that nothing real is asked, and where that is kept; nothing where everything is real."""
    from fleet.deploy.opening import rehearsed

    if here := rehearsed(os.environ):
        names = ", ".join(here)
        fleet_show.warn([f"a rehearsal: {names} simulated on this machine; its ledger is in {books(work)}"])
