"""The bodies that Vast is sent, out of templates/providers/vast: a template (providers.md 2.3), a create (2.5)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from fleet.offers.offer import INTERRUPTIBLE
from fleet.providers.masked import MASK
from fleet.providers.outcomes import Because, NotCreated
from fleet.providers.rendered import of_the_plan, rendered
from fleet.providers.values import Container, Login, Order
from fleet.providers.vast.answers import PROVIDER
from profiles.errors import WrongInput

LEAST_DISK = 8  # GB; fixed for life
MOST_ENV = 32768  # characters in all
MOST_ENTRY = 256  # of one entry, presumably (2.5): longer ones are sent, and named when the order is refused
MOST_ARGS = 4096
# What needs no quoting in a docker flag string: how Vast splits it is not told.
PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=-]*")
PORT = re.compile(r"(\d{1,5})(?:/(tcp|udp))?")


def template(container: Container) -> dict[str, Any]:
    """What is kept at Vast: image, ports, plain variables, disk and the CUDA constraint; no login, and no secret.

    Not the command: the create gives it as `args`, and which of that and a template's `args_str` wins is not told.
    """
    flags = [flag for port in container.ports for flag in ("-p", mapped(port).removeprefix("-p "))]
    for name, value in sorted(of_the_plan(container.env).items()):
        if name not in container.secrets and PLAIN.fullmatch(value):
            flags += ["-e", f"{name}={value}"]
    values = {
        "name": container.name,
        "image": container.image,
        "flags": " ".join(flags),
        "filters": {"cuda_max_good": {"gte": cuda(container.cuda)}} if container.cuda else {},
        "disk_gb": disk_gb(container),
        "desc": "",
    }
    digest = hashlib.sha256(json.dumps(rendered(PROVIDER, "template", values), sort_keys=True).encode()).hexdigest()
    return rendered(PROVIDER, "template", {**values, "desc": f"Stoker {digest[:16]}"})


def create(order: Order, key: str, kept: Mapping[str, str], price: float | None) -> dict[str, Any]:
    """One create. What it names wins over the template (2.5), and whose content changed in between has another hash
    (2.3): nothing comes out of a template but what was seen there.

    key: hash of the template, "" for none; kept: secret -> its name in the account's store, the others go in plain;
    price: the bid, None for on demand.
    """
    container = order.container
    env = {**container.env, "STOKER_TAG": order.tag}
    env |= {name: value for name, value in container.secrets.items() if name not in kept}
    if kept:
        env["STOKER_SECRETS"] = ",".join(f"{name}={stored}" for name, stored in sorted(kept.items()))
    if sum(len(name) + len(value) for name, value in env.items()) > MOST_ENV:
        raise WrongInput(f"vast takes {MOST_ENV} characters of environment, and this run has more", "shorten it")
    if sum(map(len, container.command)) > MOST_ARGS:
        raise WrongInput(f"vast takes a command of {MOST_ARGS} characters", "put it into the image")
    env |= {mapped(port): "1" for port in container.ports}
    values = {
        "image": container.image,
        "template": key or None,
        "tag": order.tag,
        "disk_gb": disk_gb(container),
        "command": list(container.command),
        "env": env,
        "price": price,
        "login": None if container.login is None else login(container.login),
        "volume": volume(container),
        "mount": container.mount,
        "cancel_unavail": order.offer.kind != INTERRUPTIBLE,
    }
    return rendered(PROVIDER, "create", values)


def long_entries(env: Mapping[str, str]) -> list[str]:
    """Variables longer than what Vast presumably takes of one."""
    return sorted(name for name, value in env.items() if len(name) + 1 + len(value) > MOST_ENTRY)


def masked(body: Mapping[str, Any], container: Container) -> dict[str, Any]:
    """A create as it may be shown: the values of secrets and the registry's password are not in it."""
    shown = {**body, "env": {name: MASK if name in container.secrets else value for name, value in body["env"].items()}}
    if "image_login" in body and container.login is not None:
        shown["image_login"] = f"-u {container.login.user} -p {MASK} {container.login.registry}"
    return shown


def mapped(port: str) -> str:
    """ "22/tcp" as the docker flag that opens it. Raises WrongInput."""
    found = PORT.fullmatch(port)
    if not found:
        raise WrongInput(f"`{port}` is no port", 'write it like "22/tcp"')
    number, kind = found.groups()
    return f"-p {number}:{number}{'/udp' if kind == 'udp' else ''}"


def disk_gb(container: Container) -> int:
    """All of it on the container's own disk, but for what is on a volume that exists already (2.10)."""
    return max(LEAST_DISK, container.disk_gb + (0 if container.volume else container.volume_gb))


def cuda(version: str) -> float:
    """ "12.9" or "12.9.1" as the number that offers are told with. Raises WrongInput."""
    found = re.match(r"\d{1,2}\.\d{1,2}(?=\.|$)", version)
    if not found:
        raise WrongInput(f"`{version}` is no CUDA version", "write it like 12.9")
    return float(found[0])


def roomy(order: Order) -> None:
    """Raises NotCreated for an offer without the disk: Vast would refuse it as a mistake in the request."""
    wanted, most = disk_gb(order.container), order.offer.disk_gb
    if most is not None and wanted > most:
        what = f"vast: offer {order.offer.id} has {most:.0f} GB of disk, and {wanted} are wanted"
        raise NotCreated(Because.CAPACITY, what, "take the next offer")


def volume(container: Container) -> int | None:
    """An existing volume's number. Raises WrongInput."""
    if container.volume and not container.volume.isdigit():
        raise WrongInput(f"`{container.volume}` is no volume of vast", "its volumes have numbers as ids")
    return int(container.volume) if container.volume else None


def login(given: Login) -> str:
    """The registry login as one string; no word may hold white space (2.5). Raises WrongInput."""
    if any(not word or re.search(r"\s", word) for word in (given.user, given.password, given.registry)):
        raise WrongInput(
            "vast takes no registry login with white space in it", "make an access token for the registry, and use that"
        )
    return f"-u {given.user} -p {given.password} {given.registry}"
