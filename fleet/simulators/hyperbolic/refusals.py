"""Hyperbolic's errors. Their shape is not known: clients read four, so that all four are given (providers.md 3.6).
Every wording, and every status but 403 for the edge and 500, is invented."""

from __future__ import annotations

from typing import Any

STYLES = ("message", "error_object", "error_text", "msg")

EDGE = (
    "<!DOCTYPE html><html><head><title>Access denied</title></head>"
    "<body><h1>Error 1010</h1><p>The owner of this website has banned your access (wording invented)</p></body></html>"
)


class Refused(Exception):
    """An answer that is no success: status, and a body of one of the four shapes (a str: an edge's page)."""

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(status, code, words)
        self.status, self.code, self.words = status, code, words

    def body(self, style: str = "message") -> Any:
        return written(style, self.code, self.words)


def written(style: str, code: str, words: str) -> Any:
    """One error in one of the four shapes."""
    match style:
        case "error_object":
            return {"error": {"code": code, "message": words}}
        case "error_text":
            return {"error": words}
        case "msg":
            return {"msg": words}
    return {"message": words}


def unauthorized() -> Refused:
    return Refused(401, "UNAUTHORIZED", "Unauthorized (wording invented)")


def malformed(words: str) -> Refused:
    return Refused(400, "BAD_REQUEST", f"{words} (wording invented)")


def unavailable() -> Refused:
    return Refused(404, "UNAVAILABLE", "option no longer available (wording invented)")


def poor() -> Refused:
    return Refused(402, "INSUFFICIENT_BALANCE", "insufficient balance (wording invented)")


def no_rental() -> Refused:
    return Refused(404, "NOT_FOUND", "Rental not found (wording invented)")


def broken() -> Refused:
    return Refused(500, "INTERNAL", "internal error (wording invented)")
