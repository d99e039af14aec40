"""An image into a registry: blobs in parallel, then manifests, then tags, then a look at what is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from images.oci import media
from images.oci.manifest import Descriptor, Manifest
from images.oci.reference import checked_tag
from images.progress import Progress, Silent
from images.registry import errors
from images.registry.journal import Journal
from images.registry.parallel import run_all
from images.registry.record import Record
from images.registry.repository import Repository
from images.registry.source import BlobSource, BytesBlob, RemoteBlob
from images.registry.upload import Chunking, PushedBlob, push_blob
from profiles.errors import Refused, WrongInput

BLOB_UNKNOWN = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})


class PushImage(Protocol):
    """What is pushed: own blobs are local, the others are at the base."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def config(self) -> bytes: ...

    @property
    def base(self) -> Repository | None:
        """Where the layers that are not local can be mounted or streamed from."""

    def blob(self, digest: str) -> BlobSource | None:
        """An own layer; None for the base's."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did. bytes_sent: of blobs; seconds: from the first request to the last."""

    digest: str
    tags: tuple[str, ...]
    bytes_sent: int
    blobs: list[PushedBlob]
    seconds: float


@dataclass(frozen=True)
class Pushing:
    """How to push: shared by push_image, push_index and copy_image.

    jobs: blobs at a time (ggcr 4, Cog 5); record: None asks for every blob; force: moves a tag that has another digest.
    """

    journal: Journal | None = None
    progress: Progress = field(default_factory=Silent)
    jobs: int = 4
    record: Record | None = None
    force: bool = False
    chunking: Chunking = field(default_factory=Chunking)


def push_image(
    image: PushImage,
    target: Repository,
    tags: Sequence[str],
    *,
    journal_dir: Path | None = None,
    progress: Progress | None = None,
    jobs: int = 4,
    record: Record | None = None,
    force: bool = False,
    chunking: Chunking | None = None,
) -> PushResult:
    """Pushes one image and returns what it took; nothing is sent when all tags have the digest already.

    Raises Refused when a tag has another digest and not `force`; DigestMismatch when the registry stored or serves
    something else; the errors of images.registry.errors; StoppedEarly after Ctrl-C.
    """
    how = pushing(journal_dir, progress, jobs, record, force, chunking)
    return push_all([image], image.manifest, target, tags, how)


def push_index(
    images: Sequence[PushImage],
    index: Manifest,
    target: Repository,
    tags: Sequence[str],
    *,
    journal_dir: Path | None = None,
    progress: Progress | None = None,
    jobs: int = 4,
    record: Record | None = None,
    force: bool = False,
    chunking: Chunking | None = None,
) -> PushResult:
    """Pushes a multi-arch image: children before the index, the index before its tags. As push_image else.

    Raises WrongInput if the index lists something that is not among `images`.
    """
    have = {image.manifest.digest for image in images}
    if strange := [child.digest for child in index.children if child.digest not in have]:
        raise WrongInput(f"the index lists {strange[0]}, which is not being pushed", "give all of its images")
    how = pushing(journal_dir, progress, jobs, record, force, chunking)
    return push_all(images, index, target, tags, how)


def pushing(
    journal_dir: Path | None,
    progress: Progress | None,
    jobs: int,
    record: Record | None,
    force: bool,
    chunking: Chunking | None,
) -> Pushing:
    journal = Journal(journal_dir) if journal_dir is not None else None
    return Pushing(journal, progress or Silent(), jobs, record, force, chunking or Chunking())


def push_all(
    images: Sequence[PushImage], top: Manifest, target: Repository, tags: Sequence[str], how: Pushing
) -> PushResult:
    started = time.monotonic()
    tags = tuple(dict.fromkeys(map(checked_tag, tags)))
    neighbours = [i.base.name for i in images if i.base is not None and i.base.same_registry(target)]
    target = target.for_push(tuple(dict.fromkeys(neighbours)))
    if tags and tags_stand(target, tags, top.digest, how.force):
        return PushResult(top.digest, tags, 0, [], time.monotonic() - started)
    plans = sources_of(images, target)
    children = [image.manifest for image in images if image.manifest.digest != top.digest]
    blobs = push_blobs(plans, target, how)
    try:
        put_manifests(target, children, top, tags)
    except errors.RegistryError as failure:
        if how.record is None or not BLOB_UNKNOWN & set(failure.codes):
            raise
        how.progress.say(f"{target} no longer has a blob it had: asking for all of them")
        how.record.drop(target.transport.host, target.name)
        blobs = merged(blobs, push_blobs(plans, target, how))
        put_manifests(target, children, top, tags)
    read_back(target, tags or (top.digest,), top.digest)
    if how.record is not None:
        how.record.add(target.transport.host, target.name, [blob.digest for blob in blobs])
    sent = sum(blob.bytes_sent for blob in blobs)
    return PushResult(top.digest, tags, sent, blobs, time.monotonic() - started)


def tags_stand(target: Repository, tags: Iterable[str], digest: str, force: bool) -> bool:
    """Whether all tags have the digest. Raises Refused for one that has another."""
    standing = True
    for tag in tags:
        found = target.head(tag)
        standing = standing and found is not None and found.digest == digest
        if found is not None and found.digest != digest and not force:
            raise Refused(
                f"{target}:{tag} exists with another digest ({found.digest[:19]}..., new is {digest[:19]}...)",
                "use another version or tag, or --force to overwrite it",
            )
    return standing


def sources_of(images: Sequence[PushImage], target: Repository) -> dict[str, tuple[Descriptor, BlobSource | None, str]]:
    """Per digest: descriptor, where its bytes are (None: nowhere but, perhaps, at the target), where to mount from."""
    plans: dict[str, tuple[Descriptor, BlobSource | None, str]] = {}
    for image in images:
        config = image.manifest.config
        plans[config.digest] = (config, BytesBlob(image.config, config), "")
        for layer in image.manifest.layers:
            if media.foreign(layer.media_type) and layer.extra.get("urls"):
                continue  # it stays where its urls say (image-spec layer.md)
            source, mount = image.blob(layer.digest), ""
            if source is None and image.base is not None:
                source = RemoteBlob(image.base, layer)
                mount = image.base.name if image.base.same_registry(target) else ""
            plans[layer.digest] = (layer, source, mount)
    return plans


def push_blobs(
    plans: Mapping[str, tuple[Descriptor, BlobSource | None, str]], target: Repository, how: Pushing
) -> list[PushedBlob]:
    """All blobs, the biggest first, so that the last worker is not left alone with it."""
    known = how.record.known(target.transport.host, target.name) if how.record is not None else frozenset()
    blobs = [PushedBlob(digest, "known") for digest in plans if digest in known]
    rest = sorted((p for d, p in plans.items() if d not in known), key=lambda p: -p[0].size)

    def work(plan: tuple[Descriptor, BlobSource | None, str]) -> Callable[[Callable[[], bool]], PushedBlob]:
        descriptor, source, mount = plan

        def run(stopped: Callable[[], bool]) -> PushedBlob:
            if source is None:
                return present(target, descriptor)
            return push_blob(
                target,
                source,
                mount_from=[mount] if mount else [],
                journal=how.journal,
                progress=how.progress,
                chunking=how.chunking,
                stopped=stopped,
            )

        return run

    return blobs + run_all([work(plan) for plan in rest], how.jobs, how.progress)


def present(target: Repository, descriptor: Descriptor) -> PushedBlob:
    """A layer that is not local and has no base to come from must be at the target. Raises Missing."""
    if target.has_blob(descriptor.digest):
        return PushedBlob(descriptor.digest, "exists")
    raise errors.Missing(
        f"layer {descriptor.digest} is neither on this machine nor in {target}", "build the image again", status=404
    )


def put_manifests(target: Repository, children: Sequence[Manifest], top: Manifest, tags: Sequence[str]) -> None:
    for child in children:
        target.put_manifest(child.digest, child)
    for name in tags or (top.digest,):
        target.put_manifest(name, top)


def read_back(target: Repository, names: Iterable[str], digest: str) -> None:
    """Someone else may have moved the tag meanwhile, or the registry may lie. Raises DigestMismatch."""
    for name in names:
        found = target.head(name)
        if found is None or found.digest != digest:
            raise errors.DigestMismatch(
                f"{target}:{name} reads back as {found.digest if found else 'nothing'}, pushed was {digest}",
                "someone else pushed the tag meanwhile, or the registry is broken: look before you push again",
                digest=digest,
            )


def merged(first: Sequence[PushedBlob], second: Sequence[PushedBlob]) -> list[PushedBlob]:
    """Two rounds as one list: what was sent counts from both."""
    before = {blob.digest: blob for blob in first}
    return [before[blob.digest] if blob.how == "exists" and before[blob.digest].bytes_sent else blob for blob in second]
