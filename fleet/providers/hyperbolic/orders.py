"""What was ordered, kept beside the ledger, because a rental does not tell all of it.

A list has no form factor (SXM or PCIe), and whether it echoes the label is not known (providers.md 3.3, 3.4): without
this, a rental whose create was answered by silence and whose label was dropped would be nobody's, and bill on.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from fleet.providers.values import Instance

FOLDER = "hyperbolic-orders"
OURS = "stk-"  # how every tag begins (fleet/ledger/tags.py): one echoed as the name is no unlabelled one
KEPT = 90 * 86400.0  # seconds that a note is kept
# A rental without a label counts as an unanswered order's for so long after it: three of them took 134-208 s (3.7).
UNANSWERED = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Ordered:
    """One create. gpu: key of the table; kind, region, count: as sent; before: ids of the rentals that were there just
    before it; at: when, ISO 8601; id: the rental's, once known."""

    tag: str
    gpu: str
    count: int
    kind: str
    region: str
    at: str
    before: tuple[str, ...] = ()
    id: str = ""


def keep(state: Path, ordered: Ordered) -> None:
    """On disk when it returns, in place of the note of this tag. Raises OSError."""
    folder = state / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=".", dir=folder)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(ordered), file)
        file.flush()
        os.fsync(file.fileno())
    Path(unfinished).replace(folder / f"{ordered.tag}.json")
    for path in folder.glob("*.json"):
        if path.stat().st_mtime < time.time() - KEPT:
            path.unlink(missing_ok=True)


def drop(state: Path, tag: str) -> None:
    """After a create that surely made nothing."""
    (state / FOLDER / f"{tag}.json").unlink(missing_ok=True)


def kept(state: Path) -> list[Ordered]:
    """All notes; what cannot be read is left out."""
    found = []
    for path in sorted((state / FOLDER).glob("*.json")):
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            found.append(Ordered(**{**row, "before": tuple(row["before"])}))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return found


def named(state: Path, listed: Sequence[Instance], unlabelled: set[str], now: datetime) -> list[Instance]:
    """The rentals with what our notes know of them: GPU and, where the list shows none of ours, the tag.

    unlabelled: ids whose label was not echoed. One of them counts as an unanswered order's only when it was not there
    before, has its shape, and neither has another match: it is found then by a look for the order's tag.
    """
    notes = kept(state)
    by_tag, by_id = {each.tag: each for each in notes}, {each.id: each for each in notes if each.id}
    open_ = [each for each in notes if not each.id and 0 <= _age(each, now) <= UNANSWERED.total_seconds()]
    free = [each for each in listed if each.id in unlabelled and each.id not in by_id and not each.tag.startswith(OURS)]
    matches = {note.tag: [one for one in free if _fits(note, one)] for note in open_}
    for note in open_:
        mine = matches[note.tag]
        if len(mine) == 1 and sum(mine[0] in others for others in matches.values()) == 1:
            by_id[mine[0].id] = replace(note, id=mine[0].id)
            keep(state, by_id[mine[0].id])
    return [_told(one, by_id.get(one.id) or by_tag.get(one.tag)) for one in listed]


def _told(one: Instance, note: Ordered | None) -> Instance:
    return one if note is None else replace(one, tag=note.tag, gpu=note.gpu)


def _fits(note: Ordered, one: Instance) -> bool:
    there = one.id in note.before
    return not there and (one.gpus, one.region) == (note.count, note.region)


def _age(note: Ordered, now: datetime) -> float:
    try:
        return (now - datetime.fromisoformat(note.at)).total_seconds()
    except (ValueError, TypeError):
        return -1.0
