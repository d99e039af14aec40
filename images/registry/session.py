"""An open upload: where the next byte goes, and what the server has acknowledged."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator

from images.progress import Meter
from images.registry import errors
from images.registry.auth import with_query
from images.registry.download import BUFFER
from images.registry.journal import Entry, Slot
from images.registry.repository import Repository
from images.registry.source import BlobSource, Reader
from images.registry.wire import Response, Stream

RANGE = re.compile(r"(?:bytes[= ])?0-(\d+)")
MAX_MARGIN = 64 << 10  # bytes to stay below OCI-Chunk-Max-Length (replicate/cog pkg/registry/config.go)
OCTETS = {"Content-Type": "application/octet-stream"}


class Sum:
    """The running digest of what is read in order; bytes read again are skipped, a gap ends it.

    After a resume in a new process the sent prefix is not read again only to hash it: the registry must check the
    whole blob against the digest of the closing PUT anyway (distribution-spec), and a base of 12 GB is read for
    seconds, not for free. So the local check covers what this process saw from byte 0, and that is all of it unless
    the process before was killed.
    """

    def __init__(self) -> None:
        self.state, self.reached = hashlib.sha256(), 0
        self.whole = True

    def update(self, offset: int, piece: memoryview) -> None:
        if offset > self.reached:
            self.whole = False
        if self.whole and offset + len(piece) > self.reached:
            fresh = piece[self.reached - offset :]
            self.state.update(fresh)
            self.reached += len(fresh)

    def digest(self, size: int) -> str | None:
        """The digest of all `size` bytes, None if not all were seen."""
        return "sha256:" + self.state.hexdigest() if self.whole and self.reached == size else None


class Session:
    """One blob on its way into one repository."""

    def __init__(
        self, repository: Repository, source: BlobSource, slot: Slot | None, chunk: int, stopped: Callable[[], bool]
    ) -> None:
        self.repository, self.source, self.slot, self.chunk, self.stopped = repository, source, slot, chunk, stopped
        self.descriptor = source.descriptor
        self.location: str | None = None
        self.offset = 0  # bytes the server has acknowledged
        self.sent = 0  # bytes of the blob put on the wire by this process
        self.shown = 0  # highest byte the meter has seen
        self.sum = Sum()
        self.smallest, self.largest = 0, 0  # the server's limits of a chunk, 0 for none
        self.reopened = False
        self.room = memoryview(bytearray(min(BUFFER, max(self.descriptor.size, 1))))
        self.reader: Reader | None = None
        self.read_to = -1  # offset at which `reader` stands

    # opening, finding again

    def open(self) -> None:
        """A new upload (POST)."""
        with self.repository.request("POST", "blobs/uploads/", body=b"", digest=self.descriptor.digest) as response:
            self.begin(response)

    def begin(self, response: Response) -> None:
        """Takes over the upload that a 202 has opened."""
        self.offset = 0
        self.smallest = number(response.header("oci-chunk-min-length"))
        self.largest = number(response.header("oci-chunk-max-length"))
        self.move(response)

    def move(self, response: Response) -> None:
        """Location may change with every answer: always the newest (distribution-spec)."""
        self.location = self.repository.transport.checked_location(response)
        self.keep()

    def keep(self) -> None:
        if self.slot is None or self.location is None:
            return
        transport, d = self.repository.transport, self.descriptor
        opened = transport.clock.now()
        entry = Entry(transport.host, self.repository.name, d.digest, d.size, self.location, self.offset, opened)
        self.slot.save(entry)

    def recall(self) -> bool:
        """Whether an earlier process' upload goes on."""
        entry = self.slot.load() if self.slot is not None else None
        if entry is None or (entry.digest, entry.size) != (self.descriptor.digest, self.descriptor.size):
            return False
        self.location, self.offset = entry.location, entry.offset
        self.ask()
        return self.offset > 0

    def ask(self) -> None:
        """Asks the server how far it is; its count rules, not ours. An upload it has forgotten begins anew."""
        if self.location is None:
            return
        try:
            with self.repository.request("GET", self.location, digest=self.descriptor.digest) as response:
                confirmed = self.confirmed(response.header("range"))
                if confirmed > self.descriptor.size:
                    raise errors.Missing("the upload holds more bytes than the blob has", status=404)
                self.offset = confirmed
                if response.header("location"):
                    self.move(response)
        except errors.RegistryError as failure:
            if failure.status in (0, 401, 403, 408, 429) or failure.status >= 500:
                raise
            self.forget()

    def confirmed(self, text: str | None) -> int:
        """Bytes the server has. `0-0` means none or one (distribution sends it for both): none, as we never send
        a first chunk of one byte."""
        match = RANGE.fullmatch(text.strip()) if text else None
        if match is None:
            return self.offset
        last = int(match[1])
        return last + 1 if last else 0

    def forget(self) -> None:
        self.location, self.offset = None, 0
        if self.slot is not None:
            self.slot.drop()

    def recover(self) -> bool:
        """After a failure: True if the blob is there after all, else the session stands where the server stands."""
        self.leave()
        if self.location is not None:
            self.ask()
        if self.location is None and self.repository.has_blob(self.descriptor.digest):
            self.done()
            return True
        return False

    def may_recover(self, failure: errors.RegistryError) -> bool:
        """Failures that asking or reopening can cure: a wrong offset, a forgotten upload, a bad transfer."""
        if isinstance(failure, errors.DigestMismatch):
            return False
        if failure.status in (404, 416) and self.location is not None:
            return True
        if failure.status == 400 and "DIGEST_INVALID" in failure.codes and not self.reopened:
            # Our bytes are right as far as we have seen them: something on the way changed them. Once more, from 0.
            local = self.sum.digest(self.descriptor.size)
            self.reopened = True
            self.cancel()
            return local in (None, self.descriptor.digest)
        return failure.status in (400, 416) and self.offset == 0 and not self.reopened

    def abandon(self, failure: errors.RegistryError) -> None:
        """After a failure for good: an upload that can never be finished is not kept."""
        self.leave()
        if isinstance(failure, errors.DigestMismatch) or failure.status in (400, 413):
            self.cancel()

    def cancel(self) -> None:
        """Tells the server to drop the upload; whether it does is its own affair."""
        if self.location is not None:
            try:
                self.repository.request("DELETE", self.location, tries=1).close()
            except errors.RegistryError:
                pass
        self.forget()

    # sending

    def send_whole(self, meter: Meter) -> None:
        """The whole blob as one PUT."""
        size = self.descriptor.size
        body = Stream(size, self.pieces(0, size, meter)) if size else b""
        self.put(body)

    def send_chunks(self, meter: Meter) -> None:
        """PATCH after PATCH up to the end. Content-Range is inclusive, without unit and total."""
        while self.offset < self.descriptor.size:
            if self.stopped():
                self.leave()
                raise errors.Interrupted(f"stopped at byte {self.offset} of {self.descriptor.digest}", "run it again")
            end = self.chunk_end()
            headers = OCTETS | {"Content-Range": f"{self.offset}-{end - 1}"}
            body = Stream(end - self.offset, self.pieces(self.offset, end, meter))
            with self.request("PATCH", headers, body) as response:
                stated = self.confirmed(response.header("range")) if response.header("range") else end
                self.offset = stated if stated <= end else end
                self.move(response)

    def chunk_end(self) -> int:
        length = max(self.chunk, self.smallest, 2)
        if self.largest:
            length = min(length, max(self.largest - MAX_MARGIN, self.largest // 2))
        return min(self.offset + length, self.descriptor.size)

    def finish(self) -> None:
        """The closing PUT, after our own digest has been compared."""
        local = self.sum.digest(self.descriptor.size)
        if local is not None and local != self.descriptor.digest:
            self.wrong_bytes(local)
        self.put(b"")

    def put(self, body: Stream | bytes) -> None:
        digest = self.descriptor.digest
        location = with_query(self.location or "", [("digest", digest)])
        with self.request("PUT", OCTETS, body, location) as response:
            stated = response.header("docker-content-digest")
        local = self.sum.digest(self.descriptor.size)
        if local is not None and local != digest:
            self.wrong_bytes(local)
        if stated and stated.startswith("sha256:") and stated != digest:
            raise errors.DigestMismatch(
                f"{self.repository}: the registry says it stored {stated}, sent was {digest}",
                "do not use this registry until its operator has explained it",
                digest=digest,
            )
        self.done()

    def request(self, method: str, headers: dict[str, str], body: Stream | bytes, url: str = "") -> Response:
        return self.repository.request(
            method,
            url or self.location or "",
            headers=headers,
            body=body,
            digest=self.descriptor.digest,
            offset=self.offset,
        )

    def pieces(self, start: int, end: int, meter: Meter) -> Iterator[memoryview]:
        """The bytes from `start` to `end`, in one reused buffer, hashed on their way."""
        if self.reader is None or self.read_to != start:
            self.leave()
            self.reader, self.read_to = self.source.open(start), start
        while self.read_to < end:
            count = self.reader.readinto(self.room[: min(len(self.room), end - self.read_to)])
            if not count:
                raise errors.DigestMismatch(
                    f"{self.descriptor.digest} ended at byte {self.read_to} of {self.descriptor.size}",
                    "the layer changed while it was read: build the image again",
                )
            piece = self.room[:count]
            self.sum.update(self.read_to, piece)
            yield piece
            self.read_to += count
            self.sent += count
            if self.read_to > self.shown:
                meter.advance(self.read_to - max(self.shown, 0))
                self.shown = self.read_to

    def wrong_bytes(self, local: str) -> None:
        raise errors.DigestMismatch(
            f"the bytes read for {self.descriptor.digest} have digest {local}",
            "the layer changed while it was read, or its source is broken: build or copy it again",
            digest=self.descriptor.digest,
        )

    def leave(self) -> None:
        """Closes the reader; the next piece opens it where it is needed."""
        if self.reader is not None:
            self.reader.close()
            self.reader, self.read_to = None, -1

    def done(self) -> None:
        self.leave()
        if self.slot is not None:
            self.slot.drop()


def number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
