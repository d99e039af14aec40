"""The answer of a check, as plain values that tasks print."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from images.progress import size


class Size(int):
    """Bytes: a number in JSON, `1.2 MB` for people."""

    def __str__(self) -> str:
        return size(int(self))


class Change(Size):
    """A difference in bytes, with its sign."""

    def __str__(self) -> str:
        return f"+{size(int(self))}" if self > 0 else size(int(self))


@dataclass
class Report:
    """What was looked at and what was found. checks: {check, ok, detail}; ok None: a note, neither good nor bad."""

    ref: str
    digest: str = ""
    checks: list[dict[str, Any]] = field(default_factory=list)
    ok: bool = True

    def passed(self, check: str, detail: str = "") -> None:
        self.checks.append({"check": check, "ok": True, "detail": detail})

    def note(self, check: str, detail: str) -> None:
        self.checks.append({"check": check, "ok": None, "detail": detail})

    def failed(self, check: str, detail: str) -> None:
        self.checks.append({"check": check, "ok": False, "detail": detail})
        self.ok = False

    def settle(self, check: str, faults: Iterable[str], detail: str = "") -> None:
        """Passed with `detail` when there are no faults, else failed with the first of them and their number."""
        found = list(dict.fromkeys(faults))
        if not found:
            return self.passed(check, detail)
        more = f"; and {len(found) - 8} more" if len(found) > 8 else ""
        return self.failed(check, "; ".join(found[:8]) + more)
