"""One blob into one repository: have it, mount it, or send it; go on at the server's offset after any failure.

distribution-spec "Pushing blobs", "Mounting", "Pushing a blob in chunks". What servers do beyond it is noted where it
matters. Measured on Docker's registry 2.8.2: it keeps the bytes of a PATCH that was cut, but its signed upload state
says the offset before that PATCH, so it answers 404 BLOB_UPLOAD_INVALID and forgets the whole upload
(registry/handlers/blobupload.go, "upload resumed at wrong offest"). There a blob survives a stop between two chunks,
not within one; on servers that keep to the specification it goes on at the very byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

from images.progress import Meter, Progress, Silent
from images.registry import errors
from images.registry.journal import Journal, Slot
from images.registry.repository import Repository
from images.registry.session import Session
from images.registry.source import BlobSource

# bytes. What a lost connection costs where a chunk cannot be continued; far below the body limits of CDNs, and large
# enough that the round trip between two chunks does not show (replicate/cog pkg/registry/config.go uses 96 MiB).
CHUNK = 32 << 20
ONE_SHOT = 8 << 20
NO_JOURNAL = 1 << 20  # bytes below which sending again is cheaper than keeping books
How = Literal["known", "exists", "mounted", "uploaded", "resumed"]


@dataclass(frozen=True, slots=True)
class PushedBlob:
    """How a blob came to be where it is, and the bytes of it that were sent by this process."""

    digest: str
    how: How
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True)
class Chunking:
    """chunk: bytes per PATCH; one_shot: up to this size a blob goes as one PUT, with the fewest round trips."""

    chunk: int = CHUNK
    one_shot: int = ONE_SHOT


def push_blob(
    repository: Repository,
    source: BlobSource,
    *,
    mount_from: Sequence[str] = (),
    journal: Journal | None = None,
    progress: Progress | None = None,
    chunking: Chunking | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> PushedBlob:
    """Makes sure that `repository` has the blob.

    mount_from: repository names at the same registry that may have it; stopped: asked between chunks, True ends with
    Interrupted and keeps the journal. Raises DigestMismatch, LoginNeeded, RegistryError, Interrupted.
    """
    repository = repository.for_push(mount_from)
    progress, chunking = progress or Silent(), chunking or Chunking()
    digest, size = source.descriptor.digest, source.descriptor.size
    label = f"layer {digest[7:19]}"
    if journal is None or size < NO_JOURNAL:
        return have_or_send(repository, source, mount_from, None, progress, label, chunking, stopped)
    registry = repository.transport.host

    def waiting() -> None:
        progress.say(f"{label}: another process is uploading it; waiting")

    with journal.hold(registry, repository.name, digest, waiting) as slot:
        return have_or_send(repository, source, mount_from, slot, progress, label, chunking, stopped)


def have_or_send(
    repository: Repository,
    source: BlobSource,
    mount_from: Sequence[str],
    slot: Slot | None,
    progress: Progress,
    label: str,
    chunking: Chunking,
    stopped: Callable[[], bool],
) -> PushedBlob:
    digest = source.descriptor.digest
    if repository.has_blob(digest):
        if slot is not None:
            slot.drop()
        return PushedBlob(digest, "exists")
    session = Session(repository, source, slot, chunking.chunk, stopped)
    resumed = session.recall()
    if not resumed and mount(session, mount_from, progress, label):
        return PushedBlob(digest, "mounted")
    shown = progress.meter(label, source.descriptor.size) if source.descriptor.size else nullcontext(Silent())
    with shown as meter:
        send(session, meter, chunking)
    return PushedBlob(digest, "resumed" if resumed else "uploaded", session.sent)


def mount(session: Session, mount_from: Sequence[str], progress: Progress, label: str) -> bool:
    """Whether the registry has linked the blob from a neighbour. A failed mount is not an error, only slower.

    ECR, GHCR and others refuse mounts with 401, 403 or 404 (containerd#14086, ggcr#1404): then it is sent.
    """
    repository, digest = session.repository, session.descriptor.digest
    for source in mount_from:
        if source == repository.name:
            continue
        path = f"blobs/uploads/?mount={digest}&from={source}"
        try:
            with repository.request("POST", path, body=b"", digest=digest, tries=2) as response:
                if response.status == 201:
                    return True
                if response.status == 202:  # not mounted, but an upload is open: use it
                    session.begin(response)
                    return False
        except errors.RegistryError as refused:
            progress.say(f"{label}: not mounted from {source} ({refused.status or 'no answer'}); sending it")
    return False


def send(session: Session, meter: Meter, chunking: Chunking) -> None:
    """Sends until the blob is there. Failures count per place: progress forgives the earlier ones."""
    policy, clock = session.repository.transport.policy, session.repository.transport.clock
    failures, chunked = 0, session.descriptor.size > chunking.one_shot
    while True:
        reached = session.offset
        try:
            if session.location is None:
                session.open()
            if chunked or session.offset:
                session.send_chunks(meter)
                session.finish()
            else:
                session.send_whole(meter)
            return
        except errors.RegistryError as failure:
            first = failure.status in (400, 416) and session.offset == 0 and failures > 0
            if chunked and first:
                chunked = False  # "no chunk support" (replicate/cog pkg/registry/registry_client.go)
                session.cancel()
            elif not (failure.temporary or session.may_recover(failure)):
                session.abandon(failure)
                raise
            failures = 1 if session.offset > reached else failures + 1
            if failures >= policy.tries:
                failure.attempt = failures
                raise
            delay = policy.delay(failures)
            meter.note(f"{failure.status or 'cut'} at byte {session.offset}, try {failures + 1} in {delay:.0f} s")
            clock.sleep(delay)
            if session.recover():
                return
