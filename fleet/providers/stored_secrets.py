"""Secrets in a provider's own store are named after their content: made once, never overwritten, and two runs with
different tokens cannot meet."""

from __future__ import annotations

import hashlib

STAY = "stays in the account's secrets as STOKER_..., another run may use it; the provider's web console deletes it"


def stored_name(variable: str, value: str) -> str:
    """`STOKER_1A2B3C4D_HF_TOKEN`: 32 bits of SHA-256 of the value, then the variable."""
    return f"STOKER_{hashlib.sha256(value.encode()).hexdigest()[:8].upper()}_{variable}"
