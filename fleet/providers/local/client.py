"""This machine as a provider: containers of its Docker Engine, or plain processes when there is none."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

from fleet.clock import Clock
from fleet.offers.offer import Found, Question
from fleet.providers.local import bodies, machine
from fleet.providers.local.containers import Containers
from fleet.providers.local.machine import CPU, PROVIDER
from fleet.providers.local.processes import Processes
from fleet.providers.outcomes import Because, NotCreated, Unable
from fleet.providers.values import (
    Balance,
    Container,
    Credential,
    Instance,
    Login,
    Order,
    Shown,
    Ssh,
    Template,
    Volume,
)
from fleet.wire.failed import ProviderFailed
from profiles.errors import OutsideFailed, WrongInput

WHICH = "STOKER_LOCAL"  # docker, processes; unset: containers where an engine answers
NETWORK = "STOKER_LOCAL_NETWORK"  # of the containers: host, none, a network's name
MARK = "engine-used"  # beside the processes: the engine may hold containers of ours
SETTLED = 600.0  # seconds after which an empty list of containers takes the mark away
LACKS = {
    "ensure_template": "nothing: a container needs no template here",
    "balance": "nothing: this machine asks for no credit (STOKER_LOCAL_PRICE says what it costs an hour)",
    "ensure_registry": "nothing: the login goes along with the pull",
    "ssh": "docker exec -it ID sh, or ./inv logs",
    "keys": "nothing: there is no log-in",
    "spot": "nothing: nobody takes this machine away",
}


class Local:
    """Implements fleet.providers.provider.Provider. key: none is needed; state: the `.stoker` folder.

    Raises WrongInput for a STOKER_LOCAL or a price that is none, ProviderFailed for an engine that was named
    (DOCKER_HOST) or used before and does not answer: what it holds is not known then, so nothing is said.
    """

    name = PROVIDER
    lacks: Mapping[str, str] = MappingProxyType(LACKS)

    def __init__(self, key: str, state: Path, clock: Clock, environ: Mapping[str, str]) -> None:
        self.state, self.clock, self.environ = state, clock, environ
        self.which = environ.get(WHICH, "").strip()
        if self.which not in ("", "docker", "processes"):
            raise WrongInput(f"{WHICH} is '{self.which}'", "docker or processes, or unset it")
        self.usd_hour = machine.price(environ)
        self._containers: Containers | None = None
        self._processes = Processes(state, environ, Decimal(str(self.usd_hour)))

    def offers(self, question: Question, seen: str) -> Found:
        """This machine: its free GPUs in the counts asked for, or its processor (gpu "cpu", count 1)."""
        return machine.offers(machine.read(self.state), self.taken(), question, seen, self.usd_hour)

    def taken(self) -> frozenset[str]:
        """GPUs that our own runs hold."""
        engine = self.containers()
        return self._processes.gpus_taken() | (engine.gpus_taken() if engine else frozenset())

    def ensure_template(self, container: Container) -> Template:
        raise Unable("local has no templates", LACKS["ensure_template"])

    def launch(self, order: Order) -> Instance:
        """One container or process of this order. Raises NotCreated, CreatedAnyway, Unclear."""
        engine = self.containers()
        gpus = self.gpus_for(order)
        if engine is None:
            return self._processes.launch(order, gpus)
        self.mark().parent.mkdir(parents=True, exist_ok=True)
        self.mark().write_text(f"{engine.engine.client.api.base_url}\n", encoding="utf-8")
        return engine.launch(order, gpus)

    def gpus_for(self, order: Order) -> list[str]:
        """The GPUs that the order gets. Raises NotCreated when they are no longer free."""
        if order.offer.gpu == CPU:
            return []
        free = machine.chosen(machine.read(self.state), order.offer.gpu, self.taken())
        if len(free) < order.offer.count:
            what = f"local: {order.offer.count} x {order.offer.gpu} are not free any more ({len(free)} are)"
            raise NotCreated(Because.CAPACITY, what, "wait for the other run, or stop it: ./inv status")
        return free[: order.offer.count]

    def settle_in(self, instance: Instance, container: Container, tag: str) -> None:
        """Nothing: `launch` started it."""

    def shown(self, container: Container, order: Order) -> list[Shown]:
        """The request to the engine, or what would be started; no GPU is chosen yet, so their number stands there."""
        gpus = [] if order.offer.gpu == CPU else [str(index) for index in range(order.offer.count)]
        if self.which == "processes" or (self.which == "" and self.containers() is None):
            return [self._processes.shown(order)]
        body = bodies.masked(bodies.container(order, container.image, gpus, self.network()), container)
        note = "GPUs: those that are free then" if gpus else ""
        return [Shown(self.name, "POST", f"/containers/create?name={order.tag}", body, note)]

    def instances(self) -> list[Instance]:
        engine, found = self.containers(), self._processes.instances()
        if engine is None:
            return found
        ours = engine.instances()
        if not ours and self.mark().exists() and time.time() - self.mark().stat().st_mtime > SETTLED:
            self.mark().unlink(missing_ok=True)
        return found + ours

    def instance(self, id: str) -> Instance | None:
        if self._processes.has(id):
            return self._processes.instance(id)
        engine = self.containers()
        return engine.instance(id) if engine else None

    def logs(self, id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        if self._processes.has(id):
            return self._processes.logs(id, tail, follow)
        return self.engine(id).logs(id, tail, follow)

    def ssh(self, id: str) -> Ssh | None:
        return None

    def stop(self, id: str) -> None:
        """SIGTERM; the run has its grace to save."""
        self._processes.stop(id) if self._processes.has(id) else self.engine(id).stop(id)

    def start(self, id: str) -> None:
        self._processes.start(id) if self._processes.has(id) else self.engine(id).start(id)

    def terminate(self, id: str) -> None:
        """Ends it; what is on its volume stays."""
        if self._processes.has(id):
            self._processes.terminate(id)
        elif engine := self.containers():
            engine.terminate(id)

    def balance(self) -> Balance:
        raise Unable("local has no balance", LACKS["balance"])

    def volumes(self) -> list[Volume]:
        engine = self.containers()
        return self._processes.volumes() + (engine.volumes() if engine else [])

    def named_volume(self, text: str) -> Volume | None:
        """A folder of this machine, by its absolute path, or any volume of its engine; None for what is neither.
        gb: of a folder, what is free there now."""
        folder = Path(text)
        if not folder.is_absolute():
            engine = self.containers()
            return engine.volume(text) if engine else None
        if not folder.is_dir():
            return None
        free = shutil.disk_usage(folder).free
        return Volume(self.name, str(folder), str(folder), int(free / 1e9), usd_month=Decimal(0))

    def registries(self) -> list[Credential]:
        return []

    def ensure_registry(self, login: Login) -> Credential:
        raise Unable("local keeps no registry logins", LACKS["ensure_registry"])

    def keys(self) -> Sequence[str]:
        return ()

    def mark(self) -> Path:
        return self.state / PROVIDER / MARK

    def network(self) -> str:
        return self.environ.get(NETWORK, "").strip()

    def engine(self, id: str) -> Containers:
        """The engine that holds a container. Raises WrongInput when there is no engine, so no such container."""
        found = self.containers()
        if found is None:
            raise WrongInput(f"no machine {id} here", "./inv status")
        return found

    def containers(self) -> Containers | None:
        """The engine's side; None where plain processes are all there is. Raises ProviderFailed."""
        if self._containers is None and self.which != "processes":
            self._containers = self.connected()
        return self._containers

    def connected(self) -> Containers | None:
        from images.builders.engine import connect

        named = self.environ.get("DOCKER_HOST", "")
        try:
            engine = connect(named or None)
        except OutsideFailed as error:
            must = self.which == "docker" or named or os.environ.get("DOCKER_CONTEXT") or self.mark().exists()
            if must or "refuses this user" in error.what:
                raise ProviderFailed(PROVIDER, error.what, error.next_step) from None
            return None
        return Containers(engine, self.state, self.network(), Decimal(str(self.usd_hour)))
