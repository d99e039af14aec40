"""How a provider fails, in a line that names the provider, the status and the next step, and never a key."""

from __future__ import annotations

import json
from typing import Any

from fleet.wire.fields import printable
from profiles.errors import OutsideFailed

KEY_NAMES = {"runpod": "RUNPOD_API_KEY", "vast": "VAST_API_KEY", "hyperbolic": "HYPERBOLIC_API_KEY"}
KEY_PAGES = {
    "runpod": "the console's settings, API keys",
    "vast": "the console's account page, API keys",
    "hyperbolic": "the web app's settings, API key",
}


class ProviderFailed(OutsideFailed):
    """A request to a provider that failed for good. status: 0 without an answer; code: the provider's own word."""

    def __init__(self, provider: str, what: str, next_step: str = "", status: int = 0, code: str = "") -> None:
        super().__init__(f"{provider}: {what}", next_step)
        self.provider, self.status, self.code = provider, status, code


class KeyRefused(ProviderFailed):
    """401, 403 and what means the same."""


class Throttled(ProviderFailed):
    """429, or a wait longer than there is time for."""


class NeverSent(ProviderFailed):
    """There was nobody to send it to: whatever it asked for surely did not happen."""


def key_step(provider: str) -> str:
    """Where a key comes from and where it goes."""
    return f"make a key in {KEY_PAGES[provider]}, and set {KEY_NAMES[provider]} to it"


def words(body: bytes) -> tuple[str, str]:
    """(code, message) of an error body, bounded and printable; any body is possible.

    RunPod: problem+json with `title` and `detail`; Vast: `error` and `msg`, some only `msg`, `message` or `detail`, or
    plain text; Hyperbolic: `error` as text or {code, message}, `message`, `msg` (providers.md 1.3, 2.1, 3.6).
    A page of HTML says nothing to the user: only that it was one.
    """
    content = body.decode("utf-8", "replace").strip()
    if content.startswith("<"):
        return "", "a page of HTML"
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return "", printable(content)
    if not isinstance(found, dict):
        return "", ""
    error = found.get("error")
    nested: dict[str, Any] = error if isinstance(error, dict) else {}
    code = error if isinstance(error, str) else nested.get("code")
    texts = (found.get("detail"), found.get("msg"), found.get("message"), nested.get("message"), found.get("title"))
    message = next((text for text in texts if isinstance(text, str) and text.strip()), code)
    return printable(code) if isinstance(code, str) else "", printable(message) if isinstance(message, str) else ""
