"""What an image promises: from the plan and the lock it was built of, or from the labels of one that was pulled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from profiles.bases import BaseFacts, DriverFloor, Fact, driver_floor
from profiles.errors import OutsideFailed, WrongInput

if TYPE_CHECKING:
    from images.build import Resolved
    from images.builders.engine import Engine
    from images.progress import Progress
    from images.store import Store
    from images.workbench import Workbench
    from profiles.lock import Lock
    from profiles.schema import Profile

MOUNT = "/mnt/stoker"  # for profiles without a volume
NO_FACTS = BaseFacts("unknown", False)


@dataclass(frozen=True)
class Expected:
    """What the container is compared with. Whatever is None or empty is not known, and then not checked.

    python: minor version; wheels: distribution -> version; gpu: (type, count); options: of docker-py's create.
    """

    name: str
    python: str | None = None
    facts: BaseFacts = NO_FACTS
    wheels: Mapping[str, str] = field(default_factory=dict)
    gpu: tuple[str, int] | None = None
    floor: DriverFloor | None = None
    mount: str = MOUNT
    user: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def of_resolved(resolved: Resolved) -> Expected:
    """What a resolved profile promises."""
    plan, profile = resolved.plan, resolved.profile
    facts = facts_of(profile, plan.platform, resolved.bench.store)
    wheels = {wheel.name: wheel.version for layer in plan.layers for wheel in layer.wheels}
    return of_profile(profile, facts, plan.base.python, wheels)


def of_profile(profile: Profile, facts: BaseFacts, python: str | None, wheels: Mapping[str, str]) -> Expected:
    from profiles import gpus

    gpu = (profile.gpu.type, profile.gpu.count) if profile.gpu else None
    return Expected(
        name=profile.name,
        python=python,
        facts=facts,
        wheels=wheels,
        gpu=gpu,
        floor=driver_floor(facts, gpus.gpu(gpu[0])) if gpu else None,
        mount=profile.volume or MOUNT,
        user=profile.user,
        options=options(profile),
    )


def facts_of(profile: Profile, platform: str, store: Store) -> BaseFacts:
    """Facts of the base, by the lock that a build of this profile takes (images.locks.lock.locked_for)."""
    from profiles import bases, lock

    def fits(one: Lock | None) -> bool:
        return one is not None and not lock.stale(profile, one) and platform in one.bases

    found = lock.read(profile.name)
    return bases.facts_of(profile, platform, found if fits(found) else lock.read(profile.name, store.folder("locks")))


def options(profile: Profile) -> dict[str, Any]:
    """The profile's limits as `docker run` takes them; -1 is unlimited there too."""
    from docker.types import Ulimit

    limits = [(name, value) for name, value in profile.ulimits.model_dump().items() if value is not None]
    wish: dict[str, Any] = {"ipc_mode": profile.ipc}
    if limits:
        wish["ulimits"] = [Ulimit(name=name, soft=value, hard=value) for name, value in limits]
    if profile.shm_size and profile.ipc != "host":
        wish["shm_size"] = profile.shm_size
    return wish


def of_reference(bench: Workbench, engine: Engine, reference: str) -> Expected:
    """What the labels and environment of an image in the engine promise, and its plan when it was built here.

    Raises WrongInput for an image that is not one of ours.
    """
    from images.locks import probe
    from profiles import gpus
    from profiles.load import load

    config = engine.inspect(reference)["Config"]
    labels = config.get("Labels") or {}
    if "stoker.plan" not in labels:
        raise WrongInput(f"{reference} is not an image of ours: it has no label stoker.plan", "./inv images lists ours")
    probed = probe.facts_of({"config": config})
    facts = BaseFacts(reference, True, {name: Fact(value, "probed") for name, value in probed.items()})
    plan = plan_of(bench.store, labels["stoker.plan"])
    found = plan.get("base", {}).get("python") or facts.python.value
    python = ".".join(found.split(".")[:2]) if found else None
    wheels = {one["name"]: one["version"] for layer in plan.get("layers", ()) for one in layer["wheels"]}
    name = labels.get("stoker.profile", reference)
    try:
        return of_profile(load(name), facts, python, wheels)
    except WrongInput:  # built elsewhere from a profile that is not here
        gpu = gpu_label(labels.get("stoker.gpu", "none"))
        floor = driver_floor(facts, gpus.gpu(gpu[0])) if gpu and gpu[0] in gpus.names() else None
        user = config.get("User") or ""
        return Expected(name, python, facts, wheels, gpu, floor, MOUNT, user, {"ipc_mode": "host"} if gpu else {})


def gpu_label(text: str) -> tuple[str, int] | None:
    """'8xh100-sxm' -> ('h100-sxm', 8); 'none' -> None."""
    count, cross, kind = text.partition("x")
    return (kind, int(count)) if cross and count.isdigit() else None


def plan_of(store: Store, plan_hash: str) -> dict[str, Any]:
    """The plan with that hash, when this machine built it; else empty."""
    for path in store.images.glob("*.json"):
        try:
            plan: dict[str, Any] = json.loads(path.read_text("utf-8"))["plan"]
        except (OSError, ValueError, KeyError):
            continue
        if plan.get("hash") == plan_hash:
            return plan
    return {}


def pull(engine: Engine, reference: str, progress: Progress) -> str:
    """Its name in the engine, fetched from the registry it names. Raises OutsideFailed with the login to try."""
    from images.builders.engine import login, translated
    from images.oci.reference import HUB, parse

    parsed = parse(reference)
    if parsed.registry == HUB and engine.has(reference):  # a name without a host, built or loaded here
        return reference
    target = str(parsed if parsed.tag or parsed.digest else parsed.with_tag("latest"))
    progress.say(f"pulling {target}")
    failure = ""
    with translated(f"pulling {target}"):
        for event in engine.api.pull(
            parsed.name, tag=parsed.digest or parsed.tag or "latest", stream=True, decode=True
        ):
            failure = failure or event.get("error", "")
    if failure:
        raise OutsideFailed(f"pulling {target} failed: {failure}", login(failure, target))
    return target
