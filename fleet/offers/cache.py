"""The last answers, in .stoker/offers.json: planning again is instant, and says how old its prices are."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fleet.offers.offer import Found, Question, Skipped, from_json
from fleet.wire import fields
from profiles.errors import WrongInput

NAME = "offers.json"
VERSION = 1
LARGEST = 64 << 20  # bytes of a file that is read


@dataclass(frozen=True, slots=True)
class Kept:
    """What one provider answered. seen: when; question: to what."""

    seen: datetime
    question: Question
    found: Found


def age(seen: datetime, now: datetime) -> float | None:
    """Seconds, None for a time that is still to come: the clock was set back, and nothing is known of the age."""
    seconds = (now - seen).total_seconds()
    return seconds if seconds >= -1.0 else None


def read(folder: Path) -> dict[str, Kept]:
    """What is kept, by provider; nothing when there is no file or none that this version understands."""
    try:
        with (folder / NAME).open("rb") as file:
            content = json.loads(file.read(LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("version") != VERSION:
        return {}
    rows = {str(name): one(row) for name, row in fields.inner(content, "providers").items() if isinstance(row, dict)}
    return {name: kept for name, kept in rows.items() if kept is not None}


def one(row: dict[str, Any]) -> Kept | None:
    """One provider's part, None when it cannot be read."""
    asked, offers, skipped = fields.inner(row, "question"), row.get("offers"), row.get("skipped")
    try:
        seen = datetime.fromisoformat(fields.text(row, "seen"))
        question = Question(
            tuple(str(key) for key in asked["gpus"]),
            tuple(int(count) for count in asked["counts"]),
            bool(asked["spot"]),
            float(asked["disk_gb"]),
            float(asked["min_reliability"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError, WrongInput):
        return None
    if seen.tzinfo is None or not isinstance(offers, list) or not isinstance(skipped, list):
        return None
    told = [
        Skipped(*(fields.text(each, name) for name in ("provider", "what", "why"))) for each in fields.rows(skipped)
    ]
    return Kept(seen, question, Found([offer for offer in map(from_json, offers) if offer], told))


def write(folder: Path, kept: Mapping[str, Kept]) -> str:
    """Puts `kept` in place of what was there, whole or not at all. Returns "" or why it could not be kept."""
    content = {
        "version": VERSION,
        "providers": {
            name: {
                "seen": each.seen.isoformat(timespec="seconds"),
                "question": asdict(each.question),
                "offers": [offer.to_json() for offer in each.found.offers],
                "skipped": [asdict(row) for row in each.found.skipped],
            }
            for name, each in kept.items()
        },
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(prefix=f".{NAME}.", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file)
            Path(unfinished).replace(folder / NAME)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
    except OSError as failed:
        return f"prices are not kept in {folder}: {failed.strerror}"
    return ""
