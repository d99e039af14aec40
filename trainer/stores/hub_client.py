"""huggingface_hub, set up for a process nobody watches: quiet, with time limits, and never asleep for a rate limit."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import quote

from trainer.errors import TrainerError
from trainer.stores.hub_address import Address
from trainer.stores.hub_errors import answered
from trainer.stores.library import need

DEFAULT_ENDPOINT = "https://huggingface.co"
CONNECT = 30.0  # seconds
_open: list[Connection] = []  # of this process: they share the library's one client


def library() -> ModuleType:
    """huggingface_hub 1.0 or newer. Raises TrainerError where it is missing or older."""
    hub: ModuleType = need("huggingface_hub", "huggingface_hub", "hf://")
    if not hasattr(hub, "set_client_factory"):
        raise TrainerError(
            f"hf:// needs huggingface_hub 1.0 or newer, not {hub.__version__}", "pip install 'huggingface_hub>=1.20'"
        )
    return hub


def endpoint() -> str:
    """HF_ENDPOINT as it is now; the library itself reads it only once, when it is imported."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def api(hub: ModuleType) -> Any:
    """An HfApi with the token of HF_TOKEN or of the login, or with none."""
    token = hub.get_token()
    return hub.HfApi(endpoint=endpoint(), token=token if token else False, library_name="stoker")


def set_up(hub: ModuleType) -> None:
    """Sets the client for this process: time limits, no waiting out of 429, no bars and no lines of its own.

    By default the library gives uploads and listings no time limit at all (`timeout=None` in its default client and in
    its pagination), and waits out a Retry-After inside the call, five times, however long it is.
    """
    from huggingface_hub.utils._http import default_client_factory

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # HF_HUB_DISABLE_PROGRESS_BARS=0 wins over us, and says so
        hub.utils.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)

    def client() -> Any:
        made = default_client_factory()
        hooks = made.event_hooks
        made.event_hooks = {
            "request": [*hooks.get("request", []), _limit],
            "response": [*hooks.get("response", []), _refuse_to_sleep],
        }
        return made

    hub.set_client_factory(client)


def _limit(request: Any) -> None:
    """Gives a request the time limits it does not have; the strictest store of this process decides."""
    quiet = min((connection.quiet_seconds for connection in _open), default=CONNECT)
    asked = request.extensions.get("timeout") or {}
    most = {"connect": min(CONNECT, quiet), "read": quiet, "write": quiet, "pool": None}
    request.extensions["timeout"] = {name: asked.get(name) or seconds for name, seconds in most.items()}


def _refuse_to_sleep(response: Any) -> None:
    if response.status_code == 429:
        raise answered(response, endpoint(), "too many requests", response.headers.get("X-Error-Message", ""))


@dataclass(frozen=True)
class Connection:
    """The library, its API with our token, and the place in the Hub it is used for."""

    hub: Any
    api: Any
    address: Address
    endpoint: str
    quiet_seconds: float

    @property
    def place(self) -> dict[str, str]:
        """The arguments that name the repository in every call."""
        return {"repo_id": self.address.repository, "repo_type": self.address.kind}

    def session(self) -> Any:
        return self.hub.utils.get_session()

    def headers(self) -> dict[str, str]:
        """Who we are; the client takes the token out when it is sent on to another host (httpx, _redirect_headers)."""
        known = self.hub.utils.build_hf_headers(token=self.api.token, library_name="stoker")
        return {**known, "Accept-Encoding": "identity"}

    def file_url(self, name: str, revision: str | None = None) -> str:
        """As the library's hf_hub_url makes it, which goes by the HF_ENDPOINT of its own import."""
        prefix = "" if self.address.kind == "model" else f"{self.address.kind}s/"
        at, path = quote(revision or self.address.revision, safe=""), quote(self.address.path(name))
        return f"{self.endpoint}/{prefix}{self.address.repository}/resolve/{at}/{path}"


def connect(address: Address, quiet_seconds: float) -> Connection:
    """Sets the library up for this process and signs in. Raises TrainerError when the library is missing."""
    hub = library()
    made = Connection(hub, api(hub), address, endpoint(), quiet_seconds)
    if not _open:  # another store's transfers would lose their connections
        set_up(hub)
    _open.append(made)
    return made


def disconnect(connection: Connection) -> None:
    """Closes the process's connections and gives it the library's own client back, after the last of ours."""
    from huggingface_hub.utils._http import default_client_factory

    _open[:] = [other for other in _open if other is not connection]
    if not _open:
        connection.hub.set_client_factory(default_client_factory)
