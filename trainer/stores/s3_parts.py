"""A multipart upload that goes on where an earlier one was cut off, told by what the server has, not by a note."""

from __future__ import annotations

from typing import Any

from trainer.stores.content import Slice, hashes, in_base64, opened
from trainer.stores.counted import Counted, each
from trainer.stores.s3_errors import code_of, said, status_of
from trainer.stores.store import Item

MOST = 10_000  # parts of one object (Amazon S3 user guide, "multipart upload limits")


class Parts:
    """One file on its way to one key. send() raises the client's errors."""

    def __init__(self, client: Any, where: dict[str, str], item: Item, part: int, counted: Counted) -> None:
        self.client, self.where, self.item, self.counted = client, where, item, counted
        self.part = max(part, -(-item.size // MOST))
        self.sha256 = ""
        self.md5: dict[int, str] = {}

    def send(self) -> str:
        """All parts, then the object; its SHA-256. Uploads of other contents to this key are ended afterwards."""
        with opened(self.item) as file:
            self.sha256, md5 = hashes(file, self.item, self.part, self.counted)
        self.md5 = dict(enumerate(md5, 1))
        upload, have, others = self._best()
        if upload is None:
            made = self.client.create_multipart_upload(**self.where, Metadata={"sha256": self.sha256})
            upload = made["UploadId"]

        def send(number: int) -> None:
            have[number] = self._send(upload, number)

        each([number for number in self.md5 if number not in have], send, self.counted)
        self._complete(upload, [{"PartNumber": number, "ETag": have[number]} for number in self.md5])
        for other in others:
            self._abort(other)
        return self.sha256

    def _range(self, number: int) -> tuple[int, int]:
        begin = (number - 1) * self.part
        return begin, min(self.part, self.item.size - begin)

    def _send(self, upload: str, number: int) -> str:
        with opened(self.item) as file:
            body = Slice(file, self.item, *self._range(number), self.counted)
            md5 = in_base64(self.md5[number])
            done = self.client.upload_part(**self.where, UploadId=upload, PartNumber=number, Body=body, ContentMD5=md5)
        return str(done["ETag"])

    def _complete(self, upload: str, parts: list[dict[str, Any]]) -> None:
        try:
            self.client.complete_multipart_upload(**self.where, UploadId=upload, MultipartUpload={"Parts": parts})
        except Exception as error:
            # The answer to an earlier try of the client may have been lost: then the upload is gone and done.
            if code_of(error) != "NoSuchUpload" or not self._there():
                raise

    def _there(self) -> bool:
        head = self.client.head_object(**self.where)
        return bool(head["ContentLength"] == self.item.size and head.get("Metadata", {}).get("sha256") == self.sha256)

    def _best(self) -> tuple[str | None, dict[int, str], list[str]]:
        """The upload to this key with the most of our parts, {number: ETag} of them, and the other uploads.

        An upload in which some part is not ours is of another content or part size; its metadata cannot be asked
        for, so none of it is used.
        """
        best: str | None = None
        have: dict[int, str] = {}
        others = []
        for upload in self._uploads():
            parts = self._ours(upload)
            if parts is None or (best is not None and len(parts) <= len(have)):
                others.append(upload)
                continue
            if best is not None:
                others.append(best)
            best, have = upload, parts
        return best, have, others

    def _uploads(self) -> list[str]:
        try:
            pages = self.client.get_paginator("list_multipart_uploads")
            rows = [
                row
                for page in pages.paginate(Bucket=self.where["Bucket"], Prefix=self.where["Key"])
                for row in page.get("Uploads", [])
            ]
        except Exception as error:
            if said("", error).transient and status_of(error) not in (400, 405, 501):
                raise
            return []  # not allowed or not known here: everything is sent
        return [row["UploadId"] for row in rows if row["Key"] == self.where["Key"]]

    def _ours(self, upload: str) -> dict[int, str] | None:
        """The parts of an upload whose bytes are ours; None when it holds none or any other."""
        have = {}
        try:
            for page in self.client.get_paginator("list_parts").paginate(**self.where, UploadId=upload):
                for row in page.get("Parts", []):
                    number = int(row["PartNumber"])
                    if number not in self.md5 or row["Size"] != self._range(number)[1]:
                        return None
                    if row["ETag"].strip('"').lower() != self.md5[number]:
                        return None
                    have[number] = row["ETag"]
        except Exception as error:
            if code_of(error) != "NoSuchUpload":
                raise
        return have or None

    def _abort(self, upload: str) -> None:
        try:
            self.client.abort_multipart_upload(**self.where, UploadId=upload)
        except Exception as error:
            if said("", error).transient:
                raise
