"""What a registry can answer wrongly, in words that name the registry, the layer, the byte and the next step.

Never holds a token, an Authorization header or a signed query: URLs are redacted before they get here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import urlsplit

from profiles.errors import OutsideFailed, StoppedEarly

# 499 is nginx "client closed", 522 Cloudflare "origin timed out" (ggcr pkg/v1/remote/options.go).
TEMPORARY_STATUS = frozenset({408, 429, 499, 500, 502, 503, 504, 522})
TEMPORARY_CODES = frozenset({"BLOB_UPLOAD_INVALID", "TOOMANYREQUESTS", "UNKNOWN", "UNAVAILABLE"})
BODY_LIMIT = 64 << 10  # bytes of an error body that are read


class RegistryError(OutsideFailed):
    """A request that failed for good, or (`temporary`) one that may be tried again from the same offset."""

    def __init__(
        self,
        what: str,
        next_step: str = "",
        *,
        method: str = "",
        url: str = "",
        status: int = 0,
        codes: tuple[str, ...] = (),
        attempt: int = 1,
        digest: str | None = None,
        offset: int | None = None,
        temporary: bool = False,
    ) -> None:
        super().__init__(what, next_step)
        self.method, self.url, self.status, self.codes = method, url, status, codes
        self.attempt, self.digest, self.offset, self.temporary = attempt, digest, offset, temporary


class Missing(RegistryError):
    """404: no such manifest, blob or repository. The reference is wrong, so this is wrong input."""

    exit_code = 2


class LoginNeeded(RegistryError):
    """401 or 403."""


class DigestMismatch(RegistryError):
    """Bytes that are not what their digest says: never retried, never tagged."""


class Unreachable(RegistryError):
    """No answer: refused, reset, cut, timed out, TLS."""


class Interrupted(StoppedEarly):
    """Ctrl-C or another worker's failure, noticed between two chunks; the journal is kept."""


def redacted(url: str) -> str:
    """`url` without user, password and query: signed URLs and upload states are secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = "?..." if parts.query else ""
    return f"{parts.scheme}://{host}{parts.path}{query}"


def codes_of(body: bytes) -> tuple[tuple[str, ...], str]:
    """The error codes and the messages of an error body (distribution-spec, "Error Codes"); any body is possible."""
    try:
        errors = json.loads(body)["errors"]
        codes = tuple(str(error.get("code", "")) for error in errors)
        text = "; ".join(str(error.get("message", "")) for error in errors if error.get("message"))
    except (ValueError, KeyError, TypeError, AttributeError):
        text = " ".join(body.decode("utf-8", "replace").split())
        codes = ()
    return codes, "".join(letter for letter in text if letter.isprintable())[:300]


def login_command(host: str) -> str:
    """How to log in, NGC's fixed user name included."""
    if host.split(":")[0] == "nvcr.io":
        return "docker login nvcr.io (user name: $oauthtoken, password: the NGC API key)"
    return "docker login" if host == "docker.io" else f"docker login {host}"


def is_temporary(status: int, codes: Iterable[str]) -> bool:
    """Whether the same request may succeed later (ggcr transport/error.go Temporary)."""
    seen = tuple(codes)
    return status in TEMPORARY_STATUS or (bool(seen) and status != 404 and all(c in TEMPORARY_CODES for c in seen))


def from_answer(
    status: int,
    body: bytes,
    *,
    method: str,
    url: str,
    host: str,
    name: str,
    attempt: int = 1,
    digest: str | None = None,
    offset: int | None = None,
) -> RegistryError:
    """The error for an answer of 400 or more.

    host: the registry as the user knows it; name: registry and repository, for the text.
    """
    codes, text = codes_of(body)
    said = ": ".join(filter(None, (", ".join(filter(None, codes)), text)))
    where = f"{method} {redacted(url)}"
    blob = f" ({digest[:19]}...{f' at byte {offset}' if offset else ''})" if digest else ""
    tries = f" after {attempt} tries" if attempt > 1 else ""
    detail = f"{where}{blob}: {status}{f' {said}' if said else ''}{tries}"
    kind, what, step = RegistryError, f"the registry answered {detail}", "try again; if it goes on, ask its operator"
    if status in (401, 403):
        kind, what = LoginNeeded, f"{name}: access was refused ({detail})"
        step = f"{login_command(host)}; then check that the repository exists and that you may use it"
    elif status == 404:
        kind, what = Missing, f"{name}: not found ({detail})"
        step = "check the tag and the repository's spelling, and whether it needs a login: " + login_command(host)
    elif status == 413:
        what, step = f"{host} takes no body of this size ({detail})", "use smaller chunks or raise the server's limit"
    elif status == 429:
        step = f"{host} limits requests: wait, or log in for a higher limit ({login_command(host)})"
    return kind(
        what,
        step,
        method=method,
        url=redacted(url),
        status=status,
        codes=codes,
        attempt=attempt,
        digest=digest,
        offset=offset,
        temporary=is_temporary(status, codes),
    )
