"""What clients take and give: plain values without a provider's own words, money with its unit in the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from fleet.offers.offer import Offer


class State(StrEnum):
    """What a machine is, as far as the provider tells. Unreadable is UNKNOWN, never gone (providers.md 0.2)."""

    PENDING = "pending"  # ordered, not there yet; may bill already
    STARTING = "starting"  # boots, or pulls the image
    RUNNING = "running"  # says so; ready only when something answers there
    STOPPED = "stopped"  # keeps its disk, and bills it
    INTERRUPTED = "interrupted"  # stopped by somebody else: outbid, preempted
    FAILED = "failed"  # never becomes running again
    UNKNOWN = "unknown"


# What of a container's environment is told of an instance: enough to know whose it is without
# a ledger, and never another variable: it might be a secret.
TOLD_ENV = ("STOKER_RUN", "STOKER_TAG", "STOKER_REMOTE")


@dataclass(frozen=True, slots=True)
class Ssh:
    """Where a shell is."""

    host: str
    port: int = 22
    user: str = "root"


@dataclass(frozen=True, slots=True)
class Instance:
    """One rented machine as its provider lists it. None and "" mean that the provider did not tell.

    tag: the name or label we gave it; status: the provider's own words; usd_hour: what it costs now, whole machine;
    kind: one of fleet.offers.offer.KINDS; machine: what to exclude when this machine was bad.
    """

    provider: str
    id: str
    tag: str
    state: State
    status: str = ""
    usd_hour: Decimal | None = None
    kind: str = ""
    gpu: str = ""  # key of profiles/tables/gpus.yaml
    gpus: int | None = None
    region: str = ""
    machine: str = ""
    image: str = ""
    ssh: Ssh | None = None
    created: datetime | None = None
    started: datetime | None = None
    words: str = ""  # what it says of itself: pull progress, an error
    gpu_busy: float | None = None  # 0..1, the busiest of its GPUs
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # only TOLD_ENV


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left to spend. usd None: not told, which is neither enough nor nothing."""

    provider: str
    usd: Decimal | None
    usd_hour: Decimal | None = None  # what is being spent now
    words: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """Storage that outlives a machine, and bills until it is deleted. gb 0: not told."""

    provider: str
    id: str
    name: str
    gb: int
    region: str = ""
    machine: str = ""  # Vast: a volume belongs to one machine
    usd_month: Decimal | None = None
    tier: str = ""  # RunPod: only machines of this kind attach one (Offer.tier)


@dataclass(frozen=True, slots=True)
class Login:
    """A registry's user and password. The password is in no repr."""

    registry: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """A registry login that the provider keeps; only its name is known."""

    provider: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Container:
    """What shall run, the same at every provider.

    image: reference with its digest (HOST/NAME@sha256:...); command: of the container, empty: the image's own; env:
    plain variables; secrets: variables whose values are never shown, logged or stored by us; ports: inside, "22/tcp";
    disk_gb: for image and container; mount: where the volume is; volume: an existing one's id, or ""; cuda: the least
    CUDA that the driver must support, "12.9", "" for none; login: for a private image.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[str, ...] = ("22/tcp",)
    disk_gb: int = 50
    volume_gb: int = 0
    mount: str = "/workspace"
    volume: str = ""
    cuda: str = ""
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A template that stands at the provider. key: what a create names it by; content: hash of what is in it."""

    provider: str
    id: str
    name: str
    key: str
    content: str


@dataclass(frozen=True, slots=True)
class Order:
    """One create, once. tag: fresh for every attempt; most_usd_hour: the machine is ended when it turns out dearer;
    bid_usd_hour: for an interruptible offer, the whole machine; template None: a provider without templates."""

    tag: str
    offer: Offer
    container: Container
    most_usd_hour: Decimal
    bid_usd_hour: Decimal | None = None
    template: Template | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A request as `--dry-run` prints it: the exact bytes, with secrets masked."""

    provider: str
    method: str
    path: str
    body: object = None
    note: str = ""
