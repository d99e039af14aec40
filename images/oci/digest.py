"""Content digests: `sha256:<64 hex>`, the only algorithm every registry and engine accepts."""

from __future__ import annotations

import hashlib
import re
from typing import IO

from profiles.errors import WrongInput

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
CHUNK = 1 << 20


def of_bytes(data: bytes) -> str:
    """The digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def of_stream(stream: IO[bytes]) -> tuple[str, int]:
    """The digest and length in bytes of what is left of `stream`, read in pieces of 1 MiB."""
    state, length = hashlib.sha256(), 0
    while piece := stream.read(CHUNK):
        state.update(piece)
        length += len(piece)
    return "sha256:" + state.hexdigest(), length


def checked(text: str) -> str:
    """`text` if it is a sha256 digest. Raises WrongInput: anything else must never become a path or a URL."""
    if not DIGEST.fullmatch(text):
        raise WrongInput(f"not a sha256 digest: {text[:100]!r}", "give it as sha256: and 64 lower-case hex digits")
    return text


def hex_of(digest: str) -> str:
    """The 64 hex digits of a checked digest."""
    return checked(digest).removeprefix("sha256:")
