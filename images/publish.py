"""Build and push: the outcome of each image as a plain row that the tasks print."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from images.build import Resolved, build, resolve_profile
from images.builders.image import Image
from images.checkout import NO_COMMIT
from images.progress import size
from images.workbench import Workbench
from profiles.errors import OutsideFailed, Refused, WrongInput

if TYPE_CHECKING:
    from images.registry.push import PushResult
    from images.registry.repository import Repository

KILL_PROOF_FROM = 8_000_000  # bytes still to send; below, starting anew costs less than a child process


BUILDERS = ("append", "buildkit")
CHANGED = (
    "the checkout differs from its commit; this image could never be built again",
    "commit first, or push it all the same: --allow-dirty (the tag says -dirty)",
)
UNKNOWN_COMMIT = (
    "no commit is known (no git here, or no git checkout); nobody could tell what this image was built from",
    "install git and build from a clone, or push it all the same: --allow-dirty (the tag says -dirty)",
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for beyond the profile."""

    base_tag: str | None = None
    locked: bool = False
    push: bool = False
    load: bool = False
    allow_dirty: bool = False
    force: bool = False
    sign: str | None = None  # path of a private key
    dry_run: bool = False


def build_all(bench: Workbench, names: Sequence[str], wish: Wish) -> list[dict[str, Any]]:
    """Build (and push) each profile, all platforms of it. Refusals come before anything is built."""
    from profiles.load import load

    if (builder := bench.settings.get("builder") or "append") not in BUILDERS:
        raise WrongInput(f"unknown builder {builder!r}", f"choose {' or '.join(BUILDERS)}")
    if wish.push and not bench.settings.get("registry"):
        raise WrongInput("no registry to push to", "--registry HOST[:PORT]/NAME, or `registry:` in stoker.yaml")
    resolved = [
        [
            resolve_profile(bench, profile, platform=platform, must_be_locked=wish.locked)
            for platform in profile.platforms
        ]
        for profile in map(partial(load, base_tag=wish.base_tag), names)
    ]
    for group in resolved:
        refuse(group[0], wish)
    return [row for group in resolved for row in carry_out(bench, group, wish)]


def refuse(resolved: Resolved, wish: Wish) -> None:
    """A dirty tree is not pushed unless told: nobody could build that image again."""
    if wish.push and resolved.plan.dirty and not wish.allow_dirty and not wish.dry_run:
        raise Refused(
            *(UNKNOWN_COMMIT if resolved.bench.checkout.commit == NO_COMMIT else CHANGED),
        )
    if wish.sign:
        from images.checks.keys import private_key

        if not wish.push:
            raise WrongInput("--sign signs what is pushed, and nothing is", "add --push, or leave --sign out")
        private_key(Path(wish.sign))  # a wrong key must not be found after the image is in the registry, unsigned


def carry_out(bench: Workbench, group: Sequence[Resolved], wish: Wish) -> list[dict[str, Any]]:
    """One profile: its images, and the index over them when there are several platforms."""
    target = target_of(bench) if wish.push else None
    builder = bench.settings.get("builder") or "append"
    rows, done = [], []
    for resolved in group:
        started = time.monotonic()
        if wish.dry_run:
            rows.append(row_of_plan(resolved, target))
            continue
        if builder == "buildkit":
            rows.append(by_engine(bench, resolved, target, wish))
            continue
        image = build(resolved, target, complete=wish.load)
        row = row_of(image, resolved, time.monotonic() - started)
        if target is not None:
            row.update(publish(bench, image, resolved, target, wish))
        if wish.load:
            from images.builders.load import load_into_engine
            from images.builders.run_line import run_line

            row["loaded"] = load_into_engine(image, bench)
            row["run"] = run_line(resolved.profile, row["loaded"])
        rows.append(row)
        done.append(image)
    if len(done) > 1:
        from images.builders.index import publish_index

        rows.append(publish_index(bench, done, target, wish.force))
    return rows


def target_of(bench: Workbench) -> Repository:
    """The repository images are pushed to. Raises WrongInput when the setting names a tag."""
    from images.oci.reference import parse

    reference = parse(bench.settings["registry"])
    if reference.tag not in (None, "latest") or reference.digest:
        named = bench.settings["registry"]
        what = "names a tag" if "/" in named else "names no repository"
        raise WrongInput(f"{named} {what}", "give HOST[:PORT]/NAME: the tag comes from the plan")
    return bench.registries.repository(reference)


def row_of_plan(resolved: Resolved, target: Repository | None) -> dict[str, Any]:
    """What a dry run says."""
    plan = resolved.plan
    return {
        "tag": plan.tag,
        "dry_run": True,
        "base": f"{plan.base.name} {plan.base.digest}",
        "base_size": size(resolved.base.size),
        "layers": [f"{layer.name} ({len(layer.files) + len(layer.wheels)})" for layer in plan.layers],
        "push_to": f"{target.reference.registry}/{target.reference.repository}:{plan.tag}" if target else None,
    }


def row_of(image: Image, resolved: Resolved, seconds: float) -> dict[str, Any]:
    """What was built and what was reused."""
    inherited = {layer.digest for layer in resolved.base.manifest.layers}
    own = [layer for layer in image.manifest.layers if layer.digest not in inherited]
    names = [layer.name for layer in image.plan.layers]
    return {
        "tag": image.plan.tag,
        "digest": image.digest,
        "platform": image.plan.platform,
        "base": image.plan.base.name,
        "size": size(image.size),
        "own_size": size(sum(layer.size for layer in own)),
        "built": [name for name in names if name not in image.reused],
        "reused": list(image.reused),
        "seconds": round(seconds, 3),
    }


def publish(bench: Workbench, image: Image, resolved: Resolved, target: Repository, wish: Wish) -> dict[str, Any]:
    """Push the image, then its SBOM and signature, which name it by digest."""
    from images.checks.sbom import attach_to
    from images.registry.errors import DigestMismatch, RegistryError
    from images.registry.push import push_image
    from images.registry.record import Record

    if resolved.plan.base.kind == "registry":
        licence_notice(bench, resolved)
    record = Record(bench.store.record)

    def send() -> PushResult:
        return push_image(
            image,
            target,
            [image.plan.tag],
            journal_dir=bench.store.journal,
            record=record,
            progress=bench.progress,
            force=wish.force,
        )

    known = record.known(target.transport.host, target.name)
    waiting = sum(layer.size for layer in image.manifest.layers if layer.digest not in known)
    try:
        result = bench.kill_proof(send) if waiting >= KILL_PROOF_FROM else send()
    except RegistryError as failure:
        if isinstance(failure, DigestMismatch) or "DIGEST_INVALID" in failure.codes:
            drop_damaged(image)
        raise
    attach_to(target, image, resolved)
    if wish.sign:
        from images.checks.sign import sign_image

        sign_image(target, image.manifest.descriptor, Path(wish.sign))
    name = f"{target.reference.registry}/{target.reference.repository}"
    return {
        "pushed": f"{name}:{image.plan.tag}",
        "by_digest": f"{name}@{image.digest}",
        "bytes_sent": result.bytes_sent,
        "push_seconds": round(result.seconds, 3),
    }


def drop_damaged(image: Image) -> None:
    """A registry has found other bytes than the digest says. Raises OutsideFailed when the file here is to blame.

    It is removed, so that the next build makes the layer again; a push by itself never reads a layer twice.
    """
    from images.oci import digest as digests

    layout = image.store.layout
    for layer in image.manifest.layers:
        if not layout.has(layer.digest):
            continue
        with layout.open(layer.digest) as stream:
            found, _ = digests.of_stream(stream)
        if found != layer.digest:
            layout.blob_path(layer.digest).unlink(missing_ok=True)
            raise OutsideFailed(
                f"the layer {layer.digest[:19]}... was damaged on this machine's disk; it has been removed",
                "run the same command again: the layer is made anew",
            )


def by_engine(bench: Workbench, resolved: Resolved, target: Repository | None, wish: Wish) -> dict[str, Any]:
    """One image by BuildKit: the engine holds it, and pushes it when asked."""
    from images.builders.by_buildkit import build_by_buildkit
    from images.checks.sbom import attach_to

    started = time.monotonic()
    if target is not None:
        refuse_existing(target, resolved.plan.tag, wish.force)
        if resolved.plan.base.kind == "registry":
            licence_notice(bench, resolved)
    built = build_by_buildkit(resolved, push=target is not None)
    row: dict[str, Any] = {
        "tag": resolved.plan.tag,
        "builder": "buildkit",
        "image_id": built.image_id,
        "in_engine": list(built.names),
        "steps_cached": built.cached,
        "seconds": round(time.monotonic() - started, 3),
    }
    if target is not None and built.digest:
        manifest = target.manifest(built.digest)
        attach_to(target, Image(resolved.plan, manifest, target.blob(manifest.config), bench.store), resolved)
        if wish.sign:
            from images.checks.sign import sign_image

            sign_image(target, manifest.descriptor, Path(wish.sign))
        name = f"{target.reference.registry}/{target.reference.repository}"
        row.update(digest=built.digest, pushed=f"{name}:{resolved.plan.tag}", by_digest=f"{name}@{built.digest}")
    return row


def refuse_existing(target: Repository, tag: str, force: bool) -> None:
    """An engine's digest differs from build to build, so a tag that exists is left alone unless told otherwise."""
    if not force and (found := target.head(tag)) is not None:
        raise Refused(f"{target}:{tag} exists already ({found.digest[:19]}...)", "--force to push over it")


def licence_notice(bench: Workbench, resolved: Resolved) -> None:
    """NVIDIA's terms restrict redistribution of NGC images: said once, and recorded when."""
    if not resolved.plan.base.name.startswith("nvcr.io/"):
        return
    seen = bench.store.folder("notices") / "ngc-licence"
    if not seen.exists():
        bench.progress.say(
            "note: NGC images are under NVIDIA's Software License Agreement; push derived images to private "
            "repositories (docs/licence.md)"
        )
        seen.write_text(time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime()))
