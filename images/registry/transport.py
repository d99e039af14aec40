"""Requests to one registry: scheme, authorisation, redirects, retry, a shared pause. What they mean lies above."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import urljoin

from images.registry import challenge as challenges
from images.registry import errors
from images.registry.address import API_HOSTS, Origin, inner_address, is_loopback, origin_of, split_port
from images.registry.auth import Authorizer, checked_realm, with_query
from images.registry.credentials import Credential
from images.registry.pace import Clock, Pause, RetryPolicy, retry_after
from images.registry.wire import Response, Stream, Wire

REDIRECTS = (301, 302, 303, 307, 308)
HOPS = 5
AGENT = "stoker/0.1"


class Transport:
    """One registry as it is reached. Safe to use from several threads.

    host: as the user names it, 'nvcr.io' or '127.0.0.1:5000'; say: where server warnings go, once each.
    """

    def __init__(
        self,
        host: str,
        wire: Wire,
        credential: Callable[[], Credential],
        policy: RetryPolicy,
        clock: Clock,
        say: Callable[[str], None],
        insecure: bool = False,
    ) -> None:
        self.host, self.wire, self.policy, self.clock, self.say = host, wire, policy, clock, say
        self.insecure = insecure
        self.pause = Pause(clock)
        self.lock = threading.Lock()
        self.found: Origin | None = None
        self.warned: set[str] = set()
        self.answered = False
        self.authorizer = Authorizer(host, lambda: self.origin, credential, self.plain, clock)

    @property
    def origin(self) -> Origin:
        """Scheme, host and port; loopback and insecure registries are asked which scheme they speak."""
        with self.lock:
            if self.found is None:
                self.found = self.discover()
            return self.found

    def discover(self) -> Origin:
        name, port = split_port(API_HOSTS.get(self.host, self.host))
        if not (self.insecure or is_loopback(self.host)):
            return Origin("https", name, port or 443)
        plain, tls = Origin("http", name, port or 80), Origin("https", name, port or 443)
        order = (tls, plain) if self.insecure and not is_loopback(self.host) else (plain, tls)
        for candidate in order:
            if self.speaks(candidate):
                return candidate
        return order[0]

    def speaks(self, origin: Origin) -> bool:
        """Whether the port answers in this scheme; Go and nginx answer plain HTTP on a TLS port with 400."""
        try:
            with self.wire.send("GET", f"{origin.url}/v2/", {"User-Agent": AGENT}) as response:
                return response.status != 400 or response.header("docker-distribution-api-version") is not None
        except Exception as failure:
            if is_network(failure):
                return False
            raise

    def request(
        self,
        method: str,
        path: str,
        *,
        name: str,
        scopes: Sequence[str],
        headers: Mapping[str, str] | None = None,
        body: bytes | Stream | None = None,
        accept: Collection[int] = (),
        digest: str | None = None,
        offset: int | None = None,
        tries: int | None = None,
    ) -> Response:
        """The answer of less than 400, or one in `accept`; everything else is raised.

        path: '/v2/...' or an absolute URL; name: registry and repository, for the text. A Stream is sent once: the
        caller knows the offset to go on from. Raises Missing, LoginNeeded, Unreachable, RegistryError.
        """
        limit = 1 if isinstance(body, Stream) else tries or self.policy.tries
        for attempt in range(1, limit + 1):
            self.pause.wait()
            url = urljoin(self.origin.url + "/", path)
            try:
                response = self.authorised(method, url, name, scopes, dict(headers or {}), body)
                self.answered = True
                self.warn(response)
                if response.status < 400 or response.status in accept:
                    return response
                failure = self.refused(response, method, name, attempt, digest, offset)
            except Exception as cut:
                if not is_network(cut):
                    raise
                failure = self.unreachable(cut, method, url, attempt, digest, offset)
            if not failure.temporary or attempt == limit:
                raise failure
            self.clock.sleep(self.policy.delay(attempt))
        raise AssertionError("a request has at least one try")

    def refused(
        self, response: Response, method: str, name: str, attempt: int, digest: str | None, offset: int | None
    ) -> errors.RegistryError:
        """What an answer of 400 or more means; a Retry-After in it is heard."""
        self.hear(response)
        return errors.from_answer(
            response.status,
            response.read(errors.BODY_LIMIT),
            method=method,
            url=response.url,
            host=self.host,
            name=name,
            attempt=attempt,
            digest=digest,
            offset=offset,
        )

    def authorised(
        self,
        method: str,
        url: str,
        name: str,
        scopes: Sequence[str],
        headers: dict[str, str],
        body: bytes | Stream | None,
    ) -> Response:
        """Sends with Authorization to our own origin only, answers one 401, follows redirects."""
        headers["User-Agent"] = AGENT
        renewed = False
        for _ in range(HOPS + 2):
            own = origin_of(url) == self.origin
            known = self.authorizer.header(scopes) if own else None
            if known and not renewed:
                headers["Authorization"] = known
            response = self.wire.send(method, url, headers, body)
            if response.status == 401 and not renewed and not isinstance(body, Stream):
                renewed = True
                asked = response.headers("www-authenticate")
                used = headers.get("Authorization")
                fresh = self.authorizer.answer(asked, scopes, used) if own else self.visitor(asked, url)
                if fresh is None:
                    return response
                response.close()
                headers["Authorization"] = fresh
                continue
            if response.status not in REDIRECTS or isinstance(body, Stream) or not response.header("location"):
                return self.note_expired(response, scopes, headers, own, body)
            if method not in ("GET", "HEAD") and response.status not in (307, 308):
                return response
            url, renewed = self.follow(response, headers), False
        raise errors.RegistryError(f"{name}: more than {HOPS} redirects", "the registry's operator must repair this")

    def note_expired(
        self,
        response: Response,
        scopes: Sequence[str],
        headers: Mapping[str, str],
        own: bool,
        body: bytes | Stream | None,
    ) -> Response:
        """A 401 to a body that cannot be sent again: the token is renewed here, the uploader sends the body anew."""
        if response.status == 401 and own and isinstance(body, Stream):
            fresh = self.authorizer.answer(response.headers("www-authenticate"), scopes, headers.get("Authorization"))
            response.status = 408 if fresh else 401  # temporary: the same offset again, with the new token
        return response

    def follow(self, response: Response, headers: dict[str, str]) -> str:
        """The redirect's target; signed URLs of other hosts fail, and our token leaks, if Authorization goes along."""
        target = urljoin(response.url, response.header("location") or "")
        response.close()
        here = origin_of(response.url)
        try:
            there = origin_of(target)
        except ValueError:
            raise errors.RegistryError(f"{self.host} redirects to something that is not http(s)") from None
        downgrade = here.scheme == "https" and there.scheme == "http"
        if downgrade or (there.host != here.host and link_local(there.host)):
            raise errors.RegistryError(
                f"{self.host} redirects to {errors.redacted(target)}, which is not safe to follow",
                "the registry's operator must repair this",
            )
        if there != self.origin:
            headers.pop("Authorization", None)
        return target

    def visitor(self, asked: Sequence[str], url: str) -> str | None:
        """An anonymous token for one request to another host, kept out of the shared ones (ggcr#2359)."""
        challenge = challenges.usable(asked)
        if challenge is None or challenge.scheme != "bearer":
            return None
        realm = checked_realm(challenge.params["realm"], origin_of(url))
        pairs = [("scope", scope) for scope in challenges.scopes_of(challenge)]
        if service := challenge.params.get("service"):
            pairs.append(("service", service))
        response = self.plain("GET", with_query(realm, pairs), {}, None)
        if response.status >= 300:
            response.close()
            return None
        return "Bearer " + self.authorizer.token_of(response, realm)[0]

    def plain(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        """A token call: no Authorization of ours, temporary failures tried again."""
        for attempt in range(1, self.policy.tries + 1):
            try:
                response = self.wire.send(method, url, {**headers, "User-Agent": AGENT}, body)
            except Exception as cut:
                if not is_network(cut):
                    raise
                if attempt == self.policy.tries:
                    raise self.unreachable(cut, method, url, attempt, None, None) from None
            else:
                if response.status not in errors.TEMPORARY_STATUS or attempt == self.policy.tries:
                    return response
                self.hear(response)
                response.close()
                self.pause.wait()
            self.clock.sleep(self.policy.delay(attempt))
        raise AssertionError("a request has at least one try")

    def hear(self, response: Response) -> None:
        """Retry-After holds back every worker of this registry, not only the one that heard it."""
        seconds = retry_after(response.header("retry-after"), self.clock, self.policy.retry_after_ceiling)
        if seconds is not None:
            self.pause.extend(seconds)

    def warn(self, response: Response) -> None:
        """`Warning: 299 - "text"` is for the user's eyes, once (distribution-spec, "Warnings")."""
        for value in response.headers("warning"):
            code, _, rest = value.partition(" ")
            text = rest.partition('"')[2].rpartition('"')[0]
            if code == "299" and text.isprintable() and text not in self.warned:
                self.warned.add(text)
                self.say(f"{self.host} warns: {text[:500]}")

    def unreachable(
        self, cut: Exception, method: str, url: str, attempt: int, digest: str | None, offset: int | None
    ) -> errors.Unreachable:
        words = "no answer in time" if isinstance(cut, TimeoutError) else f"{type(cut).__name__}: {cut}".rstrip(": ")
        blob = f" ({digest[:19]}... at byte {offset or 0})" if digest else ""
        tries = f" after {attempt} tries" if attempt > 1 else ""
        lasting = "CERTIFICATE_VERIFY_FAILED" in words
        if isinstance(cut, socket.gaierror):
            lasting = cut.errno != socket.EAI_AGAIN
        if isinstance(cut, ConnectionRefusedError):
            lasting = not self.answered  # nobody listens there; one that answered before may be restarting
        step = "check the host's name, the network and whether it needs TLS; the same command goes on where it stopped"
        if "CERTIFICATE_VERIFY_FAILED" in words:
            step = f"install its certificate authority, or set STOKER_INSECURE_REGISTRIES={self.host}"
        return errors.Unreachable(
            f"{self.host}: connection failed{tries}: {method} {errors.redacted(url)}{blob}: {words}",
            step,
            method=method,
            url=errors.redacted(url),
            attempt=attempt,
            digest=digest,
            offset=offset,
            temporary=not lasting,
        )

    def checked_location(self, response: Response) -> str:
        """The upload's next URL, resolved against the URL that answered. Raises RegistryError for an inner address."""
        location = response.header("location")
        if not location:
            raise errors.RegistryError(f"{self.host} answered {response.status} without a Location")
        target = urljoin(response.url, location)
        try:
            there, here = origin_of(target), origin_of(response.url)
        except ValueError:
            raise errors.RegistryError(f"{self.host} names a Location that is not http(s)") from None
        foreign = there != here and there != self.origin
        if foreign and (inner_address(there.host) or (there.scheme == "http" and here.scheme == "https")):
            raise errors.RegistryError(
                f"{self.host} moves the upload to {errors.redacted(target)}, which is not safe to follow",
                "the registry's operator must repair this (for a registry behind a proxy: set its external URL)",
            )
        return target


def is_network(failure: Exception) -> bool:
    """Whether the link failed, and not we or the file we read."""
    from http.client import HTTPException

    from profiles.errors import StokerError

    if isinstance(failure, StokerError):
        return False
    return isinstance(failure, HTTPException | ConnectionError | TimeoutError) or (
        isinstance(failure, OSError) and (failure.filename is None)
    )


def link_local(host: str) -> bool:
    """Cloud metadata services live on link-local addresses."""
    return inner_address(host) and (host.startswith("169.254.") or host.lower().startswith("fe8"))
