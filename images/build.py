"""Build a profile: lock, base, plan, image. The one road both builders, `render`, `push` and `smoke` take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from images.bases.base import BaseImage, load
from images.builders.image import Image, keep
from images.layers.sources import Sources
from images.locks import pip
from images.locks.lock import Locked, base_reference, locked_for
from images.plan import Base, ImagePlan
from images.resolve import resolve
from images.workbench import Workbench
from profiles.errors import CheckFailed, WrongInput

if TYPE_CHECKING:
    from images.layers.blob import LayerBlob
    from images.registry.repository import Repository
    from profiles.schema import Profile


@dataclass(frozen=True)
class Resolved:
    """A plan with all that is needed to carry it out."""

    profile: Profile
    plan: ImagePlan
    base: BaseImage
    sources: Sources
    locked: Locked
    bench: Workbench

    def fetch_wheels(self) -> Mapping[str, Path]:
        """filename -> path of every wheel; downloads what this machine lacks."""
        from images.locks.fetch import fetch

        target = pip.Target(self.plan.base.python, self.plan.platform)
        return fetch(
            self.locked.pins, target, self.profile.python.indexes, self.bench.store.wheels, self.bench.progress
        )


def resolve_profile(
    bench: Workbench,
    name: str | Profile,
    *,
    platform: str | None = None,
    base_tag: str | None = None,
    compression: str = "",
    must_be_locked: bool = False,
) -> Resolved:
    """Everything decided for one profile and platform.

    name: of a profile, or one that is loaded already (then with its base_tag).
    Raises WrongInput for a wrong profile, CheckFailed when `must_be_locked` and the lock is missing, stale or drifted.
    """
    from profiles.load import load as load_profile

    profile = load_profile(name, base_tag=base_tag) if isinstance(name, str) else name
    chosen = platform or profile.platforms[0]
    packed = compression or bench.settings.get("compression") or "gzip"
    if packed not in ("gzip", "zstd"):
        raise WrongInput(f"unknown compression {packed!r}", "choose gzip or zstd")
    locked = locked_for(bench, profile, chosen, must_be_locked)
    base, image = base_of(bench, profile, locked, chosen, must_be_locked)
    entrypoint = (image.config_json.get("config") or {}).get("Entrypoint") or []
    plan, sources = resolve(
        profile,
        bench.checkout,
        base,
        entrypoint,
        locked.pins,
        version=bench.version,
        platform=chosen,
        compression="zstd" if packed == "zstd" else "gzip",
        driver=locked.driver,
    )
    return Resolved(profile, plan, image, sources, locked, bench)


def base_of(
    bench: Workbench, profile: Profile, locked: Locked, platform: str, must_be_locked: bool
) -> tuple[Base, BaseImage]:
    """The plan's base, read from the store or the registry; a Debian base is bootstrapped when it is not there yet."""
    if profile.base.debian is not None:
        base = debian_base(bench, profile, locked, platform, must_be_locked)
        return base, load(base, bench.store, None)
    if locked.digest is None:
        raise CheckFailed(f"the lock of {profile.name} has no {platform}", f"./inv lock --profile {profile.name}")
    base = Base(
        name=profile.base.name,
        digest=locked.digest,
        kind="registry",
        index_digest=locked.index_digest,
        python=locked.python,
        site_packages=f"usr/local/lib/python{locked.python}/dist-packages",
    )
    return base, load(base, bench.store, bench.registries.repository(base_reference(profile)))


def debian_base(bench: Workbench, profile: Profile, locked: Locked, platform: str, must_be_locked: bool) -> Base:
    """The bootstrapped base, and a word about drift: Debian's mirrors move on, and then so do the bytes."""
    from images.bases import debian

    suite = profile.base.debian or ""
    own = f"linux/{debian.architecture()}"
    if platform != own:
        raise WrongInput(f"a Debian base for {platform} cannot be bootstrapped on {own}", f"build it on {platform}")
    packages = tuple(profile.base.packages)
    done = debian.recall(suite, packages, bench.store)
    if done is None:
        done = debian.bootstrap(suite, packages, bench.store, bench.progress)
    if locked.digest not in (None, done.digest):
        drifted = debian.drift(locked.packages, done.packages)
        what = f"Debian {suite} has moved on since the lock of {profile.name}: {drifted}"
        if must_be_locked:
            raise CheckFailed(what, f"./inv lock --profile {profile.name}, and commit the lock")
        bench.progress.say(f"note: {what}; the digest will differ from the locked one")
    return Base(
        name=f"debian:{suite}",
        digest=done.digest,
        kind="debian",
        python=locked.python,
        site_packages=f"usr/local/lib/python{locked.python}/dist-packages",
    )


def build(resolved: Resolved, target: Repository | None = None, complete: bool = False) -> Image:
    """Carry out the plan by the append builder and keep the image in the store.

    target: where the image will go; a foundation is looked for there, and shared there; layers of wheels that the lock
    pins and the target has are not made, unless `complete`. Raises CheckFailed when our
    own layers are heavier than the profile's budget, OutsideFailed: full disk, package index, engine.
    """
    from images.builders.append import append, family_of
    from images.locks.pinned import finder

    bench, plan = resolved.bench, resolved.plan
    foundation: Sequence[LayerBlob] = ()
    if plan.foundation is not None:
        from images.builders.shared_foundation import layers

        foundation = layers(plan, resolved.base, family_of(plan, resolved.base), bench, target)
    image = append(
        plan,
        resolved.base,
        resolved.sources,
        resolved.fetch_wheels,
        bench.store,
        bench.progress,
        foundation,
        finder(resolved, None if complete else target),
    )
    within_budget(resolved.profile, image, resolved.base)
    keep(image)
    return image


def within_budget(profile: Profile, image: Image, base: BaseImage) -> None:
    """Our own layers against the profile's budget. Raises CheckFailed naming the heaviest."""
    inherited = {layer.digest for layer in base.manifest.layers}
    own = [layer for layer in image.manifest.layers if layer.digest not in inherited]
    total = sum(layer.size for layer in own)
    if total > profile.size_budget_mb * 1_000_000:
        from images.progress import size

        raise CheckFailed(
            f"the layers of {profile.name} weigh {size(total)}, its budget is {profile.size_budget_mb} MB",
            "remove requirements, or raise size_budget_mb in the profile (./inv diff shows what grew)",
        )
    if profile.volume and any(
        one.target.startswith(profile.volume.lstrip("/") + "/") for layer in image.plan.layers for one in layer.files
    ):
        raise CheckFailed(f"files below {profile.volume} would be hidden by the volume", "bake them under /opt/stoker")
