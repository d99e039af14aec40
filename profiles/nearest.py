"""The name the user most likely meant."""

from __future__ import annotations

from collections.abc import Iterable

NEAR = 0.6  # of the letters: `aws` is not meant to be `vast`


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The first known word that begins with `word`, else the one most like it, None when nothing is near enough."""
    from difflib import get_close_matches

    words = list(known)
    begun = [name for name in words if len(word) > 1 and name.startswith(word.lower())]
    found = begun or get_close_matches(word.lower(), words, n=1, cutoff=NEAR)
    return found[0] if found else None
