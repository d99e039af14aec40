"""What every answer of Vast is checked for: HTTP 200 can carry a refusal (providers.md 2.1)."""

from __future__ import annotations

from typing import Any

from fleet.wire import fields
from fleet.wire.failed import KeyRefused, ProviderFailed, key_step
from profiles.errors import WrongInput

PROVIDER = "vast"
GONE = frozenset({"no_such_instance", "not_found", "invalid_id"})  # dstack, the OpenAPI file, the logs (2.1, 2.6)


def agreed(answer: Any, to: str) -> dict[str, Any]:
    """The object that answers `to`. Raises ProviderFailed for anything else and for `success: false`."""
    if not isinstance(answer, dict):
        raise ProviderFailed(PROVIDER, f"{to}: an answer that is no object", "ask again later")
    if fields.flag(answer, "success") is False:
        code, words = fields.text(answer, "error"), fields.text(answer, "msg")
        what = f"{to}: {words or code or 'refused'}"
        if code == "auth_error":
            raise KeyRefused(PROVIDER, what, key_step(PROVIDER), 200, code)
        raise ProviderFailed(PROVIDER, what, "the request was refused", 200, code)
    return answer


def gone(failed: ProviderFailed) -> bool:
    """Whether the provider said that there is no such instance: in its own words, a bare 404 is no proof."""
    return failed.status in (200, 404) and failed.code in GONE


def numbered(id: str, what: str) -> str:
    """An id as it may stand in a path. Raises WrongInput."""
    if not (id.isascii() and id.isdigit()):
        raise WrongInput(f"`{id}` is no {what} of vast", "its ids are numbers")
    return id
