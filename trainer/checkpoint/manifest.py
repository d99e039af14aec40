"""The manifest: what a checkpoint is and the sha256 of every byte of it, its own included.

Its file is the one canonical dump of its content, and the content carries the sha256 of itself without that entry. So
a flipped byte anywhere in the file shows, even in white space, and a checkpoint is named by one hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORMAT = 3
OWN = "sha256"


class Damaged(Exception):
    """Why a manifest cannot be used: one clause, for the user's eyes."""


def sealed(content: Mapping[str, Any]) -> bytes:
    """The bytes of the manifest with this content; an old seal in it is replaced."""
    bare = {name: value for name, value in content.items() if name != OWN}
    return _dump({**bare, OWN: hashlib.sha256(_dump(bare)).hexdigest()})


def parse(data: bytes) -> dict[str, Any]:
    """The content of a manifest's bytes. Raises Damaged."""
    try:
        content = json.loads(data)
        bare = {name: value for name, value in content.items() if name != OWN}
        whole = content[OWN] == hashlib.sha256(_dump(bare)).hexdigest() and _dump(content) == data
        files = content["files"]
        whole = whole and all({"bytes", "sha256"} <= entry.keys() for entry in files.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged(f"{MANIFEST} cannot be read") from None
    if not whole:
        raise Damaged(f"{MANIFEST} is not as it was written")
    if content.get("format") != FORMAT:
        raise Damaged(f"{MANIFEST} has format {content.get('format')}, this trainer reads {FORMAT}")
    odd = [name for name in files if name.startswith("/") or ".." in name.split("/")]
    if odd:
        raise Damaged(f"{MANIFEST} names a file outside the checkpoint: {odd[0]}")
    return dict(content)


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint folder. Raises Damaged, also when there is none."""
    try:
        return parse((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise Damaged(f"{MANIFEST}: {error.strerror}") from None


def seal(content: Mapping[str, Any]) -> str:
    """What names a checkpoint: the hash of its manifest, also after its optimizer's files were dropped."""
    return str(content.get("whole", content[OWN]))


def resumable(content: Mapping[str, Any]) -> bool:
    """Whether training can go on from it: weights kept alone, for inference, say no."""
    return content.get("resumable", True) is not False


def _dump(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
