"""Authorisation at one registry: Basic, or Bearer tokens cached per set of scopes.

Sources: distribution docs spec/auth/token.md and oauth.md; go-containerregistry pkg/v1/remote/transport/bearer.go.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from images.registry import challenge as challenges
from images.registry.address import Origin, inner_address, origin_of
from images.registry.credentials import Credential
from images.registry.errors import BODY_LIMIT, LoginNeeded, RegistryError, from_answer, login_command, redacted
from images.registry.pace import Clock
from images.registry.wire import Response

CLIENT = "stoker"
SHORTEST = 60  # seconds a token lives when the server does not say (token.md)
MARGIN = 10  # seconds before its end at which a token is no longer used
HOPS = 5


# One request without authorisation of its own, tried again on temporary failures; redirects are the caller's.
Send = Callable[[str, str, Mapping[str, str], bytes | None], Response]


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and what it is good for."""

    value: str
    scopes: tuple[str, ...]
    until: float  # monotonic seconds


class Authorizer:
    """What to say in `Authorization` at one registry. Safe to use from several threads: one fetch at a time."""

    def __init__(
        self,
        host: str,
        origin: Callable[[], Origin],
        credential: Callable[[], Credential],
        send: Send,
        clock: Clock,
    ) -> None:
        self.host, self.origin, self.credential, self.send, self.clock = host, origin, credential, send, clock
        self.lock = threading.Lock()
        self.challenge: challenges.Challenge | None = None
        self.tokens: list[Token] = []
        self.refresh = ""
        self.who: Credential | None = None

    def header(self, scopes: Sequence[str]) -> str | None:
        """Authorization known without asking, so that no body is sent in vain; None before the first challenge.

        Once the registry has asked for Bearer, a token that is missing or about to expire is fetched here.
        """
        with self.lock:
            if self.challenge is None:
                return None
            return self.authorise(self.challenge, tuple(scopes))

    def answer(self, headers: Sequence[str], scopes: Sequence[str], used: str | None) -> str | None:
        """A new Authorization after a 401, or None when nothing better can be said than `used`.

        The scope the server misses goes first, because some servers read only one (ggcr bearer.go).
        """
        challenge = challenges.usable(headers)
        if challenge is None:
            return None
        with self.lock:
            self.challenge = challenge
            missing = challenges.scopes_of(challenge)
            wanted = (*missing, *(s for s in scopes if not challenges.covers(missing, (s,))))
            if used is not None:
                self.who = None  # helpers give short-lived passwords: ask again
                self.tokens = [token for token in self.tokens if f"Bearer {token.value}" != used]
            fresh = self.authorise(challenge, wanted)
            return fresh if fresh != used else None

    def authorise(self, challenge: challenges.Challenge, scopes: tuple[str, ...]) -> str | None:
        if self.who is None:
            self.who = self.credential()
        who = self.who
        if challenge.scheme == "basic":
            return who.basic
        if who.registry_token:
            return f"Bearer {who.registry_token}"
        now = self.clock.monotonic()
        self.tokens = [token for token in self.tokens if token.until > now]
        for token in self.tokens:
            if challenges.covers(token.scopes, scopes):
                return f"Bearer {token.value}"
        value, seconds = self.fetch(challenge, scopes, who)
        self.tokens.append(Token(value, scopes, now + max(seconds - MARGIN, 1)))
        return f"Bearer {value}"

    def fetch(self, challenge: challenges.Challenge, scopes: Sequence[str], who: Credential) -> tuple[str, float]:
        """A token and its life in seconds. Raises LoginNeeded, RegistryError."""
        realm = checked_realm(challenge.params["realm"], self.origin())
        service = challenge.params.get("service")
        refresh = self.refresh or who.identity_token
        response = None
        if refresh:
            form = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": CLIENT}
            form |= {"service": service} if service else {}
            form |= {"scope": " ".join(scopes)} if scopes else {}
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self.call("POST", realm, kind, urlencode(form).encode())
            if response.status in (404, 405) or (response.status in (400, 401) and self.refresh and who.basic):
                response.close()  # not every server has the POST; and a refresh token can be withdrawn
                self.refresh, response = "", None
        if response is None:
            pairs = [("service", service)] if service else []
            pairs += [("scope", scope) for scope in scopes]
            if who.basic:
                pairs.append(("account", who.username))
            headers = {"Authorization": who.basic} if who.basic else {}
            response = self.call("GET", with_query(realm, pairs), headers, None)
        return self.token_of(response, realm)

    def call(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        """A token call. Redirects are checked like the realm itself and never carry the password elsewhere."""
        for _ in range(HOPS):
            response = self.send(method, url, headers, body)
            if response.status not in (301, 302, 303, 307, 308):
                return response
            target = checked_realm(urljoin(url, response.header("location") or ""), self.origin())
            response.close()
            if origin_of(target) != origin_of(url):
                headers = {k: v for k, v in headers.items() if k != "Authorization"}
                if body is not None:
                    break  # the body holds the refresh token
            url = target
        raise RegistryError(f"{self.host}: the token service at {redacted(url)} redirects where it must not")

    def token_of(self, response: Response, realm: str) -> tuple[str, float]:
        body = response.read(BODY_LIMIT)
        if response.status >= 400:
            error = from_answer(
                response.status, body, method="GET", url=realm, host=self.host, name=self.host, attempt=1
            )
            if response.status in (400, 401, 403):  # 400: GitLab's and others' "wrong password"
                raise LoginNeeded(
                    f"{self.host} refused the login ({response.status} from {redacted(realm)})",
                    f"log in again: {login_command(self.host)}",
                    status=response.status,
                    codes=error.codes,
                )
            raise error
        try:
            answer: dict[str, Any] = json.loads(body)
            value = answer.get("token") or answer.get("access_token")
            seconds = float(answer.get("expires_in") or SHORTEST)
            refresh = answer.get("refresh_token")
        except (ValueError, AttributeError, TypeError):
            value, seconds, refresh = None, 0.0, None
        if not isinstance(value, str) or not value or not value.isprintable():
            raise RegistryError(
                f"{self.host}: the token service at {redacted(realm)} answered without a token",
                "the registry's operator must repair its token service",
            )
        if isinstance(refresh, str) and refresh:
            self.refresh = refresh
        return value, max(seconds, SHORTEST) if seconds <= 0 else seconds


def checked_realm(realm: str, registry: Origin) -> str:
    """`realm` if a password may go there: https, or http when the registry is http; no inner address but its own.

    Raises RegistryError. A realm is whatever the server writes (ggcr transport/bearer.go, ggcr#2258).
    """
    try:
        origin = origin_of(realm)
    except ValueError:
        origin = None
    own = origin is not None and (origin.host, origin.port) == (registry.host, registry.port)
    if origin is None or (origin.scheme == "http" and registry.scheme != "http"):
        problem = "is not https"
    elif inner_address(origin.host) and not own:
        problem = "is an inner address"
    elif urlsplit(realm).username is not None:
        problem = "holds a user name"
    else:
        return realm
    named = redacted(realm) if origin else "its token service"
    raise RegistryError(
        f"{registry.host}: refused to ask {named} for a token: it {problem}",
        "the registry's operator must name a safe realm in WWW-Authenticate",
    )


def with_query(url: str, pairs: Sequence[tuple[str, str]]) -> str:
    """`url` with parameters set: those of the same name are replaced, the others keep their place."""
    parts = urlsplit(url)
    names = {name for name, _ in pairs}
    kept = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k not in names]
    return urlunsplit(parts._replace(query=urlencode([*kept, *pairs]), fragment=""))
