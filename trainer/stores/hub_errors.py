"""What the Hub, its storage and the line to them answer, as StoreError: worth another try or not, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from trainer.errors import TrainerError
from trainer.stores.store import Missing, StoreError

TOKEN_STEP = (
    "make a token with write access to the repository at https://huggingface.co/settings/tokens and set HF_TOKEN to it"
)
SPACE_STEP = "free space (python -m trainer checkpoints prune), make the repository's plan larger, or sync elsewhere"
LINE_STEP = "it is tried again; if it stays: look at the line, and at https://status.huggingface.co"
# As the Hub says it, for instance huggingface_hub issues 3048 (private limit) and 3366 (patterns of storage).
NO_SPACE = re.compile(r"storage limit|storage patterns|quota|unlock more storage|payment required", re.IGNORECASE)
SECRETS = re.compile(r"hf_[A-Za-z0-9]{6,}|(?<=Bearer )\S+|\?\S*(?:Signature|X-Amz|token|Expires)\S*", re.IGNORECASE)
ABSENT = ("RepoNotFound", "RevisionNotFound", "EntryNotFound")
XET_STATUS = re.compile(r"HTTP status \w+ error \((\d{3})")  # how hf_xet words it, in a ConnectionError
# Steps of one upload: a 404 there is about the object, not about the repository.
LFS_STEP = re.compile(r"\.git/info/lfs|multipart|verify")
NOT_STORED = re.compile(r"lfs pointer|lfs file|not.{0,20}uploaded|does not exist in (?:the )?(?:lfs|storage)", re.I)


@contextmanager
def told(endpoint: str, action: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes a StoreError that begins with `action`. Interrupts and TrainerErrors pass."""
    try:
        yield
    except TrainerError:
        raise
    except Exception as error:
        raise store_error(error, endpoint, action) from None  # a traceback of the cause would show signed URLs


def store_error(error: BaseException, endpoint: str, action: str) -> StoreError:
    """The StoreError for an error of huggingface_hub, its HTTP client, hf_xet or the local disk."""
    found = _root(error)
    if isinstance(found, StoreError):
        return found
    response = getattr(found, "response", None)
    if response is not None:
        return answered(response, endpoint, action, _said(found))
    kind = type(found).__name__
    if kind == "OfflineModeIsEnabled":
        return StoreError(f"{action}: HF_HUB_OFFLINE forbids it", "unset HF_HUB_OFFLINE", transient=False)
    if kind == "HFValidationError":
        return StoreError(f"{action}: {line(str(found))}", "write hf://USER/REPO as the Hub allows it", transient=False)
    if kind in ("LocalTokenNotFoundError", "OIDCError", "DeviceCodeError"):
        return StoreError(f"{action}: {line(str(found))}", TOKEN_STEP, transient=False)
    if NO_SPACE.search(str(found)):  # one object's error in the answer of the LFS batch endpoint, or hf_xet's
        return StoreError(f"{action}: {line(str(found))}", SPACE_STEP, transient=False)
    if isinstance(found, OSError) and found.filename is not None:  # the local file, not the line
        return StoreError(f"{action}: cannot read {found.filename}: {found.strerror}", "verify the file here", False)
    if (told_by_xet := XET_STATUS.search(str(found))) and told_by_xet[1] in ("401", "403"):
        return StoreError(f"{action}: {line(str(found))}", TOKEN_STEP, transient=False)
    if isinstance(found, (NameError, AttributeError, TypeError, LookupError)):
        step = "another version of huggingface_hub may work; please report it"
        return StoreError(f"{action}: {kind}: {line(str(found))}", step, transient=False)
    # httpx's errors (timeouts, cut connections), socket errors, hf_xet's RuntimeError: the line or the other side.
    return StoreError(f"{action}: {kind}: {line(str(found)) or 'no further word'}", LINE_STEP)


def answered(response: Any, endpoint: str, action: str, said: str) -> StoreError:
    """The StoreError for an HTTP answer of 400 or more. said: what the server had to say about it."""
    status = int(response.status_code)
    if not _of_hub(response, endpoint):
        # Storage and CDN: their texts quote signed URLs, and their 403 is a signature that has expired.
        step = "it is sent again" if status != 404 else "it is looked for again; if it stays, the Hub has lost it"
        return StoreError(f"{action}: the Hub's storage answers {status}", step, after=wait(response.headers))
    text = f"{action}: the Hub answers {status}" + (f": {line(said)}" if said else "")
    if status in (402, 403, 413) and NO_SPACE.search(said):
        return StoreError(text, SPACE_STEP, transient=False)
    if status in (408, 425, 429) or status >= 500:
        return StoreError(text, LINE_STEP, after=wait(response.headers))
    if status in (409, 412):
        return StoreError(text, "someone else writes to the repository; it is tried again")
    if status in (401, 403):
        return StoreError(text, TOKEN_STEP, transient=False)
    if NOT_STORED.search(said):
        return StoreError(text, "what the storage lost is sent again")
    if status == 404 and LFS_STEP.search(urlsplit(str(response.request.url)).path):
        return StoreError(text, "what the storage lost is sent again")
    if status == 404:
        return Missing(text, "look at the repository's name, kind and revision, and at what the token may see")
    return StoreError(text, "read what the Hub says; a newer huggingface_hub may know better", transient=False)


def wait(headers: Any) -> float | None:
    """Seconds the other side asks us to wait: Retry-After, or the reset of an exhausted rate limit.

    `RateLimit: "api";r=0;t=55` is the Hub's (huggingface_hub's utils/_http.py reads it the same way).
    """
    after = str(headers.get("Retry-After", "")).strip()
    if after.isdigit():
        return float(after)
    limit = re.search(r"\br\s*=\s*0\s*;\s*t\s*=\s*(\d+)", str(headers.get("RateLimit", "")))
    return float(limit[1]) if limit else None


def line(text: str) -> str:
    """One short line of a server's text, without secrets."""
    kept = [part.strip() for part in SECRETS.sub("...", text).splitlines() if part.strip()]
    short = " ".join(kept)
    return short if len(short) <= 240 else short[:237] + "..."


def absent(error: BaseException) -> bool:
    """Whether the Hub knows no such repository, revision or file, as far as this token may see.

    Told by the Hub's own X-Error-Code, as huggingface_hub does (utils/_http.py, hf_raise_for_status): a 404 of some
    other server behind a wrong HF_ENDPOINT does not mean that nothing was ever stored.
    """
    response = getattr(error, "response", None)
    return response is not None and response.status_code == 404 and response.headers.get("X-Error-Code") in ABSENT


def _said(error: BaseException) -> str:
    return str(getattr(error, "server_message", None) or "")


def _of_hub(response: Any, endpoint: str) -> bool:
    try:
        asked = urlsplit(str(response.request.url))
    except RuntimeError:  # an answer without its request
        return True
    return asked.netloc == urlsplit(endpoint).netloc


def _root(error: BaseException) -> BaseException:
    """What is below the RuntimeError that the client wraps around every failed upload."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error
