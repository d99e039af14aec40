"""Names of half-sent files on file systems: beside the file they become, and of one content only.

The content's hash is part of the name, so bytes of two versions of a file never meet in one partial.
"""

from __future__ import annotations

import hashlib
import re

ENDING = ".stoker-partial"
LONGEST = 180  # bytes of the name that are kept: file systems end at 255


def partial_of(name: str, sha256: str) -> str:
    """The partial of `name` (with folders) for that content."""
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}.{stem(base)}.{sha256[:32]}{ENDING}"


def stem(base: str) -> str:
    """The base name, or what stands for it when it is too long."""
    raw = base.encode("utf-8", "surrogateescape")
    return base if len(raw) <= LONGEST else hashlib.sha256(raw).hexdigest()


def is_partial(base: str) -> bool:
    """Whether a base name is that of a half-sent file."""
    return base.startswith(".") and re.search(r"\.[0-9a-f]{32}\.stoker-partial$", base) is not None


def belongs(partial: str, base: str) -> bool:
    """Whether `partial` is a half-sent version of `base`, whatever the content."""
    return is_partial(partial) and partial[1 : -len(ENDING) - 33] == stem(base)
