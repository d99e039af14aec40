"""Requests to Google Cloud Storage's JSON API, with the machine's credentials, and what its answers mean."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trainer.errors import TrainerError
from trainer.stores.counted import Counted
from trainer.stores.library import need
from trainer.stores.store import Missing, StoreError

ENDPOINT = "https://storage.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
TIMEOUT = (10.0, 60.0)  # seconds to connect, and without a byte
LOGIN = "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`"
RATE = ("rateLimitExceeded", "userRateLimitExceeded", "slowDown")
ROOM = ("quotaExceeded", "storageQuotaExceeded")


class GsLine:
    """One session of requests. STORAGE_EMULATOR_HOST names a server without accounts, as for Google's own clients."""

    def __init__(self) -> None:
        self._requests = need("requests", "requests", "gs://")
        host = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
        self.endpoint = ENDPOINT if not host else host if "://" in host else f"http://{host}"
        self._emulated = bool(host)
        if not host:
            need("google.auth", "google-auth", "gs://")
        self._session: Any = None

    def ask(
        self,
        method: str,
        path: str,
        doing: str,
        good: tuple[int, ...] = (200,),
        counted: Counted | None = None,
        **more: Any,
    ) -> Any:
        """The answer, when its status is one of `good`. path: after the endpoint, or a whole session URI.

        Raises Missing for 404, StoreError for others and for a line that breaks.
        """
        url = path if "://" in path else self.endpoint + path
        with self.told(doing, counted):
            session = self._opened()
            answer = session.request(method, url, timeout=TIMEOUT, allow_redirects=False, **more)
            if answer.status_code not in good:
                with answer:
                    raise refusal(answer, doing)
            return answer

    def reachable(self, uri: str) -> str:
        """A session's URI; an emulator in a container names itself by a host that only it may know."""
        return self.endpoint + "/" + uri.split("/", 3)[3] if self._emulated else uri

    @contextmanager
    def told(self, doing: str, counted: Counted | None = None) -> Iterator[None]:
        """Turns the client's errors into StoreError; what `moved` raised comes through as it was."""
        try:
            yield
        except TrainerError:
            raise
        except Exception as error:
            if counted is not None and counted.raised is not None:
                raise counted.raised from None
            kind = type(error).__name__
            if kind in ("DefaultCredentialsError", "RefreshError", "MalformedError", "InvalidValue"):
                transient = kind == "RefreshError" and bool(getattr(error, "retryable", False))
                raise StoreError(f"{doing}: {_line(error)}", LOGIN, transient) from None
            raise StoreError(f"{doing}: {_line(error)}", "check the network") from None

    def close(self) -> None:
        """Ends connections."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _opened(self) -> Any:
        if self._session is None:
            session = self._requests.Session() if self._emulated else _authorized()
            adapter = self._requests.adapters.HTTPAdapter(pool_maxsize=8, max_retries=0)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            self._session = session
        return self._session


def _authorized() -> Any:
    google = need("google.auth", "google-auth", "gs://")
    transport = need("google.auth.transport.requests", "google-auth", "gs://")
    credentials, _ = google.default(scopes=[SCOPE])
    return transport.AuthorizedSession(credentials)


def refusal(answer: Any, doing: str) -> StoreError:
    """The error for a status that is none of the good ones."""
    status, reason, said = answer.status_code, *_told_by(answer)
    what = f"{doing}: {status} {said or answer.reason}"
    if status == 404:
        return Missing(what, "check the bucket's name")
    wait = answer.headers.get("Retry-After", "")
    after = float(wait) if re.fullmatch(r"\d{1,6}", wait) else None
    if reason in ROOM or status in (402, 507):
        return StoreError(what, "raise the bucket's quota or make room", transient=False)
    if status in (408, 409, 410, 412, 425, 429) or status >= 500 or reason in RATE:
        return StoreError(what, "the same call goes on where it stopped", after=after)
    return StoreError(what, f"{LOGIN}, as somebody who may" if status in (401, 403) else "", transient=False)


def _told_by(answer: Any) -> tuple[str, str]:
    """The reason and the message of an error in JSON; '' where there is none."""
    try:
        error = answer.json()["error"]
        return str(error.get("errors", [{}])[0].get("reason", "")), str(error.get("message", ""))[:200]
    except Exception:
        return "", ""


def _line(error: Exception) -> str:
    """The first line, without a URL's query: a session's is a secret."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"\?[^\s'\"]+", "?...", line)[:300]
