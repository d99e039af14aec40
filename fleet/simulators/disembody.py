"""The end of a machine's body, in the background: nobody waits for its grace period but the next body."""

from __future__ import annotations

import threading

from fleet.simulators.bodies.body import GRACE, Bodies
from fleet.simulators.machine import Machine


def disembody(machine: Machine, grace: float = GRACE, folder: str = "", bodies: Bodies | None = None) -> None:
    """The machine has no body any more; the one it had is being ended, and then its volume `folder` is removed.

    Call it with the world's lock held. `bodies` is needed only with a folder.
    """
    body, machine.body, machine.exited = machine.body, None, None
    before = machine.ending

    def end() -> None:
        if before is not None:
            before.join()
        if body is not None:
            body.end(grace)
        if folder and bodies is not None:
            bodies.drop_folder(folder)

    if bodies is not None and not bodies.real:
        end()
    elif body is not None or folder:
        machine.ending = threading.Thread(target=end, name=f"end {machine.id}")
        machine.ending.start()
