"""The images that were built here, as rows of a table."""

from __future__ import annotations

import json
from typing import Any

from images.checks.report import Size
from images.checks.subject import Subject, local, local_manifest
from images.store import Store
from profiles.errors import StokerError


def listing(store: Store) -> list[dict[str, Any]]:
    """One row per image, newest first: tag, profile, platform, digest (short), built, size, own_size (bytes), layers,
    base, dirty, pushed (repositories that are known to hold it)."""
    holders = known_holders(store)
    found = [row_of(store, row, holders) for row in rows(store)]
    return sorted(sorted(found, key=lambda row: str(row["tag"])), key=lambda row: str(row["built"]), reverse=True)


def rows(store: Store) -> list[dict[str, Any]]:
    """What was remembered of each build; damaged files are passed over."""
    found = []
    for path in sorted(store.images.glob("*.json")):
        try:
            row = json.loads(path.read_text("utf-8"))
            row["plan"]["profile"], row["plan"]["base"]["name"], row["tag"], row["digest"], row["built"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append(row)
    return found


def row_of(store: Store, row: dict[str, Any], holders: dict[str, list[str]]) -> dict[str, Any]:
    """One row. Sizes and layers are None when the image's manifest has been removed."""
    plan, subject = row["plan"], subject_of(store, row)
    own = subject.own if subject is not None else None
    return {
        "tag": row["tag"],
        "profile": plan["profile"],
        "platform": plan["platform"],
        "digest": row["digest"][:19],
        "built": row["built"],
        "size": Size(subject.size) if subject is not None else None,
        "own_size": Size(sum(one.descriptor.size for one in own)) if own is not None else None,
        "layers": len(subject.manifest.layers) if subject is not None else None,
        "base": plan["base"]["name"],
        "dirty": plan["dirty"],
        "pushed": holders.get(subject.manifest.config.digest, []) if subject is not None else [],
    }


def subject_of(store: Store, row: dict[str, Any]) -> Subject | None:
    manifest = local_manifest(store, row["digest"])
    try:
        return local(store, row["tag"], manifest) if manifest is not None else None
    except StokerError:
        return None


def known_holders(store: Store) -> dict[str, list[str]]:
    """blob -> repositories it was sent to. An image is told by its config, which no other image has."""
    found: dict[str, list[str]] = {}
    for path in sorted(store.record.glob("*.json")):
        try:
            value = json.loads(path.read_text("utf-8"))
            for digest in value["blobs"]:
                found.setdefault(digest, []).append(f"{value['registry']}/{value['repository']}")
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found
