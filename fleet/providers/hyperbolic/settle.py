"""From a bare machine to the running container: looked at, made ready, given the image, started. Each step may be cut
off anywhere, and is done again from the first one that is not done."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet.offers.hyperbolic import PROVIDER
from fleet.providers.hosts import keeper
from fleet.providers.hosts.expect import Wanted
from fleet.providers.hosts.host import Host
from fleet.providers.hosts.jobs import NEVER, SLICE, state
from fleet.providers.hosts.prepare import PULL, prepare
from fleet.providers.hosts.start import arguments, pull, start
from fleet.providers.values import Container, Shown


@dataclass(frozen=True, slots=True)
class Plan:
    """gpus: keys of which it has to be one, empty: any; count: GPUs ordered; slice: seconds for each long step before
    the caller has its turn again."""

    host: Host
    container: Container
    tag: str
    gpus: tuple[str, ...]
    count: int
    slice: float = SLICE


@dataclass(frozen=True, slots=True)
class Lend:
    """The account's key for the machine's own keeper. url: where a rental is ended; now: epoch seconds."""

    key: str = field(repr=False)
    url: str
    rental: str
    now: float


def settle_in(plan: Plan, lend: Lend | None = None) -> None:
    """See fleet.providers.provider.Provider.settle_in."""
    host = plan.host
    stand = host.look(plan.tag)
    if stand.ran:
        return
    if state(host, stand.folder, PULL) == NEVER:  # else that is done, and the image has begun to fill the disk
        _ready(plan, stand.folder, lend)
    pull(host, stand.folder, plan.container, plan.slice)
    start(host, stand.folder, plan.container, plan.tag)


def _ready(plan: Plan, folder: str, lend: Lend | None) -> None:
    """All that comes before the image. The keeper is there before anything takes long."""
    container = plan.container
    if lend is not None:
        seconds = round(keeper.hours(container.env, plan.count, lend.now) * 3600)
        well, after = keeper.kept(container.env)
        keeper.lend(plan.host, folder, lend.key, lend.url, lend.rental, seconds, plan.tag, after, well)
    wanted = Wanted(
        plan.gpus, plan.count, container.cuda, container.disk_gb, container.volume_gb, container.image, container.mount
    )
    prepare(plan.host, folder, wanted, plan.slice)


def shown(container: Container, tag: str, lends: bool) -> list[Shown]:
    """What settle_in does, as `--dry-run` prints it: names of variables, values of none that is secret."""
    variables = {**container.env, **dict.fromkeys(container.secrets, "***"), "STOKER_TAG": tag}
    steps = [
        Shown(PROVIDER, "SSH", "checks", None, "driver, GPUs, Docker, NVIDIA's toolkit, disk; installs what is missing")
    ]
    if container.login is not None:
        login = {"registry": container.login.registry, "user": container.login.user, "password": "***"}
        steps.append(Shown(PROVIDER, "SSH", "docker login", login, "password by standard input, kept in memory only"))
    if lends:
        note = "the API key stays in the machine's memory until the rental's end (STOKER_LEND_KEY=1)"
        steps.append(Shown(PROVIDER, "SSH", "keeper", {"key": "***", "hours": _hours(container)}, note))
    return [
        *steps,
        Shown(PROVIDER, "SSH", f"docker pull {container.image}"),
        Shown(
            PROVIDER,
            "SSH",
            "docker run",
            {"arguments": ["--detach", "--name", tag, *arguments(container, tag, [])], "env": variables},
            "variables by standard input, into a file in memory that is deleted after the start",
        ),
    ]


def _hours(container: Container) -> str:
    return container.env.get("TRAINING_HOURS", "") or "by the budget"
