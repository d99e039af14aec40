"""An image from one registry to another, blob by blob, without disk: GET here is PATCH there.

Nothing is unpacked and every digest stays. The upload's journal tells a new process the offset, and the download
begins there by Range, so a killed copy goes on in the middle of a blob.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.oci import media
from images.oci.manifest import Descriptor, Manifest, child_for
from images.oci.reference import checked_tag
from images.progress import Progress, Silent, size
from images.registry.parallel import run_all
from images.registry.push import Pushing, push_blobs, pushing, put_manifests, read_back, tags_stand
from images.registry.repository import Repository
from images.registry.source import BlobSource, RemoteBlob, total
from images.registry.upload import Chunking, PushedBlob


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a copy will move: blobs and bytes of the image, and those the target lacks."""

    digest: str
    blobs: int
    size: int  # bytes
    missing_blobs: int
    missing_size: int  # bytes

    def __str__(self) -> str:
        return f"{self.missing_blobs} of {self.blobs} blobs, {size(self.missing_size)} of {size(self.size)} to copy"


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What a copy did. bytes_sent: of blobs; seconds: from the first request to the last."""

    digest: str
    tags: tuple[str, ...]
    estimate: Estimate
    bytes_sent: int
    blobs: list[PushedBlob]
    seconds: float


@dataclass(frozen=True)
class Tree:
    """An image as it lies at the source: what gets the tags, what must be there before, and all blobs."""

    top: Manifest
    children: list[Manifest]
    blobs: list[Descriptor]


def copy_image(
    source: Repository,
    reference: str | None,
    target: Repository,
    tags: Sequence[str],
    platform: str | None = "linux/amd64",
    *,
    jobs: int = 4,
    journal_dir: Path | None = None,
    progress: Progress | None = None,
    dry_run: bool = False,
    force: bool = False,
    chunking: Chunking | None = None,
) -> CopyResult:
    """Copies the image at a tag or digest of `source` (None: its own reference).

    platform: only that child of an index, which then stands alone at the target; None copies the whole index.
    dry_run: only the estimate. Raises what push_image raises.
    """
    started = time.monotonic()
    how = pushing(journal_dir, progress or Silent(), jobs, None, force, chunking)
    tags = tuple(dict.fromkeys(map(checked_tag, tags)))
    near = source.same_registry(target)
    target = target.for_push([source.name] if near else ())
    tree = read_tree(source, reference, platform)
    standing = bool(tags) and tags_stand(target, tags, tree.top.digest, force or dry_run)
    missing = [] if standing else missing_blobs(target, tree.blobs, how)
    estimate = Estimate(tree.top.digest, len(tree.blobs), total(tree.blobs), len(missing), total(missing))
    how.progress.say(f"{source} -> {target}: {estimate}")
    if dry_run or standing:
        return CopyResult(tree.top.digest, tags, estimate, 0, [], time.monotonic() - started)
    plans: dict[str, tuple[Descriptor, BlobSource | None, str]] = {
        blob.digest: (blob, RemoteBlob(source, blob), source.name if near else "") for blob in missing
    }
    lacking = {blob.digest for blob in missing}
    blobs = [PushedBlob(blob.digest, "exists") for blob in tree.blobs if blob.digest not in lacking]
    blobs += push_blobs(plans, target, how)
    put_manifests(target, tree.children, tree.top, tags)
    read_back(target, tags or (tree.top.digest,), tree.top.digest)
    sent = sum(blob.bytes_sent for blob in blobs)
    return CopyResult(tree.top.digest, tags, estimate, sent, blobs, time.monotonic() - started)


def read_tree(source: Repository, reference: str | None, platform: str | None) -> Tree:
    """All manifests of the image, verified, and the blobs they name, each once."""
    top = source.manifest(reference)
    if top.is_index and platform is not None:
        top = source.manifest(child_for(top, platform).digest)
    children: list[Manifest] = []
    leaves = [top]
    if top.is_index:
        collect(source, top, children)
        leaves = [child for child in children if not child.is_index]
    blobs: dict[str, Descriptor] = {}
    for leaf in leaves:
        for blob in (leaf.config, *leaf.layers):
            if not (media.foreign(blob.media_type) and blob.extra.get("urls")):
                blobs.setdefault(blob.digest, blob)
    return Tree(top, children, list(blobs.values()))


def collect(source: Repository, index: Manifest, into: list[Manifest], depth: int = 0) -> None:
    """The children of an index, deepest first, attestations included: the index must list only what exists."""
    for child in index.children:
        manifest = source.manifest(child.digest)
        if manifest.is_index and depth < 3:
            collect(source, manifest, into, depth + 1)
        into.append(manifest)


def missing_blobs(target: Repository, blobs: Sequence[Descriptor], how: Pushing) -> list[Descriptor]:
    """The blobs that the target lacks, asked in parallel."""

    def ask(blob: Descriptor) -> Callable[[Callable[[], bool]], bool]:
        return lambda stopped: target.has_blob(blob.digest)

    there = run_all([ask(blob) for blob in blobs], how.jobs * 2, how.progress)
    return [blob for blob, has in zip(blobs, there, strict=True) if not has]
