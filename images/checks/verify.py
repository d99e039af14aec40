"""Read an image back from its registry and check everything that was promised about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from images.checks import content, promises, sbom, sign
from images.checks.report import Report
from images.checks.subject import Subject, remote
from images.oci import media
from images.oci.manifest import Descriptor, Manifest
from images.progress import size
from images.registry import errors
from images.workbench import Workbench
from profiles.errors import StokerError

if TYPE_CHECKING:
    from images.registry.repository import Repository
    from profiles.schema import Profile


def verify_image(bench: Workbench, ref: str, key: str | None = None, *, deep: bool = False) -> Report:
    """All checks of one image, or of every image of an index.

    key: path of a public key that must have signed it; deep: read the base's layers too, instead of asking only for
    their presence and size. Raises Missing or WrongInput when there is nothing to check, OutsideFailed for a registry
    that does not answer, WrongInput for a key that cannot be used.
    """
    if key is not None:
        from images.checks.keys import public_key

        public_key(Path(key))  # a wrong key is told before a long read
    repository = bench.registries.repository(ref)
    report = Report(ref)
    top = manifest_of(repository, report)
    if top is None:
        return report
    report.digest = top.digest
    if not top.is_index:
        examine(bench, repository, top, report, "", key, deep)
        return report
    report.settle("index", promises.index_faults(top), f"{len(top.children)} manifests")
    for child in top.children:
        platform = child.extra.get("platform") or {}
        if child.extra.get("artifactType") or platform.get("os") == "unknown":
            continue  # attestations are no images
        prefix = f"{platform.get('os')}/{platform.get('architecture')}: "
        manifest = manifest_of(repository, report, child.digest, prefix)
        if manifest is not None:
            examine(bench, repository, manifest, report, prefix, key, deep)
    return report


def manifest_of(repository: Repository, report: Report, target: str | None = None, prefix: str = "") -> Manifest | None:
    """The manifest at the tag, at its own digest and in the server's header: all three must agree."""
    check = f"{prefix}manifest"
    try:
        found = repository.manifest(target)
        head = repository.head(target)
        again = repository.manifest(found.digest)
    except errors.DigestMismatch as mismatch:
        report.failed(check, mismatch.what)
        return None
    except errors.Missing as missing:
        if target is None and not report.digest:
            raise
        report.failed(check, missing.what)
        return None
    if head is None or head.digest != found.digest or again.raw != found.raw:
        report.failed(check, f"the tag answers {head.digest if head else 'nothing'}, its content is {found.digest}")
        return None
    report.passed(check, found.digest)
    return found


def examine(
    bench: Workbench,
    repository: Repository,
    manifest: Manifest,
    report: Report,
    prefix: str,
    key: str | None,
    deep: bool,
) -> None:
    """Every check of one image; what it promises first, what it holds after."""
    report.settle(f"{prefix}media types", promises.media_faults(manifest), manifest.family.name)
    try:
        subject = remote(repository, report.ref, manifest, bench.store)
        labels = subject.labels
    except StokerError as failed:
        report.failed(f"{prefix}config", failed.what)
        return
    report.passed(f"{prefix}config", manifest.config.digest)
    report.settle(f"{prefix}history", promises.history_faults(subject))
    tag = None if prefix else repository.reference.tag  # the tag of an index is its first image's, or the user's own
    report.settle(f"{prefix}labels", promises.label_faults(subject, tag), promises.label_detail(subject, tag))
    report.settle(f"{prefix}created", promises.created_faults(subject, bench.root))
    report.settle(f"{prefix}entrypoint", promises.entrypoint_faults(subject))
    found = contents(bench, repository, subject, report, prefix, deep)
    profile = profile_of(labels.get("stoker.profile", ""))
    volume = found.volume or (profile.volume or "" if profile else "")
    workdir = str(subject.settings.get("WorkingDir") or "/")
    report.settle(
        f"{prefix}workdir", promises.workdir_faults(workdir, subject.settings.get("Volumes"), volume), workdir
    )
    budget(subject, profile, report, prefix)
    report.settle(f"{prefix}sbom", *sbom.faults(repository, manifest.digest, labels.get("stoker.plan", "")))
    if key is not None:
        report.settle(f"{prefix}signature", sign.faults(repository, manifest.digest, Path(key)), f"by {Path(key).name}")


def contents(
    bench: Workbench, repository: Repository, subject: Subject, report: Report, prefix: str, deep: bool
) -> content.Found:
    """Blobs, diff_ids, paths and secrets: our layers are read whole, the base's are asked for."""
    own = subject.own
    if own is None:
        why = "neither the history nor a known base tells which layers are ours: their content is not looked at"
        report.note(f"{prefix}own layers", why)
    mine = {one.index for one in own or ()}
    wanted = [layer for index, layer in enumerate(subject.manifest.layers) if index not in mine]
    found = content.Found()
    for one in own or ():
        with bench.progress.meter(f"reading {one.name}", one.descriptor.size) as meter:
            content.read_layer(subject, one, found, meter)
    for layer in wanted:
        found.blobs += base_faults(repository, layer, deep or own is None)
    whole = list(subject.manifest.layers) if deep or own is None else [one.descriptor for one in own]
    read = f"{len(whole)} read ({size(sum(one.size for one in whole))})"
    asked = len(subject.manifest.layers) - len(whole)
    report.settle(f"{prefix}blobs", found.blobs, f"{read}, {asked} of the base asked for" if asked else read)
    if own is None:
        report.settle(f"{prefix}secrets", content.told_secrets(subject), "config, labels and history only")
        return found
    report.settle(f"{prefix}diff_ids", found.diff_ids, f"{len(own)} layers unpacked")
    report.settle(f"{prefix}paths", [*found.paths, *content.lacking(subject, found)], f"{found.files} files")
    report.settle(f"{prefix}secrets", [*found.secrets, *content.told_secrets(subject)])
    return found


def base_faults(repository: Repository, layer: Descriptor, deep: bool) -> list[str]:
    """What is wrong with a layer that is not ours: with `deep` by its bytes, else by presence and size."""
    if media.foreign(layer.media_type) and layer.extra.get("urls"):
        return []  # it lies where its urls say (image-spec layer.md)
    short = layer.digest[:19]
    try:
        if deep:
            for _ in repository.stream(layer):
                pass
            return []
        path = f"blobs/{layer.digest}"
        with repository.request("HEAD", path, accept=(404,), digest=layer.digest) as response:
            if response.status == 404:
                return [f"the base's layer {short} is not in the registry"]
            length = response.length
    except StokerError as failed:
        return [f"the base's layer {short}: {failed.what}"]
    if length is not None and length != layer.size:
        return [f"the base's layer {short} has {length} bytes in the registry, {layer.size} in the manifest"]
    return []


def profile_of(name: str) -> Profile | None:
    """The profile an image names, where this checkout has it."""
    from profiles.load import load

    try:
        return load(name) if name else None
    except StokerError:
        return None


def budget(subject: Subject, profile: Profile | None, report: Report, prefix: str) -> None:
    """Our layers against the profile's size budget."""
    check, own = f"{prefix}size budget", subject.own
    if profile is None or own is None:
        return report.note(check, "its profile is not here" if own is not None else "our layers are not known")
    total, limit = sum(one.descriptor.size for one in own), profile.size_budget_mb * 1_000_000
    faults = [f"our layers weigh {size(total)}, the budget is {size(limit)}"] if total > limit else []
    return report.settle(check, faults, f"{size(total)} of {size(limit)}")
