"""RunPod's client: REST v2, and GraphQL for the balance alone (providers.md 1)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from fleet.clock import Clock
from fleet.offers import runpod as catalogue
from fleet.offers.offer import Found, Question
from fleet.offers.runpod import PROVIDER
from fleet.providers.bills import Billed
from fleet.providers.masked import hidden
from fleet.providers.outcomes import Because, NotCreated
from fleet.providers.runpod import billing, bodies, graphql, logs, read, registries, secrets, shown, storage, templates
from fleet.providers.runpod.created import before, new_id
from fleet.providers.runpod.pace import Pace
from fleet.providers.runpod.pages import listed
from fleet.providers.stored_secrets import STAY
from fleet.providers.values import (
    Balance,
    Container,
    Credential,
    Instance,
    Login,
    Order,
    Shown,
    Ssh,
    State,
    Template,
    Volume,
)
from fleet.wire.failed import KeyRefused, ProviderFailed, key_step
from fleet.wire.line import Line, base
from profiles.errors import WrongInput

PODS = "/v2/pods"
ENDING = (2.0, 5.0, 10.0, 20.0, 40.0)  # seconds between rounds of ending a pod; each round repeats by itself
LACKS = {
    "spot": "its pods are on demand only: v2 rents nothing that can be outbid; use vast for bids",
    "forget": STAY,
    "stopped disk": "use a remote, or --volume: a container disk is wiped when its pod stops (providers.md 1.5, 1.12)",
    "machine": "it does not tell which machine a pod is on: a bad one cannot be left out, only its region",
}


class RunPod:
    """fleet.providers.provider.Provider for RunPod. Threads may share it: each has a line, all of them one pace.

    state: the `.stoker` folder; nothing of RunPod's is kept there. environ: STOKER_RUNPOD_URL may name a simulator.
    """

    name = PROVIDER

    def __init__(self, key: str, state: Path, clock: Clock, environ: Mapping[str, str]) -> None:
        self.state, self.clock = state, clock
        self.lacks: Mapping[str, str] = LACKS
        self._key, self._base, self._pace = key, base(PROVIDER, environ), Pace(clock)
        self._lines = threading.local()
        self._kept: set[str] = set()  # names of secrets that are known to be in its store

    @property
    def line(self) -> Line:
        """This thread's line with the user's key. Raises KeyRefused without one."""
        if not self._key:
            raise KeyRefused(PROVIDER, "there is no key", key_step(PROVIDER))
        found: Line | None = getattr(self._lines, "kept", None)
        if found is None:
            found = Line(PROVIDER, self._key, None, self._base, sleep=self.clock.sleep, pace=self._pace)
            self._lines.kept = found
        return found

    def offers(self, question: Question, seen: str) -> Found:
        """What the catalogue lists; no promise (providers.md 1.11)."""
        return catalogue.offers(self.line, question, seen)

    def ensure_template(self, container: Container) -> Template:
        """The template of this content; its login and secrets are kept first. Raises ProviderFailed, WrongInput."""
        bodies.check(container)
        registry = self._registry(container)
        self._secrets(container)
        return templates.ensure(self.line, bodies.template_body(container, registry), self.clock.sleep)

    def launch(self, order: Order) -> Instance:
        """Sends one create, once. Raises NotCreated and Unclear, nothing else: before it was sent, nothing was made."""
        container = order.container
        try:
            line = self.line
            registry = None if order.template else self._registry(container)
            out = self._secrets(container)
            body = bodies.pod_body(order, order.template.key if order.template else "", registry, out)
        except ProviderFailed as failure:
            raise before(failure) from None
        except WrongInput as wrong:
            raise NotCreated(Because.INVALID, wrong.what, wrong.next_step) from None
        if len(json.dumps(body)) > bodies.LARGEST:
            raise NotCreated(
                Because.INVALID,
                f"{PROVIDER}: a request of more than {bodies.LARGEST} bytes",
                "shorten the variables and the command (providers.md 1.2)",
            )
        answered = line.create("POST", PODS, body)
        id = new_id(answered, hidden(container))
        made = read.instance(answered.value)
        return replace(made, id=id, tag=made.tag or order.tag)

    def settle_in(self, instance: Instance, container: Container, tag: str) -> None:
        """Nothing: a pod is its container."""

    def shown(self, container: Container, order: Order) -> list[Shown]:
        """What would be sent, masked. Raises WrongInput for what RunPod cannot run."""
        return shown.requests(container, order, self._key)

    def instances(self) -> list[Instance]:
        """Every pod of the account's. Raises ProviderFailed for a list that is not whole."""
        return [read.instance(pod) for pod in listed(self.line, PODS, "pods") if not read.deleted(pod)]

    def instance(self, id: str) -> Instance | None:
        """One pod. A 404 alone is not believed: reads may lag, and a proxy may answer it; the list must agree."""
        try:
            pod = self.line.get(self._path(id))
        except ProviderFailed as failure:
            if failure.status != 404:
                raise
            return next((each for each in self.instances() if each.id == id), None)
        if not isinstance(pod, dict) or pod.get("id") != id:
            raise ProviderFailed(PROVIDER, f"an answer that is not pod {id}", "ask again")
        return None if read.deleted(pod) else read.instance(pod)

    def logs(self, id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        """The output of container and system ("[runpod] ..."), newest last, without what would steer a terminal."""
        return logs.lines(self.line, id, tail, follow, lambda: self._ended(id), self.clock.sleep)

    def ssh(self, id: str) -> Ssh | None:
        """Its full SSH; None until the port is mapped (providers.md 1.12)."""
        found = self.instance(id)
        return found.ssh if found else None

    def stop(self, id: str) -> None:
        """Stops it: the container's disk is wiped, a volume disk stays and bills double (providers.md 1.12)."""
        self._act(id, "stop", (State.STOPPED,))

    def start(self, id: str) -> None:
        """Starts a stopped one, if its machine has a free GPU (providers.md 1.10)."""
        self._act(id, "start", (State.PENDING, State.STARTING, State.RUNNING))

    def terminate(self, id: str) -> None:
        """Ends it; 404 is success. Raises ProviderFailed when it may still be there, KeyRefused at once."""
        for pause in (*ENDING, None):
            try:
                self.line.change("DELETE", self._path(id))
                return
            except KeyRefused:
                raise
            except ProviderFailed as failure:
                if failure.status == 404:
                    return
                again = failure.status in (0, 408, 429) or failure.status >= 500
                if pause is None or not again:
                    raise
                self.clock.sleep(pause)

    def balance(self) -> Balance:
        """What is left; usd None when it is not told. Raises KeyRefused for a key that is good for nothing."""
        return graphql.balance(self.line)

    def billed(self, id: str, since: datetime, until: datetime) -> Billed | None:
        """What RunPod's bill says of a pod (fleet/providers/bills.py)."""
        return billing.billed(self.line, id, since, until)

    def volumes(self) -> list[Volume]:
        """Network volumes."""
        return storage.volumes(self.line)

    def registries(self) -> list[Credential]:
        """Kept logins."""
        return registries.kept(self.line)

    def ensure_registry(self, login: Login) -> Credential:
        """The kept login of this user and password."""
        return registries.ensure(self.line, login, self.clock.sleep)

    def keys(self) -> Sequence[str]:
        """The account's public SSH keys: type and key."""
        answer = self.line.get("/v2/account/ssh-keys")
        found = answer.get("keys") if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise ProviderFailed(PROVIDER, "an answer without `keys`", "its API may have changed")
        return [" ".join(key.split()[:2]) for key in found if isinstance(key, str) and len(key.split()) > 1]

    def _path(self, id: str) -> str:
        if not id.strip("."):
            raise WrongInput(f"`{id}` is no pod", "list the machines: `./inv status`")
        return f"{PODS}/{quote(id, safe='')}"

    def _registry(self, container: Container) -> str | None:
        return self.ensure_registry(container.login).id if container.login else None

    def _secrets(self, container: Container) -> dict[str, str]:
        if not container.secrets:
            return {}
        out, stored = secrets.references(self.line, container.secrets, self.clock.sleep, self._kept)
        if not stored:
            self.lacks = {**self.lacks, "secrets": secrets.IN_THE_OPEN}
        return out

    def _ended(self, id: str) -> bool:
        found = self.instance(id)
        return found is None or found.state in (State.STOPPED, State.FAILED)

    def _act(self, id: str, action: str, wanted: tuple[State, ...]) -> None:
        """Sends an action, which may be repeated. 409: not now, or it is done already; the pod itself tells."""
        try:
            self.line.change("POST", f"{self._path(id)}/action", {"action": action})
        except ProviderFailed as failure:
            if failure.status == 409:
                found = self.instance(id)
                if found is not None and found.state in wanted:
                    return
            raise
