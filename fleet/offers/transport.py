"""Reading requests to one provider: HTTPS, bounded in time and size, repeated only because they change nothing.

A create must never go through here (providers.md 0.1): there is no method for one.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fleet.offers.failed import KEY_NAMES, KeyRefused, ProviderFailed, Throttled, key_step, words
from profiles.errors import WrongInput

if TYPE_CHECKING:
    import requests

# Hyperbolic's edge refuses the default agent of Python's urllib; any explicit one passes (providers.md 0.3).
AGENT = "stoker/0.1"
BASES = {
    "runpod": "https://api.runpod.io",  # REST v2 (providers.md 1.1)
    "vast": "https://console.vast.ai",  # (2.1)
    "hyperbolic": "https://api.hyperbolic.ai",  # .ai and .xyz were both live in September 2026 (3.2)
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TRIES = 4
CONNECT, SILENCE = 5.0, 15.0  # seconds to connect, and without a byte
LARGEST = 32 << 20  # bytes of an answer
ERROR_BODY = 16 << 10
AGAIN = frozenset({408, 429, 500, 502, 503, 504, 520, 522, 524})
# Vast's daily quota of rows: over until midnight UTC (providers.md 2.1). Waiting seconds only spends requests.
NEVER_AGAIN = frozenset({"search_quota_exceeded"})


def base(provider: str, environ: Mapping[str, str] | None = None) -> str:
    """Where a provider is asked: STOKER_RUNPOD_URL, STOKER_VAST_URL, STOKER_HYPERBOLIC_URL, else its own address.

    Raises WrongInput for an address that would send the key in the clear (http to another machine) or holds a login.
    """
    name = f"STOKER_{provider.upper()}_URL"
    url = (os.environ if environ is None else environ).get(name, "").strip().rstrip("/") or BASES[provider]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.query or parts.fragment:
        raise WrongInput(f"{name} is not an address", f"set it to one like {BASES[provider]}, or unset it")
    if parts.scheme == "http" and host not in LOOPBACK:
        raise WrongInput(f"{name} is plain http to {host}: the key would be readable on the way", "use https")
    return url


@dataclass(slots=True)
class Transport:
    """One provider, its key ("": none is sent) and the time there is. deadline: seconds from now for everything.

    Raises ProviderFailed (KeyRefused, Throttled) with a next step. Redirects are never followed: no provider is known
    to send any (providers.md 1.3, 2.1), and the key would go along.
    """

    provider: str
    key: str = field(default="", repr=False)
    deadline: float = 20.0
    base: str = ""
    pause: float = 0.5  # seconds before the first repetition, doubled each time
    sleep: Callable[[float], None] = time.sleep
    _end: float = field(init=False, repr=False)
    _session: requests.Session | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        self.base = self.base or base(self.provider)
        self._end = time.monotonic() + self.deadline

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        if self._session is not None:
            self._session.close()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON that a GET answers."""
        return self._asked("GET", path, params=dict(query or {}))

    def search(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that a POST answers which only reads (Vast's offers)."""
        return self._asked("POST", path, json=dict(body))

    def left(self) -> float:
        """Seconds until the deadline."""
        return self._end - time.monotonic()

    def _asked(self, method: str, path: str, **more: Any) -> Any:
        """Tries again after an answer or a line that may be better next time, within the deadline."""
        for attempt in range(1, TRIES + 1):
            try:
                status, headers, content = self._sent(method, path, more)
            except ProviderFailed:
                wait = self._backoff(attempt)
                if attempt == TRIES or wait >= self.left():
                    raise
                self.sleep(wait)
                continue
            if 200 <= status < 300:
                return self._json(content)
            failure = self._refusal(status, headers, content)
            asked = retry_after(headers)
            wait = self._backoff(attempt) if asked is None else asked
            if status not in AGAIN or failure.code in NEVER_AGAIN or attempt == TRIES or wait >= self.left():
                raise failure
            self.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _backoff(self, attempt: int) -> float:
        return self.pause * 2.0 ** (attempt - 1) * random.uniform(0.8, 1.2)

    def _sent(self, method: str, path: str, more: dict[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """One request. Raises ProviderFailed when the line breaks, the time is over or the answer has no end."""
        import requests

        if self.left() <= 0:
            raise self._late()
        if self._session is None:
            self._session = requests.Session()
        timeout = (min(CONNECT, self.left()), min(SILENCE, self.left()))
        near = urlsplit(self.base).hostname in LOOPBACK  # no proxy in between, which would see the key of plain http
        try:
            with self._session.request(
                method,
                self.base + path,
                headers={"User-Agent": AGENT, "Accept": "application/json"},
                proxies={"http": "", "https": ""} if near else None,
                auth=self._authorised,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
                **more,
            ) as answer:
                content = self._content(answer)
                return answer.status_code, answer.headers, content
        except requests.Timeout as late:
            raise self._late() from late
        except requests.RequestException as broken:  # its text may hold the whole URL: only its kind is told
            raise ProviderFailed(
                self.provider,
                f"no connection to {urlsplit(self.base).netloc} ({type(broken).__name__})",
                "check the network and the proxy settings, then ask again",
            ) from None

    def _authorised(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sets the key itself: given as a plain header, requests would prefer a login of ~/.netrc to it."""
        if self.key:
            request.headers["Authorization"] = f"Bearer {self.key}"
        return request

    def _content(self, answer: requests.Response) -> bytes:
        limit = LARGEST if answer.ok else ERROR_BODY
        content = bytearray()
        for piece in answer.iter_content(64 << 10):
            content += piece
            if len(content) > limit:
                if not answer.ok:
                    break
                raise ProviderFailed(self.provider, f"an answer of more than {limit >> 20} MiB", "ask again later")
            if self.left() <= 0:  # a byte now and then never runs into the read timeout
                raise self._late()
        return bytes(content)

    def _late(self) -> ProviderFailed:
        return ProviderFailed(self.provider, "no answer in time", "check the network, then ask again")

    def _json(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            kind = "a page of HTML" if content.lstrip()[:1] == b"<" else "an answer that is no whole JSON"
            raise ProviderFailed(
                self.provider,
                f"{kind} instead of a list",
                f"a proxy or a login page may stand between; open {urlsplit(self.base).netloc} in a browser to see",
            ) from None

    def _refusal(self, status: int, headers: Mapping[str, str], content: bytes) -> ProviderFailed:
        """What a status other than 2xx means, in the provider's words without the key."""
        if 300 <= status < 400:
            host = urlsplit(headers.get("Location", "")).netloc.rpartition("@")[2] or "another page"
            step = f"not followed, because the key would go along; check STOKER_{self.provider.upper()}_URL"
            return ProviderFailed(self.provider, f"{status}, sent on to {host}", step, status)
        code, message = words(content)
        if self.key and (self.key in message + code or self.key.encode() in content):
            code, message = "", ""  # it sent the key back
        what = f"{status} {message}".strip()
        if status in (401, 403) or code == "auth_error" or message == "Invalid user key":
            # Vast answers 404 to a bad key on its offers (providers.md 2.1).
            name = KEY_NAMES[self.provider]
            step = (
                f"the key in use is refused ({name}); {key_step(self.provider)}"
                if self.key
                else key_step(self.provider)
            )
            return KeyRefused(self.provider, what, step, status, code)
        if status == 429:
            wait = retry_after(headers)
            step = f"ask again in {wait:.0f} s" if wait else "ask again in a minute"
            return Throttled(self.provider, what, step, status, code)
        step = "the provider has trouble; ask again later" if status >= 500 else "the request was not understood"
        return ProviderFailed(self.provider, what, step, status, code)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After asks for, as seconds or as a date (RFC 9110 10.2.3); None: none, or unreadable."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
