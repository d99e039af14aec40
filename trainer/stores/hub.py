"""The Hugging Face Hub as a store: hf://[models/|datasets/]USER/REPO[@BRANCH][/FOLDER], through huggingface_hub.

Settings: HF_TOKEN (or the login of `hf auth login`), HF_PRIVATE=false for a public repository, HF_REPO_TYPE, and the
library's own HF_ENDPOINT, HF_HUB_DOWNLOAD_TIMEOUT, HF_HUB_DISABLE_XET=1 (plain HTTP, which alone can be watched and
slowed down byte by byte).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from trainer.stores import hub_read, hub_space, hub_upload
from trainer.stores.content import checked
from trainer.stores.counted import Counted
from trainer.stores.hub_address import parse
from trainer.stores.hub_client import Connection, connect, disconnect, endpoint
from trainer.stores.hub_errors import absent, told
from trainer.stores.hub_repository import prepare
from trainer.stores.store import Item, Moved

QUIET_SECONDS = 60.0
OWN_FILE = ".gitattributes"  # the Hub writes it into every new repository


class Hub:
    """A store (store.py) in a repository on the Hub.

    The repository is created at the first put, private unless HF_PRIVATE=false, and never created again or made
    public. quiet_seconds: how long a line may show nothing before it counts as cut (HF_HUB_DOWNLOAD_TIMEOUT, else 60).
    Raises TrainerError for a URL it cannot take; huggingface_hub is looked for at the first use.
    """

    def __init__(self, url: str, quiet_seconds: float | None = None) -> None:
        self._address = parse(url)
        self.url = self._address.url
        told_seconds = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
        self._quiet = quiet_seconds or (float(told_seconds) if told_seconds.isdigit() else QUIET_SECONDS)
        self._connected: Connection | None = None
        self._prepared = False

    def list(self, prefix: str = "") -> dict[str, int]:
        with told(endpoint(), f"listing {self.url}"):
            connection = self._connection()
            folder = self._address.path(prefix).rpartition("/")[0]
            try:
                entries = connection.api.list_repo_tree(
                    **connection.place,
                    path_in_repo=folder or None,
                    recursive=True,
                    revision=self._address.revision,
                )
                sizes = {entry.path: int(entry.size) for entry in entries if hasattr(entry, "blob_id")}
            except Exception as error:
                if absent(error):  # no such repository, branch or folder yet
                    return {}
                raise
            named = {self._address.name(path): size for path, size in sizes.items() if path != OWN_FILE}
            return {name: size for name, size in sorted(named.items()) if name.startswith(prefix)}

    def read(self, name: str, begin: int = 0) -> Iterator[bytes]:
        with told(endpoint(), f"reading {name} from {self.url}"):
            yield from hub_read.pieces(self._connection(), name, begin)

    def put(self, items: Sequence[Item], moved: Moved) -> None:
        if not items:
            return
        counted = Counted(moved)
        for item in items:
            checked(item.name)
        try:
            with told(endpoint(), f"sending {items[0].name} to {self.url}"):
                connection = self._connection()
                if not self._prepared:
                    prepare(connection)
                    self._prepared = True
                hub_upload.send(connection, items, counted)
        except Exception:
            if counted.raised is not None:  # what ended the transfer from outside, whatever the client made of it
                raise counted.raised from None
            raise

    def delete(self, names: Sequence[str]) -> None:
        if not names:
            return
        for name in names:
            checked(name)
        with told(endpoint(), f"deleting {names[0]} from {self.url}"):
            hub_space.delete(self._connection(), names)

    def close(self) -> None:
        if self._connected is not None:
            disconnect(self._connected)
            self._connected = None

    def _connection(self) -> Connection:
        if self._connected is None:
            self._connected = connect(self._address, self._quiet)
        return self._connected
