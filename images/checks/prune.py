"""Remove images, blobs and caches nobody needs. The ledger of runs is never touched, nor what a build is using.

Safe beside a running build: a build makes every blob it writes or reuses young (mtime), puts its manifest under the
layout's lock, and only then is done. So what is young stays, and names are taken away under that lock.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from images.checks.listing import rows
from images.checks.report import Size
from images.checks.subject import local_manifest
from images.oci.digest import DIGEST, hex_of
from images.oci.incoming import sweep
from images.oci.layout import GRACE, REF_NAME
from images.oci.manifest import Descriptor
from images.store import Store
from images.workbench import Workbench
from profiles.errors import StokerError

DAY = 86400.0
SESSION = 7 * DAY  # seconds after which no registry remembers a half-sent blob


@dataclass
class Cut:
    """One pruning. before: older than this (seconds since 1970) goes; all: even the newest image of each profile."""

    store: Store
    before: float
    all: bool
    dry: bool
    now: float = field(default_factory=time.time)
    freed: int = 0

    def young(self, path: Path, grace: float = GRACE) -> bool:
        """Whether somebody may be using the file: it was made or touched a moment ago."""
        return self.now - modified(path, 0) < grace

    def remove(self, path: Path) -> bool:
        """Removes a file or folder and counts its bytes. Returns whether it was there."""
        size = weight(path)
        if size is None:
            return False
        if not self.dry:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        self.freed += size
        return True


def prune_store(bench: Workbench, days: int, dry_run: bool = False) -> dict[str, Any]:
    """Removes what was not used in the last `days`; 0: everything but what is in use this moment.

    Returns what went, by kind, and the bytes: `freed`. The newest image of each profile stays unless days is 0.
    With dry_run the same is counted and nothing is done.
    """
    now = time.time()
    cut = Cut(bench.store, now - days * DAY, days <= 0, dry_run, now)
    images = old_images(cut)
    others = old_others(cut, images)
    keep = used_layers(cut)
    gone = forget(cut, {*images, *others})
    dead = collect(cut, gone, keep)
    return {
        "dry_run": dry_run,
        "images": sorted(gone & set(images)),
        "bases": sorted(gone & set(others)),
        "blobs": len(dead),
        "layer_rows": sum(cut.remove(path) for path in dead_rows(cut, dead)),
        "wheels": sum(cut.remove(path) for path in old_wheels(cut, gone)),
        "uploads": old_uploads(cut),
        "temporary": sum(cut.remove(path) for path in leftovers(cut)),
        "freed": Size(cut.freed),
    }


def old_images(cut: Cut) -> list[str]:
    """Tags of images built before the cut, but for the newest of each profile and platform."""
    found = sorted(rows(cut.store), key=lambda row: str(row["built"]), reverse=True)
    newest: set[tuple[str, str]] = set()
    old = []
    for row in found:
        kind = (row["plan"]["profile"], row["plan"].get("platform", ""))
        in_use = cut.young(cut.store.layout.blob_path(row["digest"]))
        if (kind in newest or cut.all) and built(row) < cut.before and not in_use:
            old.append(str(row["tag"]))
        newest.add(kind)
    return sorted(old)


def built(row: dict[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(row["built"]).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def old_others(cut: Cut, leaving: Iterable[str]) -> list[str]:
    """Names that are no image's: bases no remaining image stands on, indexes none of whose images remains."""
    gone = set(leaving)
    images = rows(cut.store)
    kept = [row for row in images if row["tag"] not in gone]
    used = {row["plan"]["base"].get("digest") for row in kept} | {row["digest"] for row in kept}
    tags = {row["tag"] for row in images}
    layout = cut.store.layout
    return sorted(
        name
        for name, row in layout.refs().items()
        if name not in tags
        and not used & {row.digest, *children(cut.store, row)}
        and modified(layout.blob_path(row.digest), 0) < cut.before
    )


def children(store: Store, row: Descriptor) -> list[str]:
    """Digests that an index lists, [] for anything else."""
    manifest = local_manifest(store, row.digest)
    return [child.digest for child in manifest.children] if manifest is not None and manifest.is_index else []


def forget(cut: Cut, wanted: set[str]) -> set[str]:
    """Takes names away with what is remembered of them, but for those a build has just made young. Returns them."""
    layout = cut.store.layout

    def going(row: Descriptor) -> bool:
        return row.annotations.get(REF_NAME) in wanted and not cut.young(layout.blob_path(row.digest))

    with layout.locked() if wanted and not cut.dry else nullcontext():
        listed = layout.rows()
        gone = [row for row in listed if going(row)]
        if gone and not cut.dry:
            layout.write_rows([row for row in listed if row not in gone])
    # A row whose image went some other way is of no use either.
    names = {row.annotations[REF_NAME] for row in gone} | (wanted - {row.annotations.get(REF_NAME) for row in listed})
    digests = {row.digest for row in gone}
    for path in cut.store.images.glob("*.json"):
        if path.stem in names:
            cut.remove(path)
    for path in cut.store.bases.glob("*.json"):
        if value(path).get("digest") in digests:
            cut.remove(path)
    return names


def used_layers(cut: Cut) -> set[str]:
    """Digests of cached layers that were made or reused since the cut."""
    layout, found = cut.store.layout, set()
    for path in (cut.store.cache / "layers").glob("*.json"):
        digest = str(value(path).get("digest"))
        if DIGEST.fullmatch(digest) and modified(layout.blob_path(digest), 0) >= cut.before:
            found.add(digest)
    return found


def dead_rows(cut: Cut, dead: set[str]) -> list[Path]:
    """Rows of the layer cache whose layer is gone, or goes now."""
    layout, found = cut.store.layout, []
    for path in sorted((cut.store.cache / "layers").glob("*.json")):
        digest = str(value(path).get("digest"))
        if not DIGEST.fullmatch(digest) or digest in dead or not (layout.has(digest) or cut.young(path)):
            found.append(path)
    return found


def collect(cut: Cut, gone: set[str], keep: set[str]) -> set[str]:
    """Deletes the blobs that nothing reaches. Returns their digests."""
    layout = cut.store.layout
    alive = {hex_of(digest) for digest in keep}
    for row in layout.rows():
        if row.annotations.get(REF_NAME) not in gone:
            mark(cut.store, row, alive)
    paths = list(layout.blobs.iterdir()) if layout.blobs.is_dir() else []
    dead = [path for path in paths if path.name not in alive and not cut.young(path)]
    if cut.dry:
        cut.freed += sum(weight(path) or 0 for path in dead)
    else:
        cut.freed += layout.gc(keep, GRACE) + sweep(cut.store.cache / "layers" / "incoming")
    return {f"sha256:{path.name}" for path in dead}


def mark(store: Store, row: Descriptor, alive: set[str]) -> None:
    """All that a listed manifest reaches; a damaged one reaches itself."""
    try:
        store.layout.mark(row, alive)
    except StokerError:
        alive.add(hex_of(row.digest))


def old_wheels(cut: Cut, gone: set[str]) -> list[Path]:
    """Folders of wheels that no lock and no image names, and what a killed download left."""
    wanted = locked_wheels(cut.store, gone)
    before = min(cut.before, cut.now - GRACE)
    return [
        path
        for path in sorted(cut.store.wheels.iterdir())
        if path.name not in wanted
        and modified(path, cut.now) < (cut.now - DAY if path.name[:6] == "fetch-" else before)
    ]


def locked_wheels(store: Store, gone: set[str]) -> set[str]:
    """Names of the folders of all wheels that a lock, here or in the checkout, or an image still names."""
    from profiles.locations import lock_file

    found: set[str] = set()
    for folder in (lock_file("any").parent, store.root / "locks"):
        for path in folder.glob("*.json"):
            for wheels in (value(path).get("wheels") or {}).values():
                found |= {str(wheel.get("sha256"))[:16] for wheel in wheels}
    for row in rows(store):
        if row["tag"] in gone:
            continue
        found |= {str(wheel["sha256"])[:16] for layer in row["plan"]["layers"] for wheel in layer["wheels"]}
    return found


def old_uploads(cut: Cut) -> int:
    """Half-sent blobs that no registry remembers any more. One that another process is sending is left alone."""
    from images.registry.journal import Journal

    journal = Journal(cut.store.journal)
    stale = [entry for entry in journal.entries() if entry.opened < min(cut.before, cut.now - SESSION)]
    dropped = 0
    for entry in stale:
        if cut.dry:
            dropped += 1
            continue
        with suppress(Busy), journal.hold(entry.registry, entry.repository, entry.digest, busy) as slot:
            slot.drop()
            dropped += 1
    return dropped


class Busy(Exception):
    """Another process holds it."""


def busy() -> None:
    raise Busy


def leftovers(cut: Cut) -> list[Path]:
    """What killed processes left in the folder for temporary files, after a day."""
    folder = cut.store.root / "tmp"
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if modified(path, cut.now) < cut.now - DAY]


def value(path: Path) -> dict[str, Any]:
    """A JSON object in a file, {} when there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def modified(path: Path, otherwise: float) -> float:
    """Seconds since 1970; `otherwise` when the file has gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return otherwise


def weight(path: Path) -> int | None:
    """Bytes of a file or of all files of a folder; None when there is nothing."""
    try:
        if path.is_dir() and not path.is_symlink():
            return sum(one.lstat().st_size for one in path.rglob("*") if one.is_file())
        return path.lstat().st_size
    except OSError:
        return None
