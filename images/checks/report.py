"""The answer of a check, as plain values that tasks print."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from images.checks.finding import Finding
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
    """What was looked at and what was found, in that order."""

    ref: str
    digest: str = ""
    checks: list[Finding] = field(default_factory=list)
    ok: bool = True

    def passed(self, check: str, detail: str = "") -> None:
        self.checks.append(Finding(check, True, detail))

    def note(self, check: str, detail: str) -> None:
        self.checks.append(Finding(check, None, detail))

    def failed(self, check: str, detail: str) -> None:
        self.checks.append(Finding(check, False, detail))
        self.ok = False

    def settle(self, check: str, faults: Iterable[str], detail: str = "") -> None:
        """Passed with `detail` when there are no faults, else failed with the first of them and their number."""
        found = list(dict.fromkeys(faults))
        if not found:
            return self.passed(check, detail)
        more = f"; and {len(found) - 8} more" if len(found) > 8 else ""
        return self.failed(check, "; ".join(found[:8]) + more)
