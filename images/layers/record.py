"""RECORD, the list of a distribution's files with hashes (packaging.python.org "Recording installed projects")."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import hmac
import io
from collections.abc import Mapping
from dataclasses import dataclass

from profiles.errors import CheckFailed, WrongInput

# PEP 427: "The hash algorithm must be sha256 or better"; md5 and sha1 are not permitted.
ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})


@dataclass(frozen=True, slots=True)
class Row:
    """What RECORD says of one file. size in bytes, None when it does not say."""

    algorithm: str
    hex: str
    size: int | None


def read(text: str, wheel: str) -> dict[str, Row]:
    """path -> row, for the rows that have a hash. Raises WrongInput for rows that cannot be read."""
    found: dict[str, Row] = {}
    for row in csv.reader(io.StringIO(text)):
        if len(row) < 2 or not row[1]:
            continue
        algorithm, _, value = row[1].partition("=")
        if algorithm not in ALGORITHMS:
            raise WrongInput(f"{wheel}: RECORD uses {algorithm[:20]!r} for a hash", "lock another version of it")
        try:
            digest = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
            found[row[0]] = Row(algorithm, digest, int(row[2]) if len(row) > 2 and row[2] else None)
        except (binascii.Error, ValueError):
            raise WrongInput(f"{wheel}: RECORD has an unreadable row for {row[0][:100]!r}", "fetch it again") from None
    return found


def verify(row: Row | None, data: bytes, where: str) -> None:
    """Raises CheckFailed when `data` is not what the row says. No row: nothing to check."""
    if row is None:
        return
    found = hashlib.new(row.algorithm, data).hexdigest()
    if not hmac.compare_digest(found, row.hex) or row.size not in (None, len(data)):
        raise CheckFailed(f"a file does not match the wheel's own RECORD: {where}", "delete the wheel, fetch it again")


def written(rows: Mapping[str, tuple[str, int]], own: str) -> bytes:
    """RECORD for path -> (sha256 hex, size), sorted bytewise; `own` is RECORD's path, which has no hash."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    for path in sorted({*rows, own}, key=str.encode):
        if path == own:
            lines.writerow((path, "", ""))
        else:
            sha256, size = rows[path]
            coded = base64.urlsafe_b64encode(bytes.fromhex(sha256)).rstrip(b"=").decode()
            lines.writerow((path, f"sha256={coded}", size))
    return out.getvalue().encode()
