"""Making images: locks, builds, pushes, copies, and room for more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.program import task
from tasks.words import DRY, JSON, PROFILE
from tasks.workbench import bench, default, one_or_more

if TYPE_CHECKING:
    from invoke.context import Context


@task(
    "Images",
    iterable=["profile"],
    help={
        "profile": PROFILE + " Several: give it again.",
        "all": "Every shipped profile.",
        "check": "Change nothing; exit 1 when something has drifted.",
        "base-packages": "`pip list --format=json` of the base: its packages are then left out exactly.",
        "json": JSON,
    },
)
def lock(
    c: Context,
    profile: list[str],
    all: bool = False,
    check: bool = False,
    base_packages: str = "",
    json: bool = False,
) -> None:
    """Pin base digests, base facts and wheels; --check says what has drifted."""
    from cli import show as shown
    from images.locks.relock import relock
    from profiles.load import names

    wanted = names() if all else one_or_more(profile, bench(json))
    shown.changes(relock(bench(json), wanted, check, base_packages), check, json)


@task(
    "Images",
    help={
        "profile": PROFILE,
        "out": "Folder to write the Dockerfile and its build context to.",
        "base-tag": "Another tag of the base, such as 24.10-py3.",
        "json": "Print the image plan.",
    },
)
def render(c: Context, profile: str = "", out: str = "", base_tag: str = "", json: bool = False) -> None:
    """The Dockerfile and build context; --json: the image plan."""
    from cli import show as shown
    from images.build import resolve_profile
    from images.builders.render import render_to, text

    work = bench(json)
    resolved = resolve_profile(work, profile or default(work), base_tag=base_tag or None)
    if out:
        render_to(resolved, Path(out))
    if json:
        return shown.document(resolved.plan.to_json())
    return shown.text(f"wrote {out}/Dockerfile and its context" if out else text(resolved))


@task(
    "Images",
    iterable=["profile"],
    help={
        "profile": PROFILE + " Several: give it again.",
        "builder": "append (no Docker needed) or buildkit.",
        "push": "Push when built.",
        "registry": "HOST[:PORT]/NAME to push to.",
        "base-tag": "Another tag of the base, such as 24.10-py3.",
        "compression": "gzip or zstd.",
        "locked": "Refuse to build when the lock is missing, stale or drifted.",
        "load": "Also load the image into the local Docker engine.",
        "allow-dirty": "Push although the checkout differs from its commit.",
        "force": "Push over an existing tag with another digest.",
        "sign": "PEM or cosign private key to sign with, after pushing.",
        "dry-run": DRY,
        "json": JSON,
    },
)
def build(
    c: Context,
    profile: list[str],
    builder: str = "",
    push: bool = False,
    registry: str = "",
    base_tag: str = "",
    compression: str = "",
    locked: bool = False,
    load: bool = False,
    allow_dirty: bool = False,
    force: bool = False,
    sign: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build images from profiles (--push: and push them)."""
    from cli import show as shown
    from images.publish import Wish, build_all

    work = bench(json, builder=builder, registry=registry, compression=compression)
    wish = Wish(base_tag or None, locked, push, load, allow_dirty, force, sign or None, dry_run)
    shown.built(build_all(work, one_or_more(profile, work), wish), json)


@task(
    "Images",
    iterable=["profile"],
    help={
        "profile": PROFILE + " Several: give it again.",
        "registry": "HOST[:PORT]/NAME to push to.",
        "allow-dirty": "Push although the checkout differs from its commit.",
        "force": "Push over an existing tag with another digest.",
        "sign": "PEM or cosign private key to sign with.",
        "dry-run": DRY,
        "json": JSON,
    },
)
def push(
    c: Context,
    profile: list[str],
    registry: str = "",
    base_tag: str = "",
    allow_dirty: bool = False,
    force: bool = False,
    sign: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build what has changed, and push it."""
    from cli import show as shown
    from images.publish import Wish, build_all

    work = bench(json, registry=registry)
    wish = Wish(base_tag or None, False, True, False, allow_dirty, force, sign or None, dry_run)
    shown.built(build_all(work, one_or_more(profile, work), wish), json)


@task(
    "Images",
    positional=["source", "target"],
    help={
        "source": "Image to copy, such as nvcr.io/nvidia/pytorch:25.06-py3.",
        "target": "Where to, HOST[:PORT]/NAME[:TAG].",
        "platform": "One platform instead of all.",
        "yes": "Do not ask before a large copy.",
        "dry-run": "Only the estimate.",
        "json": JSON,
    },
)
def copy(
    c: Context,
    source: str,
    target: str,
    platform: str = "",
    yes: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Copy an image between registries, blob by blob, resumable."""
    from cli import show as shown
    from images.copying import copy_base

    shown.pairs(copy_base(bench(json), source, target, platform or None, yes, dry_run), json)


@task("Images", help={"json": JSON})
def images(c: Context, json: bool = False) -> None:
    """The images built here, newest first."""
    from cli import show as shown
    from images.checks.listing import listing

    shown.table(listing(bench(json).store), json)


@task(
    "Images",
    help={
        "days": "Keep what was used in the last N days.",
        "all": "Everything.",
        "engine": "Also in the local Docker engine: our images that are no longer kept here.",
        "dry-run": DRY,
        "json": JSON,
    },
)
def prune(
    c: Context, days: int = 14, all: bool = False, engine: bool = False, dry_run: bool = False, json: bool = False
) -> None:
    """Remove images, blobs and caches nobody needs."""
    from cli import show as shown
    from images.checks.prune import prune_store
    from images.checks.prune_engine import prune_engine
    from profiles.errors import WrongInput

    if days < 0:
        raise WrongInput(f"--days {days} lies in the future", "--days 14, or --all")
    work = bench(json)
    found = prune_store(work, 0 if all else days, dry_run)
    shown.pairs({**found, **(prune_engine(work, dry_run) if engine else {})}, json)
