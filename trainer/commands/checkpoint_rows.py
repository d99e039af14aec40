"""The checkpoints of a run folder or a store as rows of facts, by manifests and sizes alone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.checkpoint import folder, manifest, publish, verify
from trainer.checkpoint.space import taken
from trainer.commands import checkpoint_place as places
from trainer.commands.checkpoint_store import looked_at
from trainer.metrics import log
from trainer.run import ended
from trainer.run.folder import is_owned

if TYPE_CHECKING:
    from trainer.stores.store import Store

Row = dict[str, Any]
WHOLE = "whole"
WEIGHTS = "weights only"
UNDER_WAY = re.compile(r"\.(staging|incoming)-(step-\d{8,})")


def here(run: Path) -> list[Row]:
    """The checkpoints of a run folder, newest first, and what is on its way to be one. Raises TrainerError.

    state: by the manifest's own hash and all files' sizes; `verify` reads every byte.
    """
    root = places.root(run)
    pointed = {pointer: path.name for pointer in folder.POINTERS if (path := folder.pointed(root, pointer))}
    remote = publish.at_remote(run, skipped=False)
    contents = {path: _content(path) for path in folder.found(root)}
    losses = _losses(contents.values(), log.read(run / log.TRAINING))
    if folder.BEST not in pointed:  # the pointer is a hint for people; the manifests know it as well
        best = _best_name(contents)
        pointed |= {folder.BEST: best} if best else {}
    rows = [_row(path, content, losses) for path, content in contents.items()]
    for row in rows:
        row["pointers"] = [pointer for pointer in folder.POINTERS if pointed.get(pointer) == row["checkpoint"]]
        row["at_remote"] = row["checkpoint"] in remote
    _ends(rows, ended.of_run(run))
    return [*_under_way(root, is_owned(run)), *rows]


def at_store(url: str) -> list[Row]:
    """Those at a store, newest first, half-sent ones too. Raises TrainerError."""
    from trainer.sync.remote import best_of

    with looked_at(url) as (store, there):
        losses = _losses([found.manifest or {} for found in there], [])
        best = best_of(there)
        newest = next((found.step for found in there if found.complete), None)
        rows = []
        for found in there:
            row = _facts(found.name, f"{store.url.rstrip('/')}/{found.prefix.rstrip('/')}", found.manifest, losses)
            row["bytes"] = found.bytes
            row["why"] = found.fault
            sent = manifest.MANIFEST in found.sizes
            row["state"] = _good(found.manifest) if found.complete else "damaged" if sent else "partial"
            marks = ((folder.LATEST, newest), (folder.BEST, best))
            row["pointers"] = [name for name, step in marks if step == found.step and found.complete]
            row["at_remote"] = found.complete
            rows.append(row)
        if rows:
            _ends(rows, _end_at(store))
    return rows


def engine(content: Mapping[str, Any]) -> str | None:
    """`ddp x 2`, `zero-3 x 4`: what wrote it, on how many ranks."""
    told = content.get("engine")
    if not isinstance(told, Mapping) or "world" not in told:
        return None
    kind = f"zero-{told['zero']}" if told.get("zero") else str(told.get("kind"))
    return f"{kind} x {told['world']}"


def planned(content: Mapping[str, Any]) -> int | None:
    """The steps that the run of a checkpoint shall make."""
    config = content.get("config")
    train = config.get("train") if isinstance(config, Mapping) else None
    steps = train.get("steps") if isinstance(train, Mapping) else None
    return steps if isinstance(steps, int) else None


def _row(path: Path, content: dict[str, Any] | None, losses: Mapping[int, float]) -> Row:
    row = _facts(path.name, str(path), content, losses)
    row["why"] = verify.fault(path, hashes=False)
    row["bytes"] = taken(path)
    row["state"] = "damaged" if row["why"] else _good(content)
    row["age_seconds"] = _age(path)
    return row


def _facts(name: str, path: str, content: Mapping[str, Any] | None, losses: Mapping[int, float]) -> Row:
    step = folder.step_of(name)
    known = content or {}
    return {
        "checkpoint": name,
        "path": path,
        "step": step,
        "of": planned(known),
        "tokens": known.get("tokens"),
        "bytes": None,
        "end": None,
        "val_loss": losses.get(step) if step is not None else None,
        "engine": engine(known),
        "state": None,
        "why": None,
        "pointers": [],
        "at_remote": None,
        "age_seconds": None,
    }


def _ends(rows: Iterable[Row], end: tuple[int, str] | None) -> None:
    """Marks the checkpoint at which the training ended with why it did."""
    for row in rows:
        if end is not None and row["step"] == end[0]:
            row["end"] = end[1]


def _end_at(store: Store) -> tuple[int, str] | None:
    """What a store's run/end.json says. Raises StoreError, unless there is none."""
    from trainer.stores.store import Missing
    from trainer.sync import runfiles
    from trainer.sync.patience import Patience, patiently

    def fetched() -> bytes:
        data = b""
        for piece in store.read(runfiles.PREFIX + ended.FILE):
            data += piece
            if len(data) > ended.LIMIT:
                break
        return data

    try:
        return ended.read(patiently(f"reading {ended.FILE} at {store.url}", fetched, Patience(), places.say))
    except Missing:
        return None


def _under_way(root: Path, owned: bool) -> list[Row]:
    rows = []
    for path in sorted(root.glob(".*-step-*"), reverse=True) if root.is_dir() else []:
        match = UNDER_WAY.match(path.name)
        if not match:
            continue
        row = _facts(match[2], str(path), None, {})
        if match[1] == "incoming":
            row["state"], row["why"] = "partial", "a download that has not ended; the same pull goes on with it"
        elif owned:
            row["state"] = "being written"
        else:
            row["state"], row["why"] = "partial", "left by a trainer that was killed; the next start removes it"
        row["bytes"], row["age_seconds"] = taken(path), _age(path)
        rows.append(row)
    return rows


def _content(path: Path) -> dict[str, Any] | None:
    try:
        return manifest.read(path)
    except manifest.Damaged:
        return None


def _good(content: Mapping[str, Any] | None) -> str:
    return WHOLE if manifest.resumable(content or {}) else WEIGHTS


def _best_name(contents: Mapping[Path, dict[str, Any] | None]) -> str | None:
    newest = next((content for content in contents.values() if content), {})
    best = newest.get("best") or {}
    if best.get("loss") is None or not isinstance(best.get("step"), int):
        return None
    name = folder.name_of(best["step"])
    return name if name in {path.name for path in contents} else None


def _losses(contents: Iterable[Mapping[str, Any] | None], lines: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    """Validation loss by step: the best ones from the manifests, the others from the run's log."""
    found = {
        line["step"]: line["val_loss"]
        for line in lines
        if line.get("event") == "eval" and line.get("val_loss") is not None and "step" in line
    }
    for content in contents:
        best = (content or {}).get("best") or {}
        if best.get("loss") is not None and isinstance(best.get("step"), int):
            found[best["step"]] = best["loss"]
    return found


def _age(path: Path) -> float | None:
    """Seconds since its oldest file came: dropping some of them later writes the manifest anew."""
    times = []
    for one in [path, *path.glob("*")]:
        try:
            times.append(one.stat().st_mtime)
        except OSError:
            continue
    return max(0.0, round(time.time() - min(times), 1)) if times else None
