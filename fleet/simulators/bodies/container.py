"""Bodies that are containers of the local Docker Engine: the image, environment and command really run.

Every container carries the state folder's id as a label, so that none is left, whoever was killed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.simulators.bodies.body import GRACE, Body, BodyFailed, Line, Spec
from fleet.simulators.bodies.state import State

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container as Engines

OWNER, MACHINE = "stoker.simulator", "stoker.simulator.machine"
MOST_LINES = 5000
PATIENCE = 600  # seconds an engine may take for one call
SPOKEN = 500  # characters of the engine's words that are passed on


class ContainerBody:
    """One container. With `network` host the container's ports are this machine's own; with bridge they are published
    on loopback, each on a free port."""

    def __init__(self, spec: Spec, client: docker.DockerClient, labels: Mapping[str, str], network: str) -> None:
        self._spec, self._client, self._labels, self._network = spec, client, dict(labels), network
        self._container: Engines | None = None
        self._last: list[Line] = []
        self._code: int | None = None
        self._ended = False
        self._lock = threading.Lock()

    def start(self) -> None:
        import docker
        import requests

        try:
            self._pull()
            with self._lock:
                if self._ended:
                    return
                self._container = self._client.containers.create(self._spec.image, **self._options())
                self._container.start()
        except (docker.errors.DockerException, requests.RequestException) as failure:
            words = getattr(failure, "explanation", None) or str(failure)
            raise BodyFailed(str(words)[:SPOKEN]) from None

    def alive(self) -> bool:
        return self._state().get("Running") is True

    def exit_code(self) -> int | None:
        state = self._state()
        if state and state.get("Status") in ("exited", "dead"):
            self._code = int(state.get("ExitCode", 0))
        return self._code

    @property
    def over(self) -> bool:
        """Whether it was ended, and nothing of it is left."""
        return self._ended and self._container is None

    def lines(self, since: datetime | None = None) -> list[Line]:
        import docker
        import requests

        container, found = self._container, self._last
        if container is not None:
            with suppress(docker.errors.DockerException, requests.RequestException):
                text = container.logs(
                    timestamps=True, tail=MOST_LINES, since=None if since is None else since.timestamp()
                ).decode("utf-8", "replace")
                found = _lines(text)
        return [line for line in found if since is None or line.at > since]

    def port(self, inside: int) -> tuple[str, int] | None:
        import docker
        import requests

        if self._network == "host":
            return ("127.0.0.1", inside) if self._container is not None else None
        with suppress(docker.errors.DockerException, requests.RequestException):
            if self._container is not None:
                self._container.reload()
                published = self._container.ports.get(f"{inside}/tcp")
                if published:
                    return "127.0.0.1", int(published[0]["HostPort"])
        return None

    def end(self, grace: float = GRACE) -> None:
        import docker
        import requests

        with self._lock:
            self._ended = True
            container = self._container
        if container is None:
            return
        self._last = self.lines()
        with suppress(docker.errors.DockerException, requests.RequestException):
            if grace > 0:
                container.stop(timeout=round(grace))
        self.exit_code()
        with suppress(docker.errors.DockerException, requests.RequestException):
            container.remove(force=True, v=True)
        self._container = None

    def _pull(self) -> None:
        """The image, from its registry; one that only this engine has (built here) is taken as it is."""
        import docker

        login = self._spec.login
        auth = {"username": login.username, "password": login.password} if login else None
        try:
            self._client.images.get(self._spec.image)
            return
        except docker.errors.ImageNotFound:
            pass
        repository, tag = self._spec.image, None
        if "@" not in repository and ":" not in repository.rpartition("/")[2]:
            tag = "latest"
        self._client.images.pull(repository, tag=tag, auth_config=auth)

    def _options(self) -> dict[str, Any]:
        spec = self._spec
        options: dict[str, Any] = {
            "command": list(spec.command) or None,
            "environment": dict(spec.env),
            "labels": {**self._labels, MACHINE: spec.id},
            "volumes": {str(folder): {"bind": inside, "mode": "rw"} for inside, folder in spec.mounts.items()},
            "network_mode": self._network,
            "privileged": spec.privileged,
            "init": False,
            "detach": True,
        }
        if spec.entrypoint is not None:
            options["entrypoint"] = list(spec.entrypoint)
        if self._network != "host":
            options["ports"] = {f"{port}/tcp": ("127.0.0.1", None) for port in spec.ports}
        return options

    def _state(self) -> dict[str, Any]:
        import docker
        import requests

        container = self._container
        if container is None:
            return {}
        try:
            container.reload()
        except docker.errors.NotFound:
            return {"Status": "dead", "ExitCode": 137}  # somebody else removed it
        except (docker.errors.DockerException, requests.RequestException):
            return {}
        found: dict[str, Any] = container.attrs.get("State", {})
        return found


class Containers:
    """Bodies on the engine that DOCKER_HOST names. Raises BodyFailed when it does not answer."""

    real = True

    def __init__(self, state: State, network: str = "host") -> None:
        import docker
        import requests

        self._state, self._network = state, network
        self._made: list[ContainerBody] = []
        try:
            self._client = docker.from_env(timeout=PATIENCE)
            self._client.ping()
        except (docker.errors.DockerException, requests.RequestException) as failure:
            raise BodyFailed(f"the Docker Engine does not answer: {failure}") from None
        self._sweep_old()

    def make(self, spec: Spec) -> Body:
        body = ContainerBody(spec, self._client, {OWNER: self._state.id}, self._network)
        self._made = [*(made for made in self._made if not made.over), body]
        return body

    def folder(self, name: str) -> Path:
        return self._state.part("volumes", name)

    def drop_folder(self, name: str) -> None:
        self._state.drop("volumes", name)

    def sweep(self) -> None:
        for body in self._made:
            body.end(0)
        self._sweep_old()
        self._client.close()
        self._state.close()

    def _sweep_old(self) -> None:
        import docker
        import requests

        with suppress(docker.errors.DockerException, requests.RequestException):
            for container in self._client.containers.list(all=True, filters={"label": f"{OWNER}={self._state.id}"}):
                with suppress(docker.errors.DockerException, requests.RequestException):
                    container.remove(force=True, v=True)


def _lines(text: str) -> list[Line]:
    """`2026-11-21T10:00:00.123456789Z words` line by line, as the engine writes it; no two of one microsecond."""
    found: list[Line] = []
    for one in text.split("\n"):
        stamp, _, words = one.partition(" ")
        try:
            at = datetime.fromisoformat(stamp[:26].rstrip("Z") + "+00:00")
        except ValueError:
            continue  # the end, or the rest of a line that held a line feed
        if found and at <= found[-1].at:
            at = found[-1].at + timedelta(microseconds=1)
        found.append(Line(at, words.rstrip("\r")))
    return found
