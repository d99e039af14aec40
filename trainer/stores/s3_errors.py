"""What boto3's errors mean for another try."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from trainer.errors import TrainerError
from trainer.stores.counted import Counted
from trainer.stores.store import Missing, StoreError

TRANSIENT = {
    *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "ThrottlingException"),
    *("TooManyRequests", "RequestLimitExceeded", "OperationAborted", "BadDigest", "IncompleteBody", "NoSuchUpload"),
    *("InvalidPart", "XMinioServerNotInitialized", "ConditionalRequestConflict"),
}
ROOM = {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "StorageQuotaExceeded"}
LOGIN = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "Forbidden"}
NO_LOGIN = {
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"),
    *("ProfileNotFound", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "ConfigParseError"),
}
CLIENT = {"ParamValidationError", "InvalidEndpointConfigurationError", "NoRegionError", "UnknownServiceError"}
HINT = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL, and that they may list, read and write"


@contextmanager
def told(doing: str, counted: Counted | None = None) -> Iterator[None]:
    """Turns the client's errors into StoreError; what `moved` raised comes through as it was."""
    try:
        yield
    except TrainerError:
        raise
    except Exception as error:
        if counted is not None and counted.raised is not None:
            raise counted.raised from None
        raise said(doing, error) from None


def code_of(error: BaseException) -> str:
    """The server's word for it; '' when no server answered."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def status_of(error: BaseException) -> int:
    """The HTTP status; 0 when no server answered."""
    response = getattr(error, "response", None)
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) if isinstance(response, dict) else 0


def said(doing: str, error: Exception) -> StoreError:
    """The error for what boto3 raised."""
    if own := _own(error):
        return own
    code, status, kind = code_of(error), status_of(error), type(error).__name__
    what = f"{doing}: {_line(error)}"
    if code in ("NoSuchKey", "NoSuchBucket") or (status == 404 and code != "NoSuchUpload"):
        return Missing(what, "check the bucket's name and AWS_ENDPOINT_URL")
    if kind in NO_LOGIN:
        return StoreError(what, HINT, transient=False)
    if kind in CLIENT or (isinstance(error, (TypeError, ValueError)) and not status):
        return StoreError(what, "check the URL, AWS_ENDPOINT_URL and AWS_DEFAULT_REGION", transient=False)
    if not status:
        return StoreError(what, "check the network and AWS_ENDPOINT_URL")
    if code in ROOM or status == 507:
        return StoreError(what, "make room in the bucket, or raise its quota", transient=False)
    if code in TRANSIENT or status in (408, 409, 425, 429) or status >= 500:
        return StoreError(what, "the same call goes on where it stopped", after=_after(error))
    return StoreError(what, HINT if code in LOGIN or status in (401, 403) else "", transient=False)


def _own(error: BaseException | None) -> StoreError | None:
    """Ours, that a body raised and the client wrapped."""
    while error is not None:
        if isinstance(error, StoreError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _after(error: BaseException) -> float | None:
    """Seconds of Retry-After (RFC 9110, 10.2.3), when it is a number."""
    response = getattr(error, "response", {})
    value = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    return float(value) if re.fullmatch(r"\d{1,6}", value) else None


def _line(error: Exception) -> str:
    """The first line, without what a URL's query or login may tell."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    line = re.sub(r"\?[^\s'\"]+", "?...", line)
    return re.sub(r"//[^/\s@]+@", "//...@", line)[:300]
