"""The opener: from a reference to a repository that can be read and written.

registries = Registries.from_env(os.environ, progress=progress)
base = registries.repository("nvcr.io/nvidia/pytorch:25.06-py3")
manifest = base.manifest()
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from images.oci.reference import Reference, parse
from images.progress import Progress, Silent
from images.registry.address import API_HOSTS, Settings, is_loopback, split_port
from images.registry.credentials import Credential, Credentials
from images.registry.pace import Clock, RetryPolicy, WallClock
from images.registry.repository import Repository
from images.registry.transport import Transport
from images.registry.wire import Wire


class Registries:
    """All registries of one process: connections, tokens and pauses are shared per host. Thread-safe."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        credentials: Credentials | None = None,
        policy: RetryPolicy | None = None,
        clock: Clock | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.credentials = credentials or Credentials()
        self.policy, self.clock, self.progress = policy or RetryPolicy(), clock or WallClock(), progress or Silent()
        self.transports: dict[tuple[str, str], Transport] = {}
        self.lock = threading.Lock()
        self.wires: list[Wire] = []

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, progress: Progress | None = None) -> Registries:
        """Mirrors, insecure registries and logins as the environment has them. Raises WrongInput."""
        return cls(Settings.from_env(environ), credentials=Credentials(environ), progress=progress)

    def repository(self, reference: Reference | str) -> Repository:
        """The repository of a reference (tag and digest are kept as the default target). Raises WrongInput."""
        if isinstance(reference, str):
            reference = parse(reference)
        host, name = self.settings.resolve(reference.registry, reference.repository)
        return Repository(self.transport(host, name), reference, name, (f"repository:{name}:pull",))

    def transport(self, host: str, name: str) -> Transport:
        """One transport per host; per repository too where a login is stored for the repository itself."""
        with self.lock:
            key = (host, name if self.own_login(host, name) else "")
            found = self.transports.get(key)
            if found is None:
                found = self.transports[key] = self.open(host, key[1])
            return found

    def own_login(self, host: str, name: str) -> bool:
        auths = self.credentials.config().get("auths") or {}
        return any(key.startswith(f"{host}/") and f"{host}/{name}/".startswith(f"{key}/") for key in auths)

    def open(self, host: str, name: str) -> Transport:
        insecure = host in self.settings.insecure
        unchecked = frozenset({split_port(API_HOSTS.get(host, host))[0]} if insecure or is_loopback(host) else ())
        wire = Wire(self.policy.connect_seconds, self.policy.idle_seconds, unchecked)
        self.wires.append(wire)

        def credential() -> Credential:
            return self.credentials.lookup(host, name)

        return Transport(host, wire, credential, self.policy, self.clock, self.progress.say, insecure)

    def close(self) -> None:
        """Closes the kept connections."""
        for wire in self.wires:
            wire.close()

    def __enter__(self) -> Registries:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
