"""Vast's errors, with the words and statuses that are known (providers.md 2.1, A.2)."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """An answer that is no success: status, body (JSON, or plain text for a str), headers."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status, self.body, self.headers = status, body, headers or {}


def refused(status: int, error: str | None, msg: str, **more: Any) -> Refused:
    """The usual shape."""
    return Refused(status, {"success": False, **({"error": error} if error else {}), "msg": msg, **more})


# endpoint -> status of a bad key, where it is not 401 (providers.md 2.1)
BAD_KEY = {"bundles": 404, "charges": 404, "invoices": 404}
NO_LOGIN = ("charges", "invoices")  # 403 without any Authorization


def bad_key(endpoint: str) -> Refused:
    return refused(BAD_KEY.get(endpoint, 401), "auth_error", "Invalid user key")


def no_key(endpoint: str) -> Refused:
    """Nobody's request."""
    if endpoint in NO_LOGIN:
        return refused(403, "auth_error", "This action requires login.")
    if endpoint == "volumes":
        return Refused(401, {"detail": "Authentication credentials were not provided."})
    return bad_key(endpoint)


def bad_json() -> Refused:
    return Refused(400, {"error": "invalid_request", "msg": "Invalid json body"})


def bad_query(words: str) -> Refused:
    return Refused(400, {"error": "invalid_request", "msg": words})


def ask_id_wrong(ask: int) -> Refused:
    words = "error 400/3467: Invalid args: 'id' is required and must be a valid offer ID"
    return refused(400, "invalid_args", words, ask_id=ask)


def ask_of_somebody(ask: int) -> Refused:
    words = f"error 403/3586: Offer {ask} is not your own. Hosts can only rent their own machines."
    return refused(403, "invalid_args", words, ask_id=ask)


def ask_unavailable(ask: int) -> Refused:
    words = f"error 404/3603: no_such_ask Instance type by id {ask} is not available."
    return refused(404, "invalid_args", words, ask_id=ask)


def ask_gone(ask: int, status: int = 410) -> Refused:
    """410 as documented; 400 is what some have met [T]."""
    words = f"error 410/3907: no_such_ask Instance type {ask} is no longer available."
    return refused(status, "no_such_ask", words, ask_id=ask)


def invalid(words: str, ask: int | None = None) -> Refused:
    """A create or a change whose body does not do."""
    return refused(400, "invalid_args", words, **({} if ask is None else {"ask_id": ask}))


def no_instance(style: str = "no_such_instance") -> Refused:
    """Both forms of destroy's 404: dstack's, the spec's."""
    if style == "not_found":
        return refused(404, "not_found", "Instance not found")
    return refused(404, "no_such_instance", "Instance with that ID does not exist.")


def too_often(threshold: float, style: str = "detail") -> Refused:
    """429 in one of the four forms seen; none carries Retry-After (providers.md 2.1)."""
    words = f"API requests too frequent endpoint threshold={threshold:.1f}"
    match style:
        case "plain":
            return Refused(429, "API requests too frequent")
        case "plain_threshold":
            return Refused(429, f"API requests too frequent: endpoint threshold={threshold:.1f}")
        case "full":
            return refused(429, "rate_limit_exceeded", words)
    return Refused(429, {"detail": words})


def quota_used_up(until: float, now: float) -> Refused:
    """The daily search quota: the one 429 with Retry-After and X-RateLimit-Reset; its msg is invented."""
    body = {"success": False, "error": "search_quota_exceeded", "msg": "daily search quota (wording invented)"}
    wait = max(1, round(until - now))
    return Refused(429, body, {"Retry-After": str(wait), "X-RateLimit-Reset": str(round(until))})


def out_of_credit(style: str = "400") -> Refused:
    """Nobody knows this one's status for a create; the words are the CLI's and prepay's. INVENTED statuses."""
    match style:
        case "411":
            return Refused(411, {"success": False, "msg": "Insufficient credit"})
        case "402":
            return refused(402, "insufficient_credit", "Insufficient credits")
        case "200":
            return refused(200, "insufficient_credit", "Insufficient credits")
    return refused(400, "insufficient_credit", "Insufficient credits")
