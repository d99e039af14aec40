"""The storage of the simulated Hub, on a host of its own as the real one: signed URLs, and no token of the Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.sim.hub_model import NUMBERS, Repository
from tests.sim.hub_wire import PIECE, Refused, Wire

if TYPE_CHECKING:
    from tests.sim.hub import HubServer

SIGNATURE = "X-Amz-Signature=signed"


class Storage(Wire):
    """PUT of an object or of a part of one, GET by ranges."""

    server_state: HubServer
    routes = (
        ("PUT", r"/lfs/(?P<key>[^/]+)/(?P<sha>[0-9a-f]{64})", "put_object"),
        ("PUT", r"/parts/(?P<key>[^/]+)/(?P<sha>[0-9a-f]{64})/(?P<number>\d+)", "put_part"),
        ("GET HEAD", r"/lfs/(?P<key>[^/]+)/(?P<sha>[0-9a-f]{64})", "get_object"),
    )

    def signed(self, key: str) -> Repository:
        if self.headers.get("Authorization"):
            # S3 allows one way of signing at a time; the token must not come here in the first place.
            raise Refused(400, "Only one auth mechanism allowed", "InvalidArgument")
        if SIGNATURE not in self.parts.query:
            raise Refused(403, "AccessDenied")
        found = self.server_state.by_key(key)
        if found is None:
            raise Refused(404, "NoSuchBucket")
        return found

    def put_object(self, key: str, sha: str) -> None:
        repository = self.signed(key)
        path, digest, size = self.kept(repository)
        if digest != sha:
            path.unlink()
            raise Refused(400, "BadDigest")  # a guess: the storage holds the signed sha256 against the content
        self.stall()
        self.server_state.store(repository, sha, size, path)
        self.send(b"", 200, {"ETag": f'"{digest[:32]}"'})

    def put_part(self, key: str, sha: str, number: str) -> None:
        repository = self.signed(key)
        path, digest, _ = self.kept(repository)
        self.stall()
        path.replace(repository.folder / f"{sha}.part{int(number)}")
        self.send(b"", 200, {"ETag": f'"{digest[:32]}"'})

    def kept(self, repository: Repository) -> tuple[Path, str, int]:
        """The body in a file of its own; a cut one leaves nothing."""
        path = repository.folder / f"incoming-{next(NUMBERS)}"
        digest, size = hashlib.sha256(), 0
        try:
            with path.open("wb") as file:
                for piece in self.body():
                    digest.update(piece)
                    size += len(piece)
                    file.write(piece)
        except BaseException:
            path.unlink()
            raise
        return path, digest.hexdigest(), size

    def get_object(self, key: str, sha: str) -> None:
        repository = self.signed(key)
        stored = repository.stored.get(sha)
        if stored is None:
            raise Refused(404, "NoSuchKey")
        ranged = self.ranged(stored.size)
        begin, last = ranged or (0, stored.size - 1)
        headers = {"ETag": f'"{sha}"', "Accept-Ranges": "bytes", "Content-Type": "binary/octet-stream"}
        if ranged:
            headers["Content-Range"] = f"bytes {begin}-{last}/{stored.size}"
        length = last - begin + 1
        self.stream(pieces(repository.object_path(sha), begin, length), length, 206 if ranged else 200, headers)


def pieces(path: Path, begin: int, length: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(begin)
        while length and (piece := file.read(min(PIECE, length))):
            length -= len(piece)
            yield piece


def join_parts(repository: Repository, sha: str, etags: list[str]) -> tuple[Path, int]:
    """One file of all parts. Raises Refused when one is missing or another than the client saw stored."""
    path, digest, size = repository.folder / f"joined-{next(NUMBERS)}", hashlib.sha256(), 0
    with path.open("wb") as file:
        for number, etag in enumerate(etags, 1):
            part = repository.folder / f"{sha}.part{number}"
            data = part.read_bytes() if part.exists() else b""
            if etag.strip('"') != hashlib.sha256(data).hexdigest()[:32]:
                raise Refused(400, "InvalidPart")
            digest.update(data)
            size += len(data)
            file.write(data)
            part.unlink()
    if digest.hexdigest() != sha:
        path.unlink()
        raise Refused(400, "BadDigest")
    return path, size
