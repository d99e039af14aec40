"""The image on the machine, and the container running there, detached from every connection."""

from __future__ import annotations

from fleet.providers.hosts import envfile
from fleet.providers.hosts.host import Host, script
from fleet.providers.hosts.jobs import RUNNING, SLICE, Done, finish, state
from fleet.providers.hosts.prepare import PULL
from fleet.providers.hosts.ssh import Said
from fleet.providers.masked import masked
from fleet.providers.values import Container
from fleet.wire.fields import printable
from profiles.errors import CheckFailed, OutsideFailed, StokerError, WrongInput

STARTING = 180.0  # seconds: a container of many layers is set up for a while
LABEL = "stoker.tag"
NO_IMAGE = ("manifest unknown", "not found", "does not exist", "no matching manifest", "invalid reference format")
NO_ENTRY = ("unauthorized", "access denied", "denied:", "authentication required", "no basic auth", "403 forbidden")
FULL = ("no space left",)
# Docker started before NVIDIA's toolkit was there, and has not been told of it.
NO_RUNTIME = ("could not select device driver", "unknown or invalid runtime name: nvidia")
OLD_DRIVER = ("unsatisfied condition", "driver rpc error", "cuda>=")


def pull(host: Host, folder: str, container: Container, slice: float = SLICE) -> None:
    """The image, by its digest, with the registry's login for as long as that takes. Idempotent.

    Raises WrongInput for a login or an image that no machine could use, CheckFailed for a full disk, OutsideFailed
    while it goes on and for what may be better next time.
    """
    if container.login is not None and state(host, folder, PULL) != RUNNING:
        _log_in(host, folder, container)
    done = finish(host, folder, PULL, script("pull"), folder, container.image, slice=slice)
    if done.code:
        raise _why_no_image(host, container, done)


def start(host: Host, folder: str, container: Container, tag: str) -> None:
    """The container of this tag, started once however often it is asked for. Raises as `pull` does."""
    variables = {**container.env, **container.secrets, "STOKER_TAG": tag}
    lines, exports, names = envfile.parts(variables)
    words = arguments(container, tag, names)
    for attempt in (1, 2):
        said = host.shell.run(
            script("start"),
            *(folder, tag, str(len(lines)), str(len(exports))),
            *words,
            given=lines + exports,
            patience=STARTING,
        )
        if not said.code:
            return
        told = masked(said.err, container.secrets.values()).lower()
        if attempt == 1 and any(word in told for word in NO_RUNTIME):
            finish(host, folder, "install", script("install"), "runtime")
            continue
        raise _why_no_start(host, container, said)


def arguments(container: Container, tag: str, names: list[str]) -> list[str]:
    """What follows `docker run --detach --name TAG --env-file FILE`: nothing secret.

    The memory flags are those of NVIDIA's PyTorch images: NCCL and data loaders share memory, RDMA locks it. The port
    22 is the machine's own; a shell inside is `docker exec` there.
    """
    ports = [port.partition("/") for port in container.ports]
    return [
        *("--label", f"{LABEL}={tag}"),
        *("--label", f"stoker.run={container.env.get('STOKER_RUN', container.name)}"),
        *("--gpus", "all", "--ipc=host", "--ulimit", "memlock=-1", "--ulimit", "stack=67108864"),
        *("--restart", "no"),
        *("--volume", f"{container.mount}:{container.mount}"),
        *(word for port, _, kind in ports if port != "22" for word in ("--publish", f"{port}:{port}/{kind or 'tcp'}")),
        *(word for name in names for word in ("--env", name)),
        container.image,
        *container.command,
    ]


def _log_in(host: Host, folder: str, container: Container) -> None:
    login = container.login
    assert login is not None
    password = login.password.encode()
    said = host.shell.run(
        script("login"), folder, login.registry, login.user, str(len(password)), given=password, patience=90.0
    )
    if said.code:
        words = masked(said.words, [login.password])
        if any(word in words.lower() for word in (*NO_ENTRY, "incorrect username or password")):
            raise WrongInput(
                f"{login.registry} refuses the login of {login.user} ({words})",
                "check the registry's user and password (`docker login` here), then launch again",
            )
        raise OutsideFailed(f"{host.name}: no login at {login.registry} ({words})", "it is tried again")


def _why_no_image(host: Host, container: Container, done: Done) -> StokerError:
    told = "\n".join(done.log).lower()
    if any(word in told for word in FULL):
        return CheckFailed(f"{host.name}: the image does not fit on its disk", "end it, and take one with more disk")
    if any(word in told for word in NO_ENTRY):
        return WrongInput(
            f"{container.image} may not be pulled ({done.words})", "give a registry login, or make the image public"
        )
    if any(word in told for word in NO_IMAGE):
        return WrongInput(f"{container.image} is not there ({done.words})", "push the image, then launch again")
    return OutsideFailed(f"{host.name}: the image could not be pulled ({done.words})", "it is tried again")


def _why_no_start(host: Host, container: Container, said: Said) -> StokerError:
    # Its last line may only be advice: "Run 'docker run --help' for more information".
    rows = [
        row for row in masked(said.err, container.secrets.values()).splitlines() if row.strip() and "--help'" not in row
    ]
    told, words = "\n".join(rows).lower(), printable(rows[-1]) if rows else f"docker ended with {said.code}"
    if any(word in told for word in FULL):
        return CheckFailed(f"{host.name}: the container does not fit on its disk", "end it, and take another")
    if any(word in told for word in (*NO_RUNTIME, *OLD_DRIVER)):
        return CheckFailed(f"{host.name}: the container gets no GPU there ({words})", "end it, and take another")
    return OutsideFailed(f"{host.name}: the container did not start ({words})", "it is tried again")
