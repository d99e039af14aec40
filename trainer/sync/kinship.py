"""Whether two checkpoints belong to one run: what would end up in one folder must."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest

Manifest = Mapping[str, Any]


def related(ours: Iterable[Manifest], theirs: Iterable[Manifest]) -> bool:
    """Whether any of ours and any of theirs are of one run; also when there are none on one side.

    One run: the same identity (model, data, optimizer, seed), or, since a user may change those on purpose, one was
    resumed from the other.
    """
    mine, other = list(ours), list(theirs)
    if not mine or not other:
        return True
    return any(_kin(one, two) for one in mine for two in other)


def _kin(one: Manifest, two: Manifest) -> bool:
    if manifest.seal(one) == manifest.seal(two):
        return True
    if one.get("identity") == two.get("identity"):
        return True
    return _parent(one) == manifest.seal(two) or _parent(two) == manifest.seal(one)


def _parent(content: Manifest) -> str | None:
    lineage = content.get("lineage")
    parent = lineage.get("parent") if isinstance(lineage, dict) else None
    sha256 = parent.get("sha256") if isinstance(parent, dict) else None
    return sha256 if isinstance(sha256, str) else None


def local(run: Path) -> list[dict[str, Any]]:
    """Manifests of a run folder, newest first; what cannot be read is left out."""
    found = []
    for path in folder.found(run / "checkpoints"):
        try:
            found.append(manifest.read(path))
        except manifest.Damaged:
            continue
    return found
