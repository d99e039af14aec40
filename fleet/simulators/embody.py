"""A machine's body: started in the background, since an image may have to be pulled, and looked at now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fleet.simulators.bodies.body import Body, BodyFailed, Spec
from fleet.simulators.machine import Machine
from fleet.simulators.world import World


def embody(
    world: World,
    machine: Machine,
    spec: Spec,
    started: Callable[[], None],
    failed: Callable[[str], None],
    exited: Callable[[int], None],
) -> None:
    """Gives the machine a body of its own. Call it with the world's lock held.

    Exactly one of `started()` and `failed(words)` follows, and `exited(code)` when a started body ends by itself; each
    with the lock held, none once the machine has ended or lost this body. Without real bodies `started()` comes now.
    """
    body = machine.body = world.bodies.make(spec)
    machine.exited = None
    if not world.bodies.real:
        started()
        return
    before = machine.ending

    def start() -> None:
        if before is not None:
            before.join()  # two bodies never share one volume
        words = _started(body)
        with world.lock:
            world.catch_up()
            if machine.body is body:
                if words is None:
                    machine.exited = exited
                    started()
                    return
                machine.body = None
                failed(words)
        body.end(0)

    threading.Thread(target=start, name=f"start {machine.id}").start()


def look(world: World) -> None:
    """Tells the world of bodies that have ended by themselves."""
    with world.lock:
        watched = [(machine, machine.body) for machine in world.living.values() if machine.exited and machine.body]
    for machine, body in watched:
        code = None if body.alive() else body.exit_code()
        if code is None:
            continue
        with world.lock:
            world.catch_up()
            if machine.body is body and machine.exited is not None:
                exited, machine.exited = machine.exited, None
                exited(code)


def _started(body: Body) -> str | None:
    try:
        body.start()
    except BodyFailed as failure:
        return str(failure)
    return None
