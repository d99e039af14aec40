"""The bodies of our requests to RunPod, from templates/providers/runpod/, and what of a container goes into which.

A template holds what is the same for every run of a plan; what belongs to one run or one attempt, and every secret,
goes into the create alone, so that the template needs no change from run to run and no token ever stands in it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from fleet.offers.offer import ON_DEMAND
from fleet.offers.runpod import PROVIDER
from fleet.providers.rendered import of_a_run, of_the_plan, rendered
from fleet.providers.values import Container, Login, Order
from profiles.errors import WrongInput

LARGEST = 102400  # bytes of a request, also as its template expands it (providers.md 1.2)
LEAST_VOLUME = 10  # GB of mounts.persistent (1.6)
MOST_HTTP = 10  # http ports (1.5)
PUBLIC = re.compile(r"(ssh|ecdsa|sk)-\S+ \S+.*")  # (1.12)


def template_body(container: Container, registry: str | None) -> dict[str, Any]:
    """The template of a container. registry: the kept login's id. Raises WrongInput for what RunPod cannot run."""
    check(container)
    values = {**shared(container, registry), "env": of_the_plan(container.env), "name": ""}
    body = rendered(PROVIDER, "template", values)
    return {**body, "name": f"stoker-{slug(container.name)}-{content(body)[:12]}"}


def content(body: Mapping[str, Any]) -> str:
    """Hash of what is in a template, whatever its name."""
    inside = {name: value for name, value in body.items() if name != "name"}
    return hashlib.sha256(json.dumps(inside, sort_keys=True).encode()).hexdigest()


def pod_body(order: Order, template: str, registry: str | None, secrets: Mapping[str, str]) -> dict[str, Any]:
    """The create of an order. template: id, "" for none; secrets: variables as they go out, references or values."""
    container, offer = order.container, order.offer
    check(container)
    fits(order)
    env = of_a_run(container.env) if template else dict(container.env)
    return rendered(
        PROVIDER,
        "pod",
        {
            **shared(container, registry),
            "name": order.tag,
            "template": template,
            "gpu": offer.name,
            "count": offer.count,
            "cuda": container.cuda,
            "cloud": offer.tier.upper() or "SECURE",
            "region": offer.region,
            "env": {**env, **secrets, "STOKER_TAG": order.tag},
        },
    )


def registry_body(login: Login, key: str) -> dict[str, Any]:
    """A login that RunPod shall keep."""
    values = {"name": registry_name(login, key), "user": login.user, "password": login.password}
    return rendered(PROVIDER, "registry", values)


def registry_name(login: Login, key: str) -> str:
    """One name per login: a new password is a new one, because a kept one cannot be changed (providers.md 1.12).

    key: the provider's. Names are shown, so that without it nobody can try passwords against one; "": the hash is left
    out of what is shown.
    """
    if not key:
        return f"stoker-{login.registry}-(hash by the API key)"
    parts = (part.encode() for part in (login.user, login.password))
    content = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return f"stoker-{login.registry}-{hmac.new(key.encode(), content, hashlib.sha256).hexdigest()[:8]}"


def secret_body(name: str, value: str, variable: str) -> dict[str, Any]:
    """A secret that RunPod shall keep."""
    values = {"name": name, "value": value, "description": f"{variable} of a Stoker run"}
    return rendered(PROVIDER, "secret", values)


def shared(container: Container, registry: str | None) -> dict[str, Any]:
    """What a template and a pod say alike."""
    return {
        "image": container.image,
        "args": shlex.join(container.command),  # RunPod splits it as a shell would (providers.md 1.2)
        "disk": container.disk_gb,
        "ports": list(container.ports),
        "registry": registry,
        "ssh": "22/tcp" in container.ports,  # an own PUBLIC_KEY is not overwritten by it (1.12)
        "volume": container.volume,
        "volume_gb": container.volume_gb,
        "mount": container.mount,
    }


def slug(name: str) -> str:
    """`name` in the letters of a template's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "run"


def check(container: Container) -> None:
    """Raises WrongInput for what RunPod would refuse everywhere, before anything is sent."""
    if container.disk_gb < 1:
        raise WrongInput("a container disk of less than 1 GB", "give it room for the image and a checkpoint")
    if container.volume_gb and not container.volume and container.volume_gb < LEAST_VOLUME:
        raise WrongInput(
            f"runpod: a volume of {container.volume_gb} GB", f"{LEAST_VOLUME} GB is the least, or 0 for none"
        )
    if container.cuda and not re.fullmatch(r"[0-9]+\.[0-9]+", container.cuda):
        raise WrongInput(f"runpod: CUDA `{container.cuda}`", "write major.minor, like 12.9")
    for port in container.ports:
        if not re.fullmatch(r"[0-9]{1,5}/(tcp|http)", port):
            raise WrongInput(f"runpod: port `{port}`", "write NUMBER/tcp or NUMBER/http; there is no udp")
    if sum(port.endswith("/http") for port in container.ports) > MOST_HTTP:
        raise WrongInput("runpod: too many http ports", f"{MOST_HTTP} are the most")
    key = container.env.get("PUBLIC_KEY", "")
    if key and ("\r" in key or not all(PUBLIC.fullmatch(line) for line in key.splitlines() if line.strip())):
        raise WrongInput(
            "PUBLIC_KEY holds no public SSH keys", "one `ssh-... AAAA... comment` a line: the .pub file, not the key"
        )


def fits(order: Order) -> None:
    """Raises WrongInput for an order that no pod can be."""
    offer, container = order.offer, order.container
    if offer.provider != "runpod" or not offer.name or offer.count < 1:
        raise WrongInput(f"`{offer.id}` is no offer of RunPod's", "list the offers again")
    if offer.kind != ON_DEMAND or order.bid_usd_hour is not None:
        raise WrongInput("runpod: no bids: its pods are on demand only", "leave out --spot, or take another provider")
    if container.volume and offer.tier.lower() == "community":
        raise WrongInput(
            f"{offer.id}: no network volume in the community cloud",
            "take secure offers, or no volume (providers.md 1.12)",
        )
