"""Reading a blob from any offset on, over as many connections as it takes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from images.oci.manifest import Descriptor
from images.registry import errors
from images.registry.transport import is_network
from images.registry.wire import Response

if TYPE_CHECKING:
    from images.registry.repository import Repository

BUFFER = 1 << 20  # bytes per piece: big enough that Python's share of the work is small


class Download:
    """A blob as a reader with `readinto`. A cut is answered by a Range request from the byte that was reached.

    Raises DigestMismatch at the end if the bytes are not the digest's (when begun at 0), or not of the stated length.
    check: False for a reader that hashes what it reads anyway: hashing is half of a copy's CPU time.
    """

    def __init__(self, repository: Repository, descriptor: Descriptor, offset: int = 0, check: bool = True) -> None:
        self.repository, self.descriptor, self.offset = repository, descriptor, offset
        self.sum = hashlib.sha256() if check and offset == 0 else None
        self.response: Response | None = None
        self.failures = 0

    def readinto(self, view: memoryview) -> int:
        """Fills `view` as far as it goes in one answer; 0 at the blob's end, which has then been checked."""
        while self.offset < self.descriptor.size:
            room = view[: min(len(view), self.descriptor.size - self.offset)]
            count = self.receive(room)
            if count:
                self.offset += count
                self.failures = 0
                if self.sum is not None:
                    self.sum.update(room[:count])
                return count
        self.finish()
        return 0

    def receive(self, room: memoryview) -> int:
        """Bytes received, 0 after a cut that may be answered by another request."""
        try:
            if self.response is None:
                self.response = self.open()
            count = self.response.readinto(room)
            cut: Exception | None = None if count else EOFError("the body ended early")
        except Exception as failure:
            if not is_network(failure):
                raise
            count, cut = 0, failure
        if cut is not None:
            self.close()
            self.failures += 1
            transport, digest = self.repository.transport, self.descriptor.digest
            url = f"{transport.origin.url}/v2/{self.repository.name}/blobs/{digest}"
            if self.failures >= transport.policy.tries:
                raise transport.unreachable(cut, "GET", url, self.failures, digest, self.offset)
            transport.clock.sleep(transport.policy.delay(self.failures))
        return count

    def open(self) -> Response:
        """A response whose body begins at our offset."""
        digest, offset = self.descriptor.digest, self.offset
        # identity: a server that compresses on the fly would give us other bytes than the digest's
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        response = self.repository.request("GET", f"blobs/{digest}", headers=headers, digest=digest, offset=offset)
        if offset and response.status == 206:
            stated = (response.header("content-range") or "").removeprefix("bytes ").partition("-")[0]
            if stated != str(offset):
                response.close()
                raise errors.RegistryError(f"{self.repository}: asked for byte {offset}, got {stated or 'no range'}")
        elif offset:
            skip(response, offset)  # Range is only a SHOULD: read over what we have
        return response

    def finish(self) -> None:
        self.close()
        if self.sum is not None and "sha256:" + self.sum.hexdigest() != self.descriptor.digest:
            raise errors.DigestMismatch(
                f"{self.repository}: the registry sent other bytes for {self.descriptor.digest}"
                f" (they are sha256:{self.sum.hexdigest()})",
                "do not use this registry or the proxy before it until its operator has explained it",
                digest=self.descriptor.digest,
            )

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
            self.response = None


def skip(response: Response, count: int) -> None:
    """Reads over the first `count` bytes of a body."""
    room = memoryview(bytearray(min(count, BUFFER)))
    while count:
        got = response.readinto(room[: min(count, len(room))])
        if not got:
            raise EOFError("the body ended early")
        count -= got
