"""RunPod's refusals: RFC 9457 problems, with the exact words that are known (providers.md 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet.simulators.wire import Reply

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    410: "Gone",
    413: "Content Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications. Please refresh and try again."
)
NO_CAPACITY_VARIANTS = (  # of the older APIs, providers.md 1.3
    "There are no instances available with the request specifications. Please try again later.",
    "There are no longer any instances available with enough disk space.",
)
NO_FREE_GPU = "There are not enough free GPUs on the host machine to start this pod."


class Refused(Exception):
    """Ends a request with a problem."""

    def __init__(self, status: int, detail: str, errors: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.reply = problem(status, detail, errors)


def problem(status: int, detail: str, errors: Sequence[str] = (), headers: dict[str, str] | None = None) -> Reply:
    """The answer `{"title", "status", "detail"[, "errors"]}` as application/problem+json."""
    body: dict[str, Any] = {"title": TITLES[status], "status": status, "detail": detail}
    if errors:
        body["errors"] = list(errors)
    return Reply(status, body, {"Content-Type": "application/problem+json", **(headers or {})})


def not_found() -> Refused:
    return Refused(404, "resource not found")


def invalid(errors: Sequence[str]) -> Refused:
    """A body or parameter that fails validation."""
    return Refused(422, "Request validation failed.", errors)


def no_capacity(variant: bool = False) -> Refused:
    return Refused(400, NO_CAPACITY_VARIANTS[0] if variant else NO_CAPACITY)
