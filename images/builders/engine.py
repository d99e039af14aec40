"""The Docker Engine, as far as we need it: load, save, tag, inspect, push, run, prune. Building is buildkit.py's.

A thin layer over the `docker` package, which is imported only once an engine is asked for.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from images import system
from images.builders import route as routes
from images.builders.container import Container, gpu_requests
from images.oci.digest import DIGEST
from images.progress import Meter, Progress, Silent
from profiles.errors import OutsideFailed

if TYPE_CHECKING:
    import docker

BASE = "stoker-base"  # repository, inside the engine, of bootstrapped bases
FOUNDATION = "stoker-foundation"  # and of foundations
PLAN_LABEL = "stoker.plan"  # every image we build has it
SMOKE_LABEL = "stoker.smoke"  # every volume a smoke test makes has it
PIECE = 1 << 20
START_SECONDS = 10.0  # systemd needs about two to start a fresh engine
DEFAULT = "unix:///var/run/docker.sock"
START = (
    "start it (systemctl start docker), or install it (Debian, Ubuntu: apt-get install docker.io), or set DOCKER_HOST"
)


def connect(host: str | None = None) -> Engine:
    """The engine at `host`, or where DOCKER_HOST, DOCKER_CONTEXT or the current context point, as the CLI does.

    Raises OutsideFailed when none answers.
    """
    import docker
    import requests

    where, tls = (host, None) if host else address()
    try:
        client = docker.DockerClient(where, version="auto", tls=tls or False, use_ssh_client=where.startswith("ssh://"))
        client.ping()
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        if "Permission denied" in str(error):
            raise OutsideFailed(
                f"the Docker Engine at {where} refuses this user", "add it to the group docker"
            ) from None
        raise OutsideFailed(f"no Docker Engine answers at {where}", START) from None
    # Saving or pushing tens of gigabytes has minutes without a byte; the package would give up after 60 seconds.
    client.api.timeout = None  # type: ignore[assignment]
    return Engine(client, {"DOCKER_HOST": host} if host else {})


def connect_or_install(progress: Progress) -> Engine:
    """The engine; where root has none on Debian or Ubuntu, docker.io is installed, which starts it.

    Raises OutsideFailed as `connect`.
    """
    try:
        return connect()
    except OutsideFailed:
        installable = os.geteuid() == 0 and system.is_debian() and not system.find("dockerd")
        if os.environ.get("DOCKER_HOST") or not installable:
            raise
    system.need("dockerd", progress)
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            return connect()
        except OutsideFailed:  # no init system that starts it, as in a container
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def address() -> tuple[str, Any]:
    """Where the CLI would look, in its order: DOCKER_HOST with its TLS variables, DOCKER_CONTEXT, the current context.

    The `docker` package leaves contexts out of `from_env`.
    """
    from docker.context import ContextAPI
    from docker.utils import kwargs_from_env

    if os.environ.get("DOCKER_HOST"):
        given = kwargs_from_env()
        return given["base_url"], given.get("tls")
    name = os.environ.get("DOCKER_CONTEXT")
    context = ContextAPI.get_context(name) if name else ContextAPI.get_current_context()
    if context is None:
        raise OutsideFailed(f"there is no Docker context {name}", "docker context ls")
    return context.Host or DEFAULT, context.TLSConfig


@dataclass(frozen=True)
class Engine:
    """A connected engine. environment: what the command line needs so that it reaches the same one."""

    client: docker.DockerClient
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def api(self) -> Any:
        """The low-level client; untyped, because half of its methods have no types."""
        return self.client.api

    @cached_property
    def version(self) -> str:
        """Such as '20.10.24+dfsg1'."""
        return str(self.client.version()["Version"])

    @cached_property
    def environ(self) -> dict[str, str]:
        """The environment of commands run beside us: plain text, and the same engine."""
        return {**os.environ, "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "DOCKER_CLI_HINTS": "false", **self.environment}

    def buildkit_route(self) -> routes.Route:
        """How to build here. Raises OutsideFailed when BuildKit cannot be reached, with the reason."""
        return self.route

    @cached_property
    def route(self) -> routes.Route:
        return routes.find(routes.parsed(self.version), self.environ)

    def has(self, reference: str) -> bool:
        """Whether the engine holds an image of that name or id."""
        import docker

        with translated(f"asking the engine for {reference}"):
            try:
                self.api.inspect_image(reference)
            except docker.errors.ImageNotFound:
                return False
        return True

    def inspect(self, reference: str) -> dict[str, Any]:
        """What `docker image inspect` shows. Raises OutsideFailed when there is no such image."""
        with translated(f"inspecting {reference}"):
            value: dict[str, Any] = self.api.inspect_image(reference)
            return value

    def tag(self, image: str, reference: str) -> None:
        """Names an image. Raises OutsideFailed."""
        with translated(f"tagging {reference}"):
            if not self.client.images.get(image).tag(reference):
                raise OutsideFailed(f"the engine did not tag {reference}")

    def load(self, pieces: Iterable[bytes], *, total: int | None = None, progress: Progress | None = None) -> str:
        """Loads an archive as `docker save` writes it, in pieces. Returns the loaded name, or the id of a nameless one.

        total: bytes of the archive, for the meter. Raises OutsideFailed with the engine's words.
        """
        loaded = ""
        with (progress or Silent()).meter("loading into Docker", total) as meter, translated("loading the image"):
            for event in self.api.load_image(metered(pieces, meter)):
                if "error" in event:
                    raise OutsideFailed(f"the engine could not load the image: {event['error']}", space(event["error"]))
                found = re.match(r"Loaded image(?: ID)?: (\S+)", event.get("stream", ""))
                loaded = found[1] if found else loaded
        if not loaded:
            raise OutsideFailed("the engine loaded nothing from the archive", "run the same command again")
        return loaded

    def save(self, reference: str) -> Generator[bytes, None, None]:
        """The archive of an image, streamed. Raises OutsideFailed, also in the middle."""
        with translated(f"saving {reference}"):
            yield from self.api.get_image(reference, chunk_size=PIECE)

    def push(self, reference: str, *, progress: Progress | None = None) -> str:
        """Pushes a tagged image with the logins of the Docker config. Returns the manifest's digest.

        Raises OutsideFailed; for a refused login with the command that logs in.
        """
        digest, failure = "", ""
        with translated(f"pushing {reference}"), Layers(progress or Silent()) as layers:
            for event in self.api.push(reference, stream=True, decode=True):
                failure = failure or event.get("error", "")
                digest = (event.get("aux") or {}).get("Digest", digest)
                layers.feed(event)
        if failure:
            raise OutsideFailed(f"pushing {reference} failed: {failure}", login(failure, reference))
        if not DIGEST.fullmatch(digest):
            raise OutsideFailed(f"the engine did not say the digest of {reference}", "push it again")
        return digest

    @contextmanager
    def running(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        entrypoint: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        mounts: Mapping[str, str] | None = None,
        gpus: int | Sequence[str] = 0,
        network: str | None = None,
        user: str | None = None,
        **options: Any,
    ) -> Iterator[Container]:
        """A container that lives as long as the block; killed and removed after it, with its anonymous volumes.

        command, entrypoint: None keeps the image's; mounts: host folder -> path inside, writable; gpus: how many (-1:
        all) or which ids; network: 'none', 'host' or a network's name; options: anything else that docker-py's
        containers.create takes (shm_size, ipc_mode, ulimits, ...). Raises OutsideFailed when it cannot be started.
        """
        volumes = {host: {"bind": inside, "mode": "rw"} for host, inside in (mounts or {}).items()}
        wish: dict[str, Any] = {"environment": dict(env or {}), "volumes": volumes, "labels": {PLAN_LABEL: "run"}}
        wish |= {"device_requests": gpu_requests(gpus)} if gpus else {}
        given = {"network": network, "user": user, "entrypoint": entrypoint and list(entrypoint)}
        wish |= {name: value for name, value in given.items() if value is not None}
        with translated(f"starting {image}"):
            created = self.client.containers.create(
                image, None if command is None else list(command), **wish, **options
            )
        try:
            with translated(f"starting {image}"):
                created.start()
            yield Container(created)
        finally:
            with translated(f"removing the container of {image}"):
                created.remove(force=True, v=True)

    def ours(self) -> list[dict[str, Any]]:
        """The images we built, loaded or made foundations of, as the engine lists them (Id, RepoTags, Size, ...)."""
        with translated("listing images"):
            listed: list[dict[str, Any]] = self.api.images(all=False)
        mine = re.compile(rf"({BASE}|{FOUNDATION}):")
        return [
            image
            for image in listed
            if PLAN_LABEL in (image.get("Labels") or {}) or any(map(mine.match, image.get("RepoTags") or ()))
        ]

    def prune(self, keep: Iterable[str] = (), *, progress: Progress | None = None) -> int:
        """Removes our images, but those named in `keep` (tags or ids) and those that containers use.

        Returns the bytes that the engine counted for them; layers that other images share stay. Raises OutsideFailed.
        """
        import docker

        kept, freed = set(keep), 0
        for image in self.ours():
            tags = [tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
            if kept.intersection([image["Id"], *tags]):
                continue
            with translated("removing images"):
                try:
                    for name in tags or [image["Id"]]:
                        self.api.remove_image(name)
                except docker.errors.APIError as error:
                    if error.status_code != 409:  # 409: a container or another image needs it
                        raise
                    (progress or Silent()).say(f"kept {(tags or [image['Id']])[0]}: it is in use")
                    continue
            freed += int(image.get("Size", 0))
        return freed

    def sweep(self) -> int:
        """Removes what a killed `smoke` left behind: our stopped containers and their volumes. Returns how many."""
        with translated("removing leftovers"):
            gone = self.api.prune_containers({"label": f"{PLAN_LABEL}=run"})["ContainersDeleted"] or []
            volumes = self.api.volumes({"label": SMOKE_LABEL})["Volumes"] or []
            for volume in volumes:
                with suppress(OutsideFailed), translated("removing a volume"):  # a running smoke still uses it
                    self.api.remove_volume(volume["Name"])
        return len(gone)


class Layers:
    """The events of a push as one meter per layer that travels."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.stack = progress, ExitStack()
        self.meters: dict[str, tuple[Meter, int]] = {}

    def __enter__(self) -> Layers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def feed(self, event: Mapping[str, Any]) -> None:
        """One event: `{"status": "Pushing", "id": ..., "progressDetail": {"current": ..., "total": ...}}`."""
        detail, layer = event.get("progressDetail") or {}, event.get("id", "")
        if event.get("status") != "Pushing" or "current" not in detail:
            return
        if layer not in self.meters:
            self.meters[layer] = (self.stack.enter_context(self.progress.meter(layer, detail.get("total"))), 0)
        meter, done = self.meters[layer]
        meter.advance(max(0, detail["current"] - done))  # a retry starts again from 0
        self.meters[layer] = (meter, detail["current"])


def metered(pieces: Iterable[bytes], meter: Meter) -> Iterator[bytes]:
    for piece in pieces:
        meter.advance(len(piece))
        yield piece


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns what the `docker` package raises into OutsideFailed."""
    import docker
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        said = str(error.explanation or error)
        raise OutsideFailed(f"{what}: {said}", space(said)) from None
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise OutsideFailed(f"{what}: the Docker Engine stopped answering ({error})", START) from None


def space(said: str) -> str:
    """The next step when the engine's words say that its disk is full."""
    return (
        "free some space where the engine keeps its data: ./inv prune, docker system prune"
        if "no space" in said
        else ""
    )


def login(said: str, reference: str) -> str:
    """The next step for a failed push."""
    if re.search(r"unauthorized|denied|authentication required|no basic auth|credentials|401|403", said, re.IGNORECASE):
        host = reference.partition("/")[0]
        return f"docker login {host}" if "." in host or ":" in host else "docker login"
    return space(said) or "run the same command again: layers that arrived are not sent twice"
