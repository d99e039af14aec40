"""One outcome of a check, and the report a task prints of many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """ok: True good, False bad, None a note that is neither."""

    check: str
    ok: bool | None
    detail: str = ""


def report(findings: Iterable[Finding], **more: Any) -> dict[str, Any]:
    """`{"ok", "checks", ...}` as cli/show.findings prints it; ok: nothing is bad."""
    rows = [asdict(one) for one in findings]
    return {"ok": all(row["ok"] is not False for row in rows), "checks": rows, **more}
