"""Runs as containers of this machine's Docker Engine. The engine is asked what there is; nothing is kept beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.offers.offer import ON_DEMAND
from fleet.providers.local import bodies, fetch
from fleet.providers.local.machine import CPU, PROVIDER
from fleet.providers.outcomes import Because, CreatedAnyway, NotCreated, Unclear
from fleet.providers.values import TOLD_ENV, Instance, Order, State, Volume
from fleet.wire.failed import ProviderFailed
from profiles.errors import OutsideFailed

if TYPE_CHECKING:
    from images.builders.engine import Engine

STATES = {
    "created": State.STARTING,
    "restarting": State.STARTING,
    "running": State.RUNNING,
    "paused": State.STOPPED,
    "removing": State.UNKNOWN,
    "exited": State.STOPPED,
    "dead": State.FAILED,
}
BY_ITSELF = (0, 75)  # exit codes of a run that is done, or can go on
BY_SIGNAL = (137, 143)  # SIGKILL, SIGTERM: somebody stopped it
LIMITS = "rlimit"  # runc: error setting rlimits, operation not permitted
GPU = "stoker.gpu"  # label: the key of the table


@dataclass(frozen=True, slots=True)
class Containers:
    """engine: connected; state: the `.stoker` folder, for images of our own store; usd_hour: what each costs."""

    engine: Engine
    state: Path
    network: str = ""
    usd_hour: Decimal = Decimal(0)

    def launch(self, order: Order, gpus: list[str]) -> Instance:
        """Pulls or loads the image, creates one container under the tag as its name, which the engine takes only once,
        and starts it. Raises NotCreated, CreatedAnyway, Unclear."""
        image = fetch.ensure(self.engine, order.container, self.state)
        for mount in bodies.mounts(order.container):
            if mount["Type"] == "bind":
                Path(mount["Source"]).mkdir(parents=True, exist_ok=True)
        body = bodies.container(order, image, gpus, self.network)
        body["Labels"] = {**body["Labels"], GPU: order.offer.gpu}
        try:
            id = self.started(body, order.tag)
        except NotCreated as refused:
            if LIMITS not in refused.what:
                raise
            # An engine that is inside a container, or a user's own, may raise no limits: without them it trains too.
            id = self.started({**body, "HostConfig": {**body["HostConfig"], "Ulimits": []}}, order.tag)
        found = self.instance(id)
        if found is None:
            raise Unclear(f"local: container {id[:12]} was started and is not there", "./inv reconcile")
        return found

    def started(self, body: Mapping[str, Any], tag: str) -> str:
        """The id of a new container that runs; one that does not start is removed again. Raises as `launch`."""
        id = self.created(body, tag)
        try:
            self.engine.api.start(id)
        except Exception as error:
            self.undo(id, words_of(error))
            said = words_of(error)
            raise NotCreated(Because.INVALID, f"local: the container does not start: {said}", step(said)) from None
        return id

    def created(self, body: Mapping[str, Any], tag: str) -> str:
        """The id of the new container. Only an answer of the engine's own says that nothing was created."""
        import docker
        import requests

        try:
            return str(self.engine.api.create_container_from_config(body, tag)["Id"])
        except docker.errors.APIError as error:
            status = error.status_code or 0
            if status == 409 or status >= 500:  # 409: the name is taken, so an earlier send of this order arrived
                raise Unclear(f"local: {words_of(error)}", "./inv reconcile") from None
            raise NotCreated(Because.INVALID, f"local: {words_of(error)}", step(words_of(error))) from None
        except (docker.errors.DockerException, requests.RequestException, KeyError, OSError) as error:
            raise Unclear(f"local: the Docker Engine stopped answering ({error})", "./inv reconcile") from None

    def undo(self, id: str, why: str) -> None:
        """Removes what was created and did not start. Raises CreatedAnyway when it is still there."""
        try:
            self.engine.api.remove_container(id, force=True, v=True)
        except Exception as error:
            raise CreatedAnyway(id, f"local: {why}; and {words_of(error)}", f"docker rm -f {id[:12]}") from None

    def instances(self) -> list[Instance]:
        """All of ours, ended ones too. Raises ProviderFailed when the engine does not tell."""
        with failing():
            rows = self.engine.api.containers(all=True, filters={"label": f"{bodies.OWNER}=1"})
            return [found for row in rows if (found := self.instance(str(row["Id"])))]

    def instance(self, id: str) -> Instance | None:
        """One of ours; None when the engine has no such container."""
        import docker

        with failing():
            try:
                row = self.engine.api.inspect_container(id)
            except docker.errors.NotFound:
                return None
        return instance_of(row, self.usd_hour) if bodies.TAG in (row["Config"].get("Labels") or {}) else None

    def logs(self, id: str, tail: int, follow: bool) -> Iterator[str]:
        """Lines of both outputs."""
        with failing():
            pieces = self.engine.api.logs(id, stream=True, follow=follow, tail=tail)
            rest = b""
            for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line.decode(errors="replace").rstrip("\r") for line in lines)
            if rest:
                yield rest.decode(errors="replace")

    def stop(self, id: str) -> None:
        """SIGTERM, and SIGKILL when the container's own StopTimeout is over: the run saves first."""
        with failing():
            self.engine.api.stop(id)

    def start(self, id: str) -> None:
        with failing():
            self.engine.api.start(id)

    def terminate(self, id: str) -> None:
        """Stops and removes it; its volume stays, for the checkpoints. None there is success."""
        import docker

        with failing():
            try:
                self.engine.api.stop(id)
                self.engine.api.remove_container(id, force=True, v=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if error.status_code != 409:  # 409: it is being removed already
                    raise

    def gpus_taken(self) -> frozenset[str]:
        """Indices of the GPUs that our running containers hold."""
        with failing():
            rows = self.engine.api.containers(filters={"label": f"{bodies.OWNER}=1"})
        held = ((row.get("Labels") or {}).get(bodies.GPUS, "") for row in rows)
        return frozenset(index for indices in held for index in indices.split(",") if index)

    def volumes(self) -> list[Volume]:
        """The volumes of runs. The engine tells no size without measuring all of them, so gb is 0: not told."""
        with failing():
            rows = self.engine.api.volumes()["Volumes"] or []
        names = sorted(str(row["Name"]) for row in rows if str(row["Name"]).startswith("stoker-"))
        return [Volume(PROVIDER, name, name, 0, usd_month=Decimal(0)) for name in names]

    def volume(self, name: str) -> Volume | None:
        """Any volume of this name, whoever made it."""
        with failing():
            rows = self.engine.api.volumes(filters={"name": name})["Volumes"] or []
        there = any(row["Name"] == name for row in rows)  # the engine looks for parts of names
        return Volume(PROVIDER, name, name, 0, usd_month=Decimal(0)) if there else None


class failing:
    """Turns what the `docker` package raises into ProviderFailed."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import docker
        import requests

        if isinstance(error, (docker.errors.DockerException, requests.RequestException, OutsideFailed)):
            raise ProviderFailed(
                PROVIDER, f"the Docker Engine: {words_of(error)}", "is it running? docker ps"
            ) from None


def instance_of(row: Mapping[str, Any], usd_hour: Decimal) -> Instance:
    """A container as `docker inspect` shows it."""
    labels, state = row["Config"].get("Labels") or {}, row.get("State") or {}
    env = dict(entry.partition("=")[::2] for entry in row["Config"].get("Env") or [])
    held = [index for index in labels.get(bodies.GPUS, "").split(",") if index]
    status, code = str(state.get("Status", "")).lower(), state.get("ExitCode")
    what, words = STATES.get(status, State.UNKNOWN), str(state.get("Error") or "")
    if status == "exited":
        words = words or f"exit code {code}" + (", out of memory" if state.get("OOMKilled") else "")
        if code not in (*BY_ITSELF, *BY_SIGNAL) or state.get("OOMKilled"):
            what = State.FAILED
    return Instance(
        PROVIDER,
        str(row["Id"]),
        labels[bodies.TAG],
        what,
        status=status,
        usd_hour=usd_hour if what in (State.RUNNING, State.STARTING) else Decimal(0),
        kind=ON_DEMAND,
        gpu=labels.get(GPU, CPU),
        gpus=len(held),
        region=PROVIDER,
        machine=PROVIDER,
        image=str(row["Config"].get("Image", "")),
        created=moment(row.get("Created")),
        started=moment(state.get("StartedAt")),
        words=words,
        env={name: env[name] for name in TOLD_ENV if name in env},
    )


def moment(text: object) -> datetime | None:
    """A time as the engine writes it, with nanoseconds; the year 1 stands for never."""
    with suppress(ValueError):
        found = datetime.fromisoformat(str(text)[:19] + "+00:00")
        return found if found.year > 1 else None
    return None


def words_of(error: BaseException) -> str:
    return str(getattr(error, "explanation", "") or error)[:300]


def step(said: str) -> str:
    """What to do when the engine does not start a container."""
    if "device driver" in said or "nvidia" in said.lower():
        return "containers get no GPU here: apt-get install nvidia-container-toolkit, then ./inv doctor"
    return "free some space: ./inv prune, docker system prune" if "no space" in said else "docker ps -a, docker logs"
