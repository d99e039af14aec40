"""`checkpoints verify`: hashes every byte of a checkpoint, here or at a store; 1 when one is damaged."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.checkpoint import manifest, verify
from trainer.checkpoint.space import size
from trainer.commands import checkpoint_place as places
from trainer.commands.checkpoint_place import say
from trainer.commands.checkpoint_rows import WEIGHTS, WHOLE
from trainer.commands.checkpoint_speed import Speed
from trainer.commands.checkpoint_store import looked_at
from trainer.errors import CHECK_FAILED, TrainerError

if TYPE_CHECKING:
    from trainer.stores.store import Store
    from trainer.sync.remote import Remote

Row = dict[str, Any]


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    places.add(parser, "read the one of this store instead, without keeping it")
    parser.add_argument("--all", action="store_true", help="every checkpoint, not the newest alone")
    parser.add_argument("--quick", action="store_true", help="the manifest and all sizes, no hashes of the data")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Reads and prints; RUN may be one checkpoint. 1 when something is damaged."""
    if options.remote:
        rows, where = _store(options), options.remote
    else:
        folders, where = _folders(options)
        rows = [local(folder, options.quick) for folder in folders]
    good = all(row["state"] in (WHOLE, WEIGHTS) for row in rows)
    if options.json:
        print(json.dumps({"where": where, "good": good, "checkpoints": rows}, indent=1))
    else:
        print("\n".join(line(row) for row in rows))
    if not good and len(rows) == 1 and not options.all:
        say("damaged: `checkpoints verify --all` tells which others are good; a resume takes the newest good one")
    return 0 if good else CHECK_FAILED


def local(folder: Path, quick: bool) -> Row:
    """What became of one folder."""
    try:
        content = manifest.read(folder)
    except manifest.Damaged as damage:
        return _row(folder.name, None, str(damage), Speed(folder.name, 0), quick)
    speed = Speed(folder.name, _bytes(content))
    reason = verify.fault(folder, moved=speed, hashes=not quick)
    speed.close()
    return _row(folder.name, content, reason, speed, quick)


def at_store(found: Remote, quick: bool) -> Row:
    """What became of one checkpoint of a store. Raises StoreError when the store fails for good."""
    reason, content = found.fault, found.manifest
    speed = Speed(found.name, _bytes(content))
    if reason is None and content is not None and not quick:
        for name, entry in content["files"].items():
            reason = _fault(found.store, found.prefix, name, entry, speed)
            if reason is not None:
                break
    speed.close()
    return _row(found.name, content, reason, speed, quick)


def line(row: Row) -> str:
    """For people."""
    if row["why"]:
        return f"{row['checkpoint']}  {row['state']}: {row['why']}"
    speed = f", {row['mb_per_second']:,.0f} MB/s" if row["mb_per_second"] is not None else ", sizes alone"
    return f"{row['checkpoint']}  {row['state']}: {row['files']} files, {size(row['bytes'])}{speed}"


def _folders(options: argparse.Namespace) -> tuple[list[Path], str]:
    if places.is_one(options.path):
        return [places.one(Path(options.path))], options.path
    run_folder = places.run_folder(options)
    found = places.some(run_folder)
    return found if options.all else found[:1], str(run_folder)


def _store(options: argparse.Namespace) -> list[Row]:
    with looked_at(options.remote) as (store, there):
        if not there:
            hint = "see the URL; a run sends its first checkpoint at the next interval"
            raise TrainerError(f"{store.url} has no checkpoint", hint, CHECK_FAILED)
        if not options.all:  # one that is on its way there is no damage
            there = next(([found] for found in there if found.complete), there[:1])
        return [at_store(found, options.quick) for found in there]


def _fault(store: Store, prefix: str, name: str, entry: dict[str, Any], speed: Speed) -> str | None:
    """Why a file of a store is not what the manifest says. It is read again from where a line was cut."""
    from trainer.stores.store import Missing
    from trainer.sync.patience import Patience, patiently

    digest, place = hashlib.sha256(), 0

    def read() -> None:
        nonlocal place
        for piece in store.read(prefix + name, place):
            digest.update(piece)
            place += len(piece)
            speed(len(piece))

    try:
        patiently(f"reading {name}", read, Patience(), say, lambda: place)
    except Missing:
        return f"{name} is missing"
    if place != entry["bytes"]:
        return f"{name} has {place} bytes, not {entry['bytes']}"
    return None if digest.hexdigest() == entry["sha256"] else f"{name} has another sha256"


def _bytes(content: dict[str, Any] | None) -> int:
    return sum(entry["bytes"] for entry in (content or {"files": {}})["files"].values())


def _row(name: str, content: dict[str, Any] | None, reason: str | None, speed: Speed, quick: bool) -> Row:
    good = WHOLE if manifest.resumable(content or {}) else WEIGHTS
    return {
        "checkpoint": name,
        "state": good if reason is None else "damaged",
        "why": reason,
        "files": len((content or {"files": {}})["files"]),
        "bytes": _bytes(content),
        "hashed_bytes": speed.bytes,
        "seconds": round(speed.seconds, 3),
        "mb_per_second": None if quick else round(speed.rate / 1e6, 1),
    }
