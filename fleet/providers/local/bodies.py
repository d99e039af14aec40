"""The body of a container on this machine's engine, out of templates/providers/local, and what masks its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.providers.local.machine import PROVIDER
from fleet.providers.masked import MASK
from fleet.providers.rendered import rendered
from fleet.providers.values import Container, Order

TAG, RUN, GPUS, OWNER = "stoker.tag", "stoker.run", "stoker.gpus", "stoker.local"
GRACE = 25  # seconds: the default of STOKER_GRACE in the image


def container(order: Order, image: str, gpus: list[str], network: str = "") -> dict[str, Any]:
    """POST /containers/create. image: what the engine calls it; gpus: indices; network: "" for the engine's default."""
    wanted = order.container
    values = {
        "image": image,
        "command": list(wanted.command),
        "env": [f"{name}={value}" for name, value in sorted(variables(order).items())],
        "labels": {OWNER: "1", TAG: order.tag, RUN: run_of(wanted), GPUS: ",".join(gpus)},
        "grace": grace(wanted.env) + 10,
        "network": network,
        "gpus": gpus,
        "mounts": mounts(wanted),
    }
    return rendered(PROVIDER, "container", values)


def variables(order: Order) -> dict[str, str]:
    """The environment of the container. STOKER_PROVIDER keeps its keeper from ending the machine around it: in a rented
    machine that is its own provider to a user, that machine's variables would say whose it is."""
    wanted = order.container
    return {**wanted.env, **wanted.secrets, "STOKER_TAG": order.tag, "STOKER_PROVIDER": PROVIDER}


def masked(body: Mapping[str, Any], container: Container) -> dict[str, Any]:
    """The same body with the values of secrets replaced."""
    hidden = {f"{name}={value}": f"{name}={MASK}" for name, value in container.secrets.items()}
    return {**body, "Env": [hidden.get(entry, entry) for entry in body["Env"]]}


def mounts(wanted: Container) -> list[dict[str, str]]:
    """The volume of the run, which outlives its containers, and the folder of a file:// remote at its own path."""
    source = volume(wanted)
    found = [{"Type": "bind" if source.startswith("/") else "volume", "Source": source, "Target": wanted.mount}]
    remote = wanted.env.get("STOKER_REMOTE", "")
    if remote.startswith("file:///"):
        folder = str(Path(remote.removeprefix("file://")).parent)
        found.append({"Type": "bind", "Source": folder, "Target": folder})
    return found


def volume(wanted: Container) -> str:
    """The volume: the name or the folder (absolute) that was asked for, else the run's own."""
    return wanted.volume or f"stoker-{run_of(wanted)}"


def run_of(wanted: Container) -> str:
    return wanted.env.get("STOKER_RUN") or wanted.name


def grace(env: Mapping[str, str]) -> int:
    """Seconds that the run asks for between SIGTERM and its end."""
    text = env.get("STOKER_GRACE", "")
    return int(float(text)) if text.replace(".", "", 1).isdigit() and float(text) < 86400 else GRACE
