"""One repository at one registry: manifests, blobs, tags, referrers. Every byte read is checked against its digest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin

from images.oci import digest as digests
from images.oci import media
from images.oci.manifest import Descriptor, Manifest
from images.oci.reference import Reference
from images.registry import errors
from images.registry.download import BUFFER, Download
from images.registry.transport import Transport
from images.registry.wire import Response, Stream

MANIFEST_LIMIT = 16 << 20  # bytes; distribution-spec asks servers for at least 4 MB
BLOB_LIMIT = 8 << 20


@dataclass(frozen=True)
class Repository:
    """A repository as requests reach it.

    reference: its real name, whatever mirror serves it; name: its path at `transport`; scopes: what tokens are asked
    for. Methods raise the errors of images.registry.errors.
    """

    transport: Transport
    reference: Reference
    name: str
    scopes: tuple[str, ...]

    def __str__(self) -> str:
        return self.reference.name

    def same_registry(self, other: Repository) -> bool:
        """Whether blobs can be mounted from one into the other (distribution-spec end-11)."""
        return self.transport.origin == other.transport.origin

    def for_push(self, mount_from: Collection[str] = ()) -> Repository:
        """The same repository asking for push from the first token on; a mount needs pull of its source in it too."""
        mounts = (f"repository:{source}:pull" for source in mount_from if source != self.name)
        return replace(self, scopes=(f"repository:{self.name}:pull,push", *mounts))

    # manifests

    def manifest(self, target: str | None = None) -> Manifest:
        """The manifest or index at a tag or digest (default: what the reference says), byte for byte.

        Raises DigestMismatch when it is not what was asked for or what the server's header says.
        """
        target = target or self.reference.target
        with self.request("GET", f"manifests/{target}", headers={"Accept": media.ACCEPT}) as response:
            raw = read_all(response, MANIFEST_LIMIT, f"the manifest {target}")
            stated = response.header("docker-content-digest")
            kind = (response.header("content-type") or "").partition(";")[0].strip()
        manifest = Manifest(raw, kind)
        inner = manifest.json.get("mediaType")
        if inner and inner != kind:
            if kind in media.INDEXES | media.MANIFESTS:
                raise errors.DigestMismatch(f"{self}: the manifest says it is {inner}, the server says {kind}")
            manifest = Manifest(raw, inner)
        for expected in (target if ":" in target else None, stated):
            if expected and expected.startswith("sha256:") and expected != manifest.digest:
                raise errors.DigestMismatch(
                    f"{self}: the manifest {target} has digest {manifest.digest}, expected {expected}",
                    "do not use this registry until its operator has explained it",
                    digest=expected,
                )
        return manifest

    def head(self, target: str | None = None) -> Descriptor | None:
        """What is at a tag or digest, without its bytes where the server states the digest; None if nothing is."""
        target = target or self.reference.target
        headers = {"Accept": media.ACCEPT}
        with self.request("HEAD", f"manifests/{target}", headers=headers, accept=(404, 405)) as response:
            digest, length = response.header("docker-content-digest") or "", response.length
            kind = (response.header("content-type") or "").partition(";")[0].strip()
        if response.status == 404:
            return None
        if response.status == 405 or length is None or not digests.DIGEST.fullmatch(digest):
            try:
                return self.manifest(target).descriptor
            except errors.Missing:
                return None
        return Descriptor(kind, digest, length)

    def put_manifest(self, target: str, manifest: Manifest) -> str:
        """Stores `manifest` at a tag or digest and returns its digest. Raises DigestMismatch if the server differs."""
        headers = {"Content-Type": manifest.media_type}
        with self.request("PUT", f"manifests/{target}", headers=headers, body=manifest.raw) as response:
            stated = response.header("docker-content-digest")
        if stated and stated.startswith("sha256:") and stated != manifest.digest:
            raise errors.DigestMismatch(
                f"{self}: the registry stored {target} as {stated}, sent was {manifest.digest}",
                "do not use this registry until its operator has explained it",
                digest=manifest.digest,
            )
        return manifest.digest

    def delete_manifest(self, digest: str) -> bool:
        """Deletes a manifest; False if it was not there. Raises RegistryError where the registry forbids it (405)."""
        with self.request("DELETE", f"manifests/{digests.checked(digest)}", accept=(404,)) as response:
            return response.status != 404

    def tags(self) -> list[str]:
        """All tags, in the server's (lexical) order; [] for a repository that does not exist."""
        found: list[str] = []
        path: str | None = "tags/list?n=1000"  # ECR rejects more (ggcr#1091)
        while path:
            with self.request("GET", path, accept=(404,)) as response:
                if response.status == 404:
                    return found
                page = parse_json(read_all(response, MANIFEST_LIMIT, "the tag list"), self)
                found += [str(tag) for tag in page.get("tags") or []]
                path = next_link(response)
        return found

    # blobs

    def blob(self, descriptor: Descriptor, limit: int = BLOB_LIMIT) -> bytes:
        """A small blob as bytes: a config, an SBOM. Raises DigestMismatch; RegistryError above `limit` bytes."""
        if descriptor.size > limit:
            raise errors.RegistryError(f"{self}: blob {descriptor.digest} has {descriptor.size} bytes, limit {limit}")
        return b"".join(bytes(piece) for piece in self.stream(descriptor))

    def stream(self, descriptor: Descriptor, offset: int = 0) -> Iterator[memoryview]:
        """The blob's bytes from `offset` on, in pieces that are valid until the next one is asked for.

        Goes on by Range after a cut. The digest is checked at the end when the stream began at 0; the length always.
        """
        download, view = Download(self, descriptor, offset), memoryview(bytearray(BUFFER))
        try:
            while count := download.readinto(view):
                yield view[:count]
        finally:
            download.close()

    def has_blob(self, digest: str) -> bool:
        """Whether the blob is in this repository."""
        path = f"blobs/{digests.checked(digest)}"
        with self.request("HEAD", path, accept=(404, 405), digest=digest) as response:
            if response.status != 405:
                return response.status < 400
        with self.request("GET", path, accept=(404,), digest=digest) as response:
            return response.status < 400

    # referrers

    def referrers(self, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        """What refers to `digest`: see images.registry.referrers."""
        from images.registry.referrers import referrers

        return referrers(self, digest, artifact_type)

    def put_referrer(self, manifest: Manifest) -> str:
        """Stores a manifest with a `subject`: see images.registry.referrers."""
        from images.registry.referrers import put_referrer

        return put_referrer(self, manifest)

    # the wire

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Stream | None = None,
        accept: Collection[int] = (),
        digest: str | None = None,
        offset: int | None = None,
        tries: int | None = None,
    ) -> Response:
        """A request below this repository, or to an absolute URL it has handed out."""
        if "://" not in path and not path.startswith("/"):
            path = f"/v2/{self.name}/{path}"
        return self.transport.request(
            method,
            path,
            name=str(self),
            scopes=self.scopes,
            headers=headers,
            body=body,
            accept=accept,
            digest=digest,
            offset=offset,
            tries=tries,
        )


def read_all(response: Response, limit: int, what: str) -> bytes:
    """The whole body. Raises RegistryError when it is longer than `limit` bytes or was cut."""
    from http.client import HTTPException

    try:
        raw = response.read(limit + 1)
    except (OSError, HTTPException) as cut:
        raise errors.Unreachable(
            f"the connection failed while {what} was read: {cut}", "try again", url=response.url, temporary=True
        ) from None
    if len(raw) > limit:
        raise errors.RegistryError(f"{what} is longer than {limit} bytes", "the registry's operator must repair this")
    return raw


def parse_json(raw: bytes, repository: Repository) -> dict[str, Any]:
    import json

    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise errors.RegistryError(f"{repository}: the registry did not answer with a JSON object")
    return value


def next_link(response: Response) -> str | None:
    """The next page: `Link: <url>; rel="next"`, resolved against the page that named it."""
    for value in response.headers("link"):
        target, _, parameters = value.partition(">")
        if 'rel="next"' in parameters.replace(" ", "") or "rel=next" in parameters:
            return urljoin(response.url, target.strip().lstrip("<"))
    return None
