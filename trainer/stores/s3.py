"""s3://: a bucket at any endpoint that speaks S3. boto3 takes endpoint and credentials from where it always does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from trainer.stores.address import parse
from trainer.stores.content import PIECE, Slice, checked, hashes, in_base64, opened
from trainer.stores.counted import THREADS, Counted, each
from trainer.stores.library import need
from trainer.stores.s3_errors import said, status_of, told
from trainer.stores.s3_parts import Parts
from trainer.stores.store import Item, Moved, StoreError

PART = 64 << 20  # bytes; a file of at most one part is sent in one request
SILENCE = 60.0  # seconds without a byte until a request counts as lost
SHA256 = "sha256"  # as x-amz-meta-sha256


class S3:
    """An object is visible only when all of it is there: that is S3's own promise.

    Large ones go in parts; those of an upload that was cut off are kept where their ETag is the MD5 of our bytes
    (as it is but for buckets with KMS encryption: those are sent anew). Every body carries Content-MD5, which every
    endpoint knows; the newer CRC headers are sent nowhere, since several endpoints refuse them.
    """

    def __init__(self, url: str, part: int = PART) -> None:
        self.url = url
        address = parse(url)
        self.bucket, self.folder = address.host, address.path + "/" if address.path else ""
        self._part = part
        boto3 = need("boto3", "boto3", "s3://")
        config = need("botocore.config", "boto3", "s3://").Config
        settings = {
            "connect_timeout": 10,
            "read_timeout": SILENCE,
            "retries": {"total_max_attempts": 2, "mode": "standard"},
            "max_pool_connections": 2 * THREADS,
        }
        # Names of botocore 1.36, in which CRC32 became the default.
        checksums = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        with told(f"opening {url}"):
            try:
                settled = config(**settings, **checksums)
            except TypeError:
                settled = config(**settings)
            self.client: Any = boto3.session.Session().client("s3", config=settled)
        self.client.meta.events.register("before-send.s3", _sending)

    def list(self, prefix: str = "") -> dict[str, int]:
        """See Store.list."""
        found = {}
        with told(f"listing {self.url}"):
            pages = self.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.folder + prefix):
                for row in page.get("Contents", []):
                    name = row["Key"][len(self.folder) :]
                    if name and not name.endswith("/"):  # consoles make "folders" of such objects
                        found[name] = int(row["Size"])
        return found

    def read(self, name: str, begin: int = 0) -> Iterator[bytes]:
        """See Store.read. An object that is replaced meanwhile is read on as it was."""
        wanted = {"Range": f"bytes={begin}-"} if begin else {}
        doing = f"reading {name} from {self.url}"
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=self.folder + checked(name), **wanted)["Body"]
        except Exception as error:
            if begin and status_of(error) == 416:
                return
            raise said(doing, error) from None
        try:
            while True:
                with told(doing):
                    piece = body.read(PIECE)
                if not piece:
                    return
                yield piece
        finally:
            body.close()

    def put(self, items: Sequence[Item], moved: Moved) -> None:
        """See Store.put. Large files send several parts at once, small ones go several at once."""
        counted = Counted(moved)
        small = [item for item in items if item.size <= self._part]
        each(small, lambda item: self._put(item, counted), counted)
        for item in items:
            if item.size > self._part:
                self._put(item, counted)

    def delete(self, names: Sequence[str]) -> None:
        """See Store.delete. Half-sent versions go too, and those of a folder in which nothing whole is left.

        A bucket that keeps versions keeps the bytes until its lifecycle rule removes them.
        """
        for name in names:
            with told(f"deleting {name} from {self.url}"):
                self.client.delete_object(Bucket=self.bucket, Key=self.folder + checked(name))
        for folder in dict.fromkeys(name.rpartition("/")[0] for name in names):
            gone = set(names) | ({None} if folder and not self.list(folder + "/") else set())
            self._abort(folder, gone)

    def close(self) -> None:
        """See Store.close."""
        self.client.close()

    def _put(self, item: Item, counted: Counted) -> None:
        key, doing = self.folder + checked(item.name), f"writing {item.name} to {self.url}"
        with opened(item) as file, told(doing, counted):
            parts = Parts(self.client, {"Bucket": self.bucket, "Key": key}, item, self._part, counted)
            sha256 = parts.send() if item.size > self._part else self._send(key, item, file, counted)
            head = self.client.head_object(Bucket=self.bucket, Key=key)
        if head["ContentLength"] != item.size or head.get("Metadata", {}).get(SHA256, sha256) != sha256:
            raise StoreError(f"{doing}: the store holds something else than was sent", "is another process sending?")

    def _send(self, key: str, item: Item, file: BinaryIO, counted: Counted) -> str:
        """In one request; the SHA-256."""
        sha256, (md5,) = hashes(file, item, max(item.size, 1), counted)
        body = Slice(file, item, 0, item.size, counted)
        self.client.put_object(
            Bucket=self.bucket, Key=key, Body=body, ContentMD5=in_base64(md5), Metadata={SHA256: sha256}
        )
        return sha256

    def _abort(self, folder: str, gone: set[str | None]) -> None:
        """Ends uploads to the names of `gone`; None in it: to all of the folder."""
        prefix = self.folder + (folder + "/" if folder else "")
        try:
            pages = self.client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                for upload in page.get("Uploads", []):
                    if None in gone or upload["Key"][len(self.folder) :] in gone:
                        self.client.abort_multipart_upload(
                            Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
        except Exception as error:
            failure = said(f"ending half-sent files in {self.url}", error)
            # Not every key may list uploads; the objects are gone, and providers end old uploads themselves.
            if failure.transient and status_of(error) not in (400, 405, 501):
                raise failure from None


def _sending(request: Any, **_: object) -> None:
    """botocore's hook right before a request goes out: what is read from now on is sent, not hashed."""
    if isinstance(request.body, Slice):
        request.body.sending = True
