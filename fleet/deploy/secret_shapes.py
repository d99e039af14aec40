"""Whether a text holds a secret, by its shape or because it is one of the user's own: what is typed with --env is
shown, stored and sent in the clear. Refusing a harmless value costs a word; printing a key costs an account."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

SHORTEST, SURE = 8, 16  # letters of a secret of the user's that tell it from a word: alone, and inside other text
# Prefixes as their issuers publish them, each with so much after it that a word in a sentence is none.
PREFIXES = (
    r"sk-[\w-]{16,}",  # OpenAI, Anthropic and who copies them: sk-proj-, sk-ant-, sk-or-
    r"[spr]k_(?:live|test)_\w{10,}",  # Stripe
    r"gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"rpa_\w{10,}",  # RunPod
    r"hf_[A-Za-z0-9]{16,}|r8_\w{16,}|gsk_\w{16,}|nvapi-[\w-]{16,}|wandb_v\d_\w{16,}",
    r"xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}",
    r"AIza[\w-]{30,}|ya29\.[\w-]{16,}",
    r"npm_\w{16,}|pypi-[\w-]{16,}|dckr_pat_[\w-]{16,}|dop_v1_\w{16,}",
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*",  # a JSON Web Token
)
PREFIXED = re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(PREFIXES)})", re.ASCII)
PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
LOGIN = re.compile(r"[A-Za-z][\w+.-]*://[^\s/?#]*:[^\s/?#]+@")  # scheme://user:password@host, postgres or https
QUERY = re.compile(r"[?&](?:\w*(?:key|token|secret|password|passwd|signature)|sig|pwd)=[^&\s]{6,}", re.IGNORECASE)
BEARER = re.compile(r"\b(?:Bearer|Basic) [\w+/=.~-]{10,}", re.IGNORECASE)
TELLING = re.compile(
    r"(?:.*_)?(?:\w*KEY|\w*TOKEN|\w*SECRET|\w*PASSWORD|PASSWD|PASS|PWD|CREDENTIALS?)(?:_\w+)?", re.IGNORECASE
)
NONE_OF_THESE = ("PUBLIC_KEY", "PWD", "OLDPWD", "STOKER_SSH_KEY")  # paths and public things under such names


def secret_in(text: str, held: Iterable[str] = ()) -> str:
    """What is secret in `text`, in words that do not repeat it; "" for nothing. held: values that are secrets."""
    if any(value == text or (len(value) >= SURE and value in text) for value in held):
        return "it is one of your own keys or secrets"
    if PREFIXED.search(text) or PRIVATE.search(text) or BEARER.search(text):
        return "it has the shape of a key or token"
    return "it is a URL with a password or key in it" if LOGIN.search(text) or QUERY.search(text) else ""


def held_by(environ: Mapping[str, str], home: Path | None) -> list[str]:
    """The user's own secrets: what stands under a telling name, and the providers' keys. home: for the files in which
    their own clients keep those, None: not looked at."""
    from fleet.wire.keys import keys

    named = [value for name, value in environ.items() if TELLING.fullmatch(name) and name not in NONE_OF_THESE]
    named += [key.value for key in keys(environ, home).values()]
    return [value.strip() for value in named if len(value.strip()) >= SHORTEST]
