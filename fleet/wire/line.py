"""The line to one provider: HTTPS, bounded in time and size, repeated only where a repetition changes nothing.

`get`, `search` and `change` are repeated; `create` is sent once and tells every way it can end (providers.md 0.1).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fleet.loopback import LOOPBACK
from fleet.wire.failed import KEY_NAMES, KeyRefused, NeverSent, ProviderFailed, Throttled, key_step, words
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
TRIES = 4
CONNECT, SILENCE = 5.0, 15.0  # seconds to connect, and without a byte
CREATING = 120.0  # seconds for a create: the official Vast client's own (providers.md 0.1)
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


@dataclass(frozen=True, slots=True)
class Answered:
    """How a create ended. status: 0 when no answer came back, so that nobody knows; value: None when the body is no
    JSON; code, words: the provider's own, without the key; after: seconds that a 429 asks to wait; sent: False when the
    request surely never left, because there was nobody to send it to."""

    status: int
    value: Any = field(default=None, repr=False)  # Vast's holds a key of the instance
    code: str = ""
    words: str = ""
    after: float | None = None
    sent: bool = True


@dataclass(slots=True)
class Line:
    """One provider, its key ("": none is sent) and the time there is. deadline: seconds from now for everything; None:
    each call has `patience` seconds of its own.

    Raises ProviderFailed (KeyRefused, Throttled) with a next step. Redirects are never followed: no provider is known
    to send any (providers.md 1.3, 2.1), and the key would go along.
    """

    provider: str
    key: str = field(default="", repr=False)
    deadline: float | None = 20.0
    base: str = ""
    pause: float = 0.5  # seconds before the first repetition, doubled each time
    sleep: Callable[[float], None] = time.sleep
    patience: float = 60.0
    pace: Callable[[str, str], None] | None = None  # called with method and path before each request: waits its turn
    _end: float = field(init=False, repr=False)
    _session: requests.Session | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        self.base = self.base or base(self.provider)
        self._end = time.monotonic() + (self.patience if self.deadline is None else self.deadline)

    def __enter__(self) -> Line:
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

    def change(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
        """What a request answers that may safely be repeated: ending, stopping, replacing. None for an empty answer.

        Raises ProviderFailed with the status; 404 is for the caller to judge.
        """
        return self._asked(method, path, params=dict(query or {}), **({} if body is None else {"json": body}))

    def create(self, method: str, path: str, body: Any, patience: float = CREATING) -> Answered:
        """Sends a request that bills or piles up, exactly once. Never raises for what the other side does.

        patience: seconds to wait for the answer; an earlier end makes one machine two (providers.md 0.1).
        """
        self._turn(method, path)
        self._end = time.monotonic() + patience
        # On a connection of its own: one that was kept open may be dead, and then nobody knows whether this arrived.
        if self._session is not None:
            self._session.close()
            self._session = None
        try:
            status, headers, content = self._sent(method, path, {"json": body}, silence=patience)
        except NeverSent as nobody:
            return Answered(0, words=nobody.what, sent=False)
        except ProviderFailed as lost:
            return Answered(0, words=lost.what)
        code, message = words(content)
        if self.key and (self.key in message + code):
            code, message = "", ""  # it sent the key back
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = None
        return Answered(status, value, code, message, retry_after(headers))

    def lines(
        self, path: str, query: Mapping[str, str] | None = None, last: str = "", silence: float = SILENCE
    ) -> Iterator[str]:
        """The lines of a stream that may never end (Server-Sent Events), until it is cut or silent for that long.

        last: the id of the last event that was seen. Raises ProviderFailed when it does not start.
        """
        import requests
        from urllib3.exceptions import HTTPError

        self._start()
        self._turn("GET", path)
        headers = {"User-Agent": AGENT, "Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        started = False
        try:
            with self._opened().request(
                "GET",
                self.base + path,
                headers=headers,
                params=dict(query or {}),
                proxies=self._proxies(),
                auth=self._authorised,
                timeout=(CONNECT, silence),
                allow_redirects=False,
                stream=True,
            ) as answer:
                if not answer.ok:
                    raise self._refusal(answer.status_code, answer.headers, self._content(answer))
                started = True
                yield from whole_lines(answer)
        except (requests.RequestException, HTTPError, OSError) as broken:
            if not started:
                raise ProviderFailed(
                    self.provider, f"no stream ({type(broken).__name__})", "check the network, then ask again"
                ) from None
            return  # cut, or nothing new: the caller asks again with `last`

    def left(self) -> float:
        """Seconds until the deadline."""
        return self._end - time.monotonic()

    def _asked(self, method: str, path: str, **more: Any) -> Any:
        """Tries again after an answer or a line that may be better next time, within the deadline."""
        self._start()
        for attempt in range(1, TRIES + 1):
            try:
                self._turn(method, path)
                status, headers, content = self._sent(method, path, more)
            except ProviderFailed:
                wait = self._backoff(attempt)
                if attempt == TRIES or wait >= self.left():
                    raise
                self.sleep(wait)
                continue
            if 200 <= status < 300:
                return self._json(content) if content.strip() or method == "GET" else None
            failure = self._refusal(status, headers, content)
            asked = retry_after(headers)
            wait = self._backoff(attempt) if asked is None else asked
            if status not in AGAIN or failure.code in NEVER_AGAIN or attempt == TRIES or wait >= self.left():
                raise failure
            self.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _backoff(self, attempt: int) -> float:
        return self.pause * 2.0 ** (attempt - 1) * random.uniform(0.8, 1.2)

    def _start(self) -> None:
        if self.deadline is None:
            self._end = time.monotonic() + self.patience

    def _turn(self, method: str, path: str) -> None:
        if self.pace is not None:
            self.pace(method, path)

    def _opened(self) -> requests.Session:
        import requests

        if self._session is None:
            self._session = requests.Session()
        return self._session

    def _proxies(self) -> dict[str, str] | None:
        """No proxy on the way to this machine itself: it would see the key of plain http."""
        return {"http": "", "https": ""} if urlsplit(self.base).hostname in LOOPBACK else None

    def _sent(
        self, method: str, path: str, more: dict[str, Any], silence: float = SILENCE
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request. Raises ProviderFailed when the line breaks, the time is over or the answer has no end, NeverSent
        when there was nobody to connect to."""
        import requests
        from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

        if self.left() <= 0:
            raise self._late()
        timeout = (min(CONNECT, self.left()), min(silence, self.left()))
        try:
            with self._opened().request(
                method,
                self.base + path,
                headers={"User-Agent": AGENT, "Accept": "application/json"},
                proxies=self._proxies(),
                auth=self._authorised,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
                **more,
            ) as answer:
                content = self._content(answer)
                return answer.status_code, answer.headers, content
        except requests.ConnectTimeout:
            raise NeverSent(self.provider, "no connection in time", "check the network, then ask again") from None
        except requests.Timeout as late:
            raise self._late() from late
        except requests.RequestException as broken:  # its text may hold the whole URL: only its kind is told
            reason = getattr(broken.args[0] if broken.args else None, "reason", None)
            kind = NeverSent if isinstance(reason, (NewConnectionError, ConnectTimeoutError)) else ProviderFailed
            raise kind(
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


def whole_lines(answer: requests.Response) -> Iterator[str]:
    """The lines of an answer as they come, without their ends; one that is cut off in the middle is dropped.

    Not by requests' own `iter_lines`: of a stream that is not sent in chunks it hands out nothing before 512 bytes are
    there, and a silence before that loses them.
    """
    held = bytearray()
    while piece := answer.raw.read1(16 << 10, decode_content=True):
        held += piece
        *lines, rest = held.split(b"\n")
        held = bytearray(rest)
        if len(held) > LARGEST:
            return
        yield from (line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After asks for, as seconds or as a date (RFC 9110 10.2.3); None: none, or unreadable."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
