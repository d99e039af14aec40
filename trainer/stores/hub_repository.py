"""The repository behind a store: there before the first file is sent, private unless asked otherwise, ours to write."""

from __future__ import annotations

import logging
from typing import Any

from trainer.stores.hub_address import private_wanted
from trainer.stores.hub_client import Connection
from trainer.stores.hub_errors import TOKEN_STEP, absent
from trainer.stores.store import StoreError

log = logging.getLogger(__name__)
_told: set[str] = set()  # public repositories that this process has warned of


def prepare(connection: Connection) -> None:
    """Creates the repository, private unless HF_PRIVATE=false, and its branch where they do not exist.

    What exists stays as it is: a public repository is never made private, nor a private one public; the first is said
    once per process in a warning. Raises StoreError without a token.
    """
    if not connection.api.token:
        raise StoreError("there is no token to write to the Hugging Face Hub with", TOKEN_STEP, transient=False)
    info = _info(connection)
    if info is None:
        # exist_ok: somebody else may have created it since.
        connection.api.create_repo(**connection.place, private=private_wanted(), exist_ok=True)
        info = _info(connection)
    if info is not None and info.private is False and private_wanted() and connection.address.url not in _told:
        _told.add(connection.address.url)
        log.warning(
            "%s is a PUBLIC repository: everyone can read what is synced there. Make it private in its settings on "
            "the Hub, or set HF_PRIVATE=false if that is what you want",
            connection.address.url,
        )
    _branch(connection)


def _info(connection: Connection) -> Any:
    """What the Hub says of the repository's default branch; None when there is no such repository."""
    try:
        return connection.api.repo_info(**connection.place)
    except Exception as error:
        if absent(error):
            return None
        raise


def _branch(connection: Connection) -> None:
    """Creates the branch named in the URL from the default one."""
    if connection.address.revision == "main":
        return
    try:
        connection.api.repo_info(**connection.place, revision=connection.address.revision)
    except Exception as error:
        if not absent(error):
            raise
        connection.api.create_branch(**connection.place, branch=connection.address.revision, exist_ok=True)
