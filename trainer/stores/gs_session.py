"""A resumable upload of one object (cloud.google.com/storage/docs/performing-resumable-uploads)."""

from __future__ import annotations

import re
from typing import Any, BinaryIO
from urllib.parse import quote

from trainer.stores.content import Slice, opened
from trainer.stores.counted import Counted
from trainer.stores.gs_line import GsLine
from trainer.stores.notes import Notes
from trainer.stores.store import Item, Missing, StoreError

CHUNK = 32 << 20  # bytes in one request; all but the last must be multiples of 256 KiB
MORE = 308  # "Resume Incomplete": what came so far stands in Range


class Session:
    """Sends one item. about: the object's metadata with its md5Hash, which the service compares before it shows it."""

    def __init__(
        self,
        line: GsLine,
        notes: Notes,
        bucket: str,
        about: dict[str, Any],
        item: Item,
        chunk: int,
        counted: Counted,
        doing: str,
    ) -> None:
        self.line, self.notes, self.about, self.item = line, notes, about, item
        self.chunk, self.counted, self.doing = chunk, counted, doing
        self.path = f"/upload/storage/v1/b/{quote(bucket, safe='')}/o"
        self.key = (line.endpoint, bucket, about["name"], about["metadata"]["sha256"], str(item.size))

    def send(self) -> dict[str, Any]:
        """The object as the service describes it. Goes on with a session that an earlier call left."""
        with opened(self.item) as file:
            uri = self.notes.read(*self.key)
            kept = self._kept(uri) if uri else None
            if uri is None or kept is None:
                uri, kept = self._begin(), 0
            return kept if isinstance(kept, dict) else self._rest(uri, file, kept)

    def _begin(self) -> str:
        headers = {"X-Upload-Content-Length": str(self.item.size)}
        wanted = {"uploadType": "resumable", "name": self.about["name"]}
        answer = self.line.ask("POST", self.path, self.doing, params=wanted, json=self.about, headers=headers)
        uri = str(answer.headers.get("Location", ""))
        if "://" not in uri:
            raise StoreError(f"{self.doing}: the store opened no session", "")
        uri = self.line.reachable(uri)
        self.notes.write(uri, *self.key)
        return uri

    def _kept(self, uri: str) -> int | dict[str, Any] | None:
        """Bytes the service has of the session; the object when it is complete; None when the session is over."""
        headers = {"Content-Range": f"bytes */{self.item.size}", "Content-Length": "0"}
        try:
            answer = self.line.ask("PUT", uri, self.doing, (200, 201, MORE, 404, 410), headers=headers)
        except StoreError as error:
            if error.transient:
                raise
            return None  # not known any more, or made with another login
        if answer.status_code in (404, 410):
            return None
        return _held(answer) if answer.status_code == MORE else self._done(answer)

    def _rest(self, uri: str, file: BinaryIO, begin: int) -> dict[str, Any]:
        while True:
            size = min(self.chunk, self.item.size - begin)
            last = begin + size - 1
            span = f"bytes {begin}-{last}/{self.item.size}" if size else f"bytes */{self.item.size}"
            body = Slice(file, self.item, begin, size, self.counted)
            body.sending = True
            try:
                answer = self._chunk(uri, span, body)
            except Missing:
                self.notes.remove(*self.key)
                raise StoreError(f"{self.doing}: the upload's session ended", "the same call sends it again") from None
            except StoreError as error:
                if not error.transient:  # also where the service found another MD5 than was announced
                    self.notes.remove(*self.key)
                raise
            if answer.status_code != MORE:
                return self._done(answer)
            held = _held(answer)
            if held <= begin and size:
                raise StoreError(f"{self.doing}: the store keeps nothing of what it gets", "")
            begin = held

    def _chunk(self, uri: str, span: str, body: Slice) -> Any:
        headers = {"Content-Range": span, "Content-Length": str(len(body))}
        return self.line.ask(
            "PUT", uri, self.doing, (200, 201, MORE), self.counted, data=body if len(body) else b"", headers=headers
        )

    def _done(self, answer: Any) -> dict[str, Any]:
        self.notes.remove(*self.key)
        try:
            return dict(answer.json())
        except ValueError:
            raise StoreError(f"{self.doing}: the answer is no JSON", "") from None


def _held(answer: Any) -> int:
    """Bytes that arrived, from `Range: bytes=0-LAST`; no such header means none."""
    match = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
    return int(match[1]) + 1 if match else 0
