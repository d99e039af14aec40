"""Makes virtual machines where the simulator has real bodies (a Bodies)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from fleet.simulators.bodies.body import Bodies, Body, BodyFailed, Spec
from fleet.simulators.bodies.container import Containers
from fleet.simulators.bodies.process import Processes
from fleet.simulators.hyperbolic.vm import Built, Vm

SBIN = "/usr/sbin:/sbin:/usr/local/sbin"


class Machines:
    """Virtual machines beside the bodies of the other providers. `built(id)`: what the machine of this id is.

    base: with real bodies, a machine is a private SSH server; `docker` in it is the local engine's with docker bodies,
    and a stand-in that runs the command of process bodies with those.
    """

    def __init__(self, base: Bodies, built: Callable[[str], Built]) -> None:
        self.base, self.real, self._built = base, base.real, built
        self._made: list[Vm] = []

    def make(self, spec: Spec) -> Body:
        """A machine that is not started yet; without real bodies, the bookkeeping's."""
        if not self.real:
            return self.base.make(spec)
        sshd = shutil.which("sshd") or shutil.which("sshd", path=SBIN)
        if sshd is None:
            raise BodyFailed("no sshd here: apt-get install openssh-server")
        made = Vm(self._built(spec.id), sshd, self.base.folder(f"{spec.id}-machine"))
        self._made = [each for each in self._made if each.alive() or each.folder is not None] + [made]
        return made

    def folder(self, name: str) -> Path:
        return self.base.folder(name)

    def drop_folder(self, name: str) -> None:
        self.base.drop_folder(name)

    def sweep(self) -> None:
        for each in self._made:
            each.end()
        self.base.sweep()


def engine_of(base: Bodies) -> tuple[str, str]:
    """(path of the real `docker`, "") with docker bodies, ("", command) with process bodies. Raises BodyFailed."""
    if isinstance(base, Containers):
        program = shutil.which("docker")
        if program is None:
            raise BodyFailed("no docker program here: apt-get install docker.io")
        return program, ""
    return "", base.template if isinstance(base, Processes) else ""
