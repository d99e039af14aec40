"""gs://: a Google Cloud Storage bucket, through its JSON API (cloud.google.com/storage/docs/json_api/v1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from trainer.stores.address import parse
from trainer.stores.content import PIECE, checked, hashes, in_base64, opened
from trainer.stores.counted import Counted, each
from trainer.stores.gs_line import GsLine
from trainer.stores.gs_session import CHUNK, Session
from trainer.stores.notes import Notes
from trainer.stores.store import Item, Moved, StoreError


class Gs:
    """An object is visible only when all of it is there: that is the service's own promise.

    Every file goes through a resumable session, whose URI a private note remembers (notes.py), so that another
    process goes on. A bucket with soft delete or versions keeps deleted bytes until its own rules remove them.
    """

    def __init__(self, url: str, chunk: int = CHUNK) -> None:
        self.url = url
        address = parse(url)
        self.bucket, self.folder = address.host, address.path + "/" if address.path else ""
        self._chunk = chunk
        self._line, self._notes = GsLine(), Notes()
        self._objects = f"/storage/v1/b/{quote(self.bucket, safe='')}/o"

    def list(self, prefix: str = "") -> dict[str, int]:
        """See Store.list."""
        found, page = {}, None
        while True:
            wanted = {"prefix": self.folder + prefix, "fields": "items(name,size),nextPageToken", "pageToken": page}
            doing = f"listing {self.url}"
            answer = self._json(self._line.ask("GET", self._objects, doing, params=wanted), doing)
            for row in answer.get("items", []):
                name = row["name"][len(self.folder) :]
                if name and not name.endswith("/"):  # consoles make "folders" of such objects
                    found[name] = int(row["size"])
            page = answer.get("nextPageToken")
            if not page:
                return found

    def read(self, name: str, begin: int = 0) -> Iterator[bytes]:
        """See Store.read. An object that is replaced meanwhile is read on as it was."""
        doing = f"reading {name} from {self.url}"
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={begin}-"} if begin else {})}
        good = (200, 206, 416)
        params = {"alt": "media"}
        where = self._object(checked(name))
        answer = self._line.ask("GET", where, doing, good, params=params, headers=headers, stream=True)
        with answer:
            if answer.status_code == 416:
                return
            skip = begin if answer.status_code == 200 else 0  # a server that does not know ranges
            left = int(answer.headers.get("Content-Length", 0))
            body = answer.iter_content(PIECE)
            while True:
                with self._line.told(doing):
                    piece = next(body, b"")
                if not piece:
                    break
                left -= len(piece)
                if len(piece) > skip:
                    yield piece[skip:]
                skip = max(0, skip - len(piece))
            if left > 0:
                raise StoreError(f"{doing}: the line was cut", "the same call goes on where it stopped")

    def put(self, items: Sequence[Item], moved: Moved) -> None:
        """See Store.put. Several files at once."""
        counted = Counted(moved)
        each(items, lambda item: self._put(item, counted), counted)

    def delete(self, names: Sequence[str]) -> None:
        """See Store.delete. Half-sent versions cost nothing and end by themselves after a week."""
        for name in names:
            doing = f"deleting {name} from {self.url}"
            self._line.ask("DELETE", self._object(checked(name)), doing, (200, 204, 404))

    def close(self) -> None:
        """See Store.close."""
        self._line.close()

    def _object(self, name: str) -> str:
        return f"{self._objects}/{quote(self.folder + name, safe='')}"

    def _put(self, item: Item, counted: Counted) -> None:
        doing = f"writing {checked(item.name)} to {self.url}"
        with opened(item) as file:
            sha256, (md5,) = hashes(file, item, max(item.size, 1), counted)
        md5 = in_base64(md5)
        about = {"name": self.folder + item.name, "md5Hash": md5, "metadata": {"sha256": sha256}}
        session = Session(self._line, self._notes, self.bucket, about, item, self._chunk, counted, doing)
        there = session.send()
        if int(there.get("size", -1)) != item.size or there.get("md5Hash", md5) != md5:
            raise StoreError(f"{doing}: the store holds something else than was sent", "is another process sending?")

    @staticmethod
    def _json(answer: Any, doing: str) -> dict[str, Any]:
        try:
            return dict(answer.json())
        except ValueError:
            raise StoreError(f"{doing}: the answer is no JSON", "does something stand between us and it?") from None
