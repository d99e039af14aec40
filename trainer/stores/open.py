"""From a URL to its store. Nothing is asked of the network here, and only the one store's library is loaded."""

from __future__ import annotations

from trainer.stores.address import parse
from trainer.stores.store import Store


def open_store(url: str) -> Store:
    """The store at file:///folder (or a plain path), ssh://[user@]host[:port]/folder, s3://bucket/folder,
    gs://bucket/folder or hf://[datasets/]user/name[@revision][/folder].

    Raises TrainerError, exit code 2, for another scheme (naming the nearest), for a URL that holds a password or a
    token, and for a library that is not installed.
    """
    address = parse(url)
    if address.scheme == "file":
        from trainer.stores.file import Folder

        return Folder(url)
    if address.scheme == "ssh":
        from trainer.stores.ssh import Ssh

        return Ssh(url)
    if address.scheme == "s3":
        from trainer.stores.s3 import S3

        return S3(url)
    if address.scheme == "gs":
        from trainer.stores.gs import Gs

        return Gs(url)
    from trainer.stores.hub import Hub

    return Hub(url)
