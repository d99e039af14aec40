"""Locking: pin the base by digest with the facts the registry tells, and the wheels by sha256; and see what drifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from images.locks import pip, wheels
from images.locks.probe import probe, python_minor
from images.locks.wheels import Pin
from images.workbench import Workbench
from profiles.errors import CheckFailed

if TYPE_CHECKING:
    from images.oci.reference import Reference
    from profiles.bases import DriverFloor
    from profiles.lock import DebianBase, Lock, LockedLayer, RegistryBase
    from profiles.schema import Profile

DEBIAN_PYTHON = {"bookworm": "3.11", "trixie": "3.13"}


@dataclass(frozen=True, slots=True)
class Locked:
    """What a build needs of a lock, for one platform. python: minor version; driver: what a host must have."""

    digest: str | None
    index_digest: str | None
    python: str
    pins: tuple[Pin, ...]
    packages: Mapping[str, str] = field(default_factory=dict)  # of a Debian base
    driver: DriverFloor | None = None
    layers: tuple[LockedLayer, ...] = ()


def base_reference(profile: Profile) -> Reference:
    """The reference of a profile's registry base."""
    from images.oci.reference import parse

    return parse(profile.base.name)


def locked_for(bench: Workbench, profile: Profile, platform: str, must_be_locked: bool) -> Locked:
    """The lock of a profile, as committed, else as resolved on this machine before, else resolved now.

    What is resolved without being asked for is kept in the state folder, so that building never edits the checkout.
    Raises CheckFailed when `must_be_locked` and the committed lock is missing or does not fit the profile any more.
    """
    from profiles import lock as files

    committed = files.read(profile.name)
    reasons = files.stale(profile, committed) if committed else ["there is no lock"]
    if committed and not reasons and platform in committed.bases:
        return view(profile, committed, platform)
    if must_be_locked:
        raise CheckFailed(
            f"{profile.name} is not locked: {'; '.join(reasons)}", f"./inv lock --profile {profile.name}, and commit it"
        )
    folder = bench.store.folder("locks")
    kept = files.read_good(profile.name, folder)
    if kept is None or files.stale(profile, kept) or platform not in kept.bases:
        bench.progress.say(
            f"{profile.name}: {'; '.join(reasons)}; resolving it now "
            f"(`./inv lock --profile {profile.name}` pins it for everyone)"
        )
        kept = make(bench, profile)
        files.write(kept, folder)
    return view(profile, kept, platform)


def view(profile: Profile, lock: Lock, platform: str) -> Locked:
    """One platform of a lock."""
    from profiles import bases, gpus
    from profiles.lock import RegistryBase

    base = lock.bases[platform]
    pins = tuple(
        Pin(
            w.name,
            w.version,
            w.filename,
            w.sha256,
            w.size,
            (w.built_from_sdist.filename, w.built_from_sdist.sha256) if w.built_from_sdist else None,
            w.licence,
        )
        for w in lock.wheels.get(platform, ())
    )
    layers = lock.layers.get(platform, ())
    if not isinstance(base, RegistryBase):
        return Locked(base.digest, None, DEBIAN_PYTHON[base.suite], pins, base.packages, layers=layers)
    facts = bases.facts_of(profile, platform, lock)
    floor = bases.driver_floor(facts, gpus.gpu(profile.gpu.type)) if profile.gpu else None
    return Locked(
        base.digest,
        base.index_digest,
        python_minor({k: v for k, v in base.facts.items() if v}, facts.python.value),
        pins,
        driver=floor,
        layers=layers,
    )


def make(bench: Workbench, profile: Profile, base_packages: Mapping[str, str] | None = None) -> Lock:
    """Resolve everything now. base_packages: name -> version of all Python packages in the base, when known.

    Raises OutsideFailed when a registry or package index cannot be reached, WrongInput for requirements that conflict
    or a profile whose precision the probed base cannot do.
    """
    from images.checks.licences import stated
    from images.locks.fetch import fetch
    from images.locks.pinned import pack
    from profiles import checks
    from profiles.lock import Lock, LockedWheel, Sdist, requirements_hash

    bases: dict[str, RegistryBase | DebianBase] = {}
    locked: dict[str, tuple[LockedWheel, ...]] = {}
    layers: dict[str, tuple[LockedLayer, ...]] = {}
    for platform in profile.platforms:
        base, python, owned = lock_base(bench, profile, platform)
        bases[platform] = base
        owned = {**owned, **(base_packages or {})}
        target = pip.Target(python, platform)
        indexes = profile.python.indexes
        pins = wheels.resolve(profile.python.requirements, target, owned, indexes, bench.store.wheels, bench.progress)
        # Fetched at once: an index does not tell sizes, and a lock nobody can fetch is worth nothing.
        paths = fetch(pins, target, indexes, bench.store.wheels, bench.progress)
        found = [replace(pin, size=paths[pin.filename].stat().st_size) for pin in pins]
        locked[platform] = tuple(
            LockedWheel(
                name=pin.name,
                version=pin.version,
                filename=pin.filename,
                sha256=pin.sha256,
                size=pin.size,
                built_from_sdist=Sdist(filename=pin.sdist[0], sha256=pin.sdist[1]) if pin.sdist else None,
                licence=stated(paths[pin.filename]),
            )
            for pin in sorted(found, key=lambda pin: pin.name)
        )
        layers[platform] = pack(found, paths, bench.store, bench.progress)
    lock = Lock(
        schema=1,
        profile=profile.name,
        locked_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        bases=bases,
        wheels=locked,
        layers=layers,
        requirements_hash=requirements_hash(profile),
    )
    checks.check(profile, lock)  # with what the registry told, not with what the table recalls
    return lock


def lock_base(
    bench: Workbench, profile: Profile, platform: str
) -> tuple[RegistryBase | DebianBase, str, dict[str, str]]:
    """(locked base, its Python's minor version, packages it owns with the versions that are known)."""
    from profiles import bases
    from profiles.lock import DebianBase, RegistryBase
    from profiles.owned import OWNED

    if profile.base.debian is not None:
        from images.bases import debian

        packages = tuple(profile.base.packages)
        # Locking asks what is true now, so an earlier bootstrap does not count.
        done = debian.bootstrap(profile.base.debian, packages, bench.store, bench.progress)
        debian_base = DebianBase(
            name=profile.base.name,
            suite=done.suite,
            digest=done.digest,
            diff_id=done.diff_id,
            packages=dict(done.packages),
        )
        return debian_base, DEBIAN_PYTHON[done.suite], {}
    reference = base_reference(profile)
    probed = probe(bench.registries.repository(reference), reference.digest or reference.tag or "latest", platform)
    base = RegistryBase(
        name=profile.base.name,
        index_digest=probed.index_digest,
        digest=probed.digest,
        media_type=probed.media_type,
        size=probed.size,
        facts=dict(probed.facts),
    )
    table = bases.facts_of(profile, platform)
    owned = dict.fromkeys(OWNED, "") if profile.base.repository == bases.repository() else {}
    for name, fact in OWNED.items():
        if fact and name in owned:
            owned[name] = probed.facts.get(fact, "")
    return base, python_minor(probed.facts, table.python.value), owned


def changes(old: Lock | None, new: Lock) -> list[str]:
    """What differs between two locks of a profile, one line each; empty when nothing that matters does."""
    if old is None:
        return [f"{new.profile}: not locked yet"]
    lines = []
    for platform in sorted({*old.bases, *new.bases}):
        before, after = old.bases.get(platform), new.bases.get(platform)
        if before is None or after is None:
            lines.append(f"{platform}: {'added' if before is None else 'removed'}")
            continue
        lines += base_changes(platform, before, after)
        lines += wheel_changes(platform, old.wheels.get(platform, ()), new.wheels.get(platform, ()))
    return lines


def base_changes(platform: str, old: RegistryBase | DebianBase, new: RegistryBase | DebianBase) -> list[str]:
    """The base's part of `changes`."""
    if old.digest == new.digest and old.name == new.name:
        return []
    if old.kind == "debian" and new.kind == "debian":
        from images.bases import debian

        return [f"{platform}: Debian packages: {debian.drift(old.packages, new.packages)}"]
    lines = [f"{platform}: base {old.name} {old.digest[:19]} -> {new.name} {new.digest[:19]}"]
    if old.kind == "registry" and new.kind == "registry":
        for key in sorted({*old.facts, *new.facts}):
            if old.facts.get(key) != new.facts.get(key):
                lines.append(f"{platform}: {key} {old.facts.get(key)} -> {new.facts.get(key)}")
    return lines


def wheel_changes(platform: str, old: Sequence[object], new: Sequence[object]) -> list[str]:
    """The wheels' part of `changes`."""
    before = {getattr(w, "name", ""): w for w in old}
    after = {getattr(w, "name", ""): w for w in new}
    lines = []
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if getattr(was, "sha256", None) != getattr(now, "sha256", None):
            shown = f"{getattr(was, 'version', 'absent')} -> {getattr(now, 'version', 'absent')}"
            lines.append(f"{platform}: wheel {name} {shown}")
    return lines
