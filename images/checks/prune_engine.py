"""What the local Docker engine holds of ours and the store no longer knows: loaded images, bases, foundations."""

from __future__ import annotations

from typing import Any

from images.builders.engine import BASE, connect
from images.checks.listing import rows
from images.checks.report import Size
from images.oci.digest import hex_of
from images.workbench import Workbench


def prune_engine(bench: Workbench, dry_run: bool) -> dict[str, Any]:
    """Remove from the engine our images that the store does not hold, and what killed smoke tests left.

    Images that a container uses stay. Raises OutsideFailed when no engine answers.
    """
    engine = connect()
    known = rows(bench.store)
    tags = {str(row["tag"]) for row in known}
    keep = {f"{BASE}:{hex_of(row['plan']['base']['digest'])[:12]}" for row in known}
    found = [image.get("RepoTags") or [image["Id"]] for image in engine.ours()]
    keep |= {name for names in found for name in names if name.rpartition(":")[2] in tags}
    gone = sorted(name for names in found if not keep.intersection(names) for name in names)
    if dry_run:
        return {"engine_images": gone}
    freed = engine.prune(keep, progress=bench.progress)
    return {"engine_images": gone, "engine_containers": engine.sweep(), "engine_freed": Size(freed)}
